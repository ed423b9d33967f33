import type { Check } from '@sipfleet/contract';
import type { ProbeTap, TlsClientOptions } from '../ports.ts';
import type { Phase, PhaseResult } from './call/result.ts';
import type { ProbeResult } from './verdict.ts';

/** What a probe is sent to, and from where. */
export interface ProbeTarget {
  address: string;
  port: number;
  transport: 'udp' | 'tcp' | 'tls';
  /** The listener's address: a PBX may admit no other. */
  localAddress: string;
  /** Of a backend that is reached over TLS. */
  tls?: TlsClientOptions;
  /** Everything of the probe, from first to last packet. */
  timeoutMs: number;
  check: Check;
}

/** What came of one probe. */
export interface ProbeOutcome {
  result: ProbeResult;
  /** Where it was decided: the phase that failed, else the last one. */
  phase?: Phase;
  /** Why, for an operator: `503 Service Unavailable`, `no answer in 2s`. Holds no credentials. */
  evidence: string;
  /** Each phase that the probe went through. */
  phases?: Partial<Record<Phase, Pick<PhaseResult, 'ok' | 'ms'> & Partial<Pick<PhaseResult, 'code' | 'evidence'>>>>;
  /** All that a call or registration which failed has sent and got, credentials included. */
  messages?: readonly ProbedMessage[];
}

/** One message of a probe; `at`: milliseconds since the epoch. */
export interface ProbedMessage {
  at: number;
  sent: boolean;
  transport: string;
  local: string;
  remote: string;
  bytes: Uint8Array;
}

/** One way to probe. Never rejects; ends within `target.timeoutMs`, earlier when the signal says so. */
export type Prober = (target: ProbeTarget, signal: AbortSignal, tap?: ProbeTap) => Promise<ProbeOutcome>;

const ERRORS: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  EADDRNOTAVAIL: 'own address not available',
};

/** An error of a socket in an operator's words. */
export const describe = (error: NodeJS.ErrnoException): string =>
  ERRORS[error.code ?? ''] ?? error.message.slice(0, 120);

/** `[2001:db8::1]:5060`: an IPv6 address stands in brackets. */
export const hostPort = (e: { address: string; port: number }): string =>
  e.address.includes(':') ? `[${e.address}]:${e.port}` : `${e.address}:${e.port}`;

export const inSeconds = (ms: number): string => `${ms / 1000}s`;
