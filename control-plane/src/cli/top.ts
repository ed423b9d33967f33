import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentHttp } from './agent-http.ts';
import { CliError, type Colors, EXIT, type Io, table } from './io.ts';
import { type Format, formatted } from './output.ts';

interface Traffic {
  farm: string;
  sessionAttempts: number;
  sessionsEstablished: number;
  sessionFailures: number;
  registrationAttempts: number;
  registrationFailures: number;
  activeSessions: number;
  activeRegistrations: number;
}

interface Status {
  agent: { name: string; site: string | null; version: string; uptimeSeconds: number };
  snapshot: { generation: number } | null;
  backends: { farm: string; backend: string; state: string; since: string; reason: string }[];
  workers: { running: number; restarts: number };
  link: { connected: boolean } | null;
}

interface View {
  at: number;
  status: Status;
  traffic: Traffic[];
}

/** Home, and everything below cleared: what stands there is overwritten without flicker. */
const HOME = '\u001b[H';
const CLEAR = '\u001b[J';

/** `sipfleet top`: one agent's farms and backends, again and again until it is interrupted, or once. */
export async function top(
  agent: AgentHttp,
  { interval, once, output }: { interval: number; once?: boolean; output: Format },
  io: Io,
  colors: Colors,
): Promise<number> {
  if (output !== 'table' && !once)
    throw new CliError(
      `top is a live view: -o ${output} prints one of it, with --once; to follow an agent, scrape its /metrics`,
    );
  let before = await look(agent);
  for (;;) {
    await sleep(interval);
    const now = await look(agent);
    const page = output === 'table' ? render(before, now, colors) : formatted(documentOf(before, now), output);
    if (once) {
      io.out(page);
      return EXIT.ok;
    }
    io.out(io.terminal ? `${HOME}${page.replaceAll('\n', '\u001b[K\n')}${CLEAR}` : `${page}\n`);
    before = now;
  }
}

async function look(agent: AgentHttp): Promise<View> {
  const [status, traffic] = await Promise.all([agent.json<Status>('/v1/status'), agent.json<Traffic[]>('/v1/traffic')]);
  return { at: Date.now(), status, traffic };
}

/** What each farm has now, what came to that between the two views, and what began in a second of it. */
const traffics = (before: View, now: View) =>
  now.traffic.map((t) => {
    const old = before.traffic.find((b) => b.farm === t.farm);
    const more = (field: keyof Omit<Traffic, 'farm'>): number => t[field] - (old?.[field] ?? 0);
    const seconds = (now.at - before.at) / 1000;
    const perSecond = {
      sessions: more('sessionAttempts') / seconds,
      registrations: more('registrationAttempts') / seconds,
    };
    return { t, more, perSecond };
  });

/** For programs: what the agent says, and what began between the two views. */
const documentOf = (before: View, now: View) => ({
  ...now.status,
  traffic: traffics(before, now).map(({ t, perSecond }) => ({ ...t, perSecond })),
});

/** Rates are those between the two views; a ratio of nothing is a dash. */
export function render(before: View, now: View, colors: Colors): string {
  const rows = traffics(before, now).map(({ t, more, perSecond }) => [
    t.farm,
    String(t.activeSessions),
    perSecond.sessions.toFixed(1),
    percent(more('sessionsEstablished'), more('sessionAttempts')),
    painted(percent(more('sessionFailures'), more('sessionAttempts')), more('sessionFailures') > 0, colors),
    String(t.activeRegistrations),
    perSecond.registrations.toFixed(1),
    painted(
      percent(more('registrationFailures'), more('registrationAttempts')),
      more('registrationFailures') > 0,
      colors,
    ),
  ]);
  const { agent, snapshot, workers, link, backends } = now.status;
  const where = [agent.name, agent.site ?? 'no site', `generation ${snapshot?.generation ?? 'none'}`];
  const plane = link === null ? 'no control plane' : link.connected ? 'linked' : colors.red('link down');
  const states = backends.map((b) => {
    const paint = b.state === 'up' ? colors.green : b.state === 'down' ? colors.red : colors.yellow;
    return [`${b.farm}/${b.backend}`, paint(b.state), b.since, b.reason];
  });
  return [
    `${where.join(' · ')} · ${plane} · ${workers.running} data threads · up ${Math.round(agent.uptimeSeconds)}s\n\n`,
    table([['FARM', 'SESSIONS', 'NEW/s', 'SER', 'ISA', 'REGISTERED', 'REG/s', 'IRA'], ...rows]),
    '\n',
    table([['BACKEND', 'STATE', 'SINCE', 'WHY'], ...states]),
  ].join('');
}

const percent = (part: number, whole: number): string => (whole > 0 ? `${((100 * part) / whole).toFixed(1)}%` : '-');
const painted = (text: string, bad: boolean, colors: Colors): string => (bad ? colors.red(text) : text);
