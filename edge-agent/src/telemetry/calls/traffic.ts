import { type FarmCalls, REGISTRATION, SESSION } from './farms.ts';

/** One farm's traffic as the control plane is told it (contract: FarmTraffic). Totals since the agent's start; what is active is approximate. */
export interface Traffic {
  farm: string;
  sessionAttempts: number;
  sessionsEstablished: number;
  sessionFailures: number;
  registrationAttempts: number;
  registrationFailures: number;
  checksFailed: number;
  activeSessions: number;
  activeRegistrations: number;
}

/**
 * Sums up a farm. A challenge is part of an attempt and no attempt of its own: phones are challenged as a matter of course, and a farm that
 * starts to challenge must not look as if it failed.
 */
export function trafficOf(farm: FarmCalls, checksFailed: number): Traffic {
  const all = farm.all();
  const sessions = (index: number): number =>
    all.reduce((sum, b) => sum + (b.sessions[0][index] ?? 0) + (b.sessions[1][index] ?? 0), 0);
  const registrations = (index: number): number => all.reduce((sum, b) => sum + (b.registrations[index] ?? 0), 0);
  return {
    farm: farm.name,
    sessionAttempts: sessions(SESSION.requests) - sessions(SESSION.challenges),
    sessionsEstablished: sessions(SESSION.established),
    sessionFailures: sessions(SESSION.ineffective),
    registrationAttempts: registrations(REGISTRATION.requests) - registrations(REGISTRATION.challenges),
    registrationFailures: registrations(REGISTRATION.failures),
    checksFailed,
    activeSessions: all.reduce((sum, b) => sum + b.active[0] + b.active[1], 0),
    activeRegistrations: all.reduce((sum, b) => sum + b.registered, 0),
  };
}
