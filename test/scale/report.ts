import { readFileSync, writeFileSync } from 'node:fs';
import type { Machine } from '../bench/machine.ts';
import { type Cost, type FleetCost, OPERATIONS } from './cost.ts';
import type { Spread } from './fleet.ts';
import { ASSUMED } from './prices.ts';

/** Of one agent. */
export interface IdleHour {
  /** By HTTP. */
  requests: number;
  /** Over the push socket. */
  exchanges: number;
  bytesSent: number;
  bytesReceived: number;
  /** Of the control plane's core, by all agents. */
  cpuShare: number;
}

export interface ScaleResult {
  machine: Machine;
  agents: number;
  sites: number;
  connect: Spread;
  idle: IdleHour;
  /** CPU of the control plane, and of the process that plays all agents. */
  changes: { hint: Spread; ack: Spread; cpuSeconds: number; agentsCpuSeconds: number }[];
  back: Spread & { peak: number };
  /** What went wrong at agents, and how often. */
  failures: [string, number][];
}

const number = (value: number, digits = 0): string =>
  value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const seconds = (ms: number): string => `${number(ms / 1000, 2)} s`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

/** The part of docs/cost.md that says how fast a change reaches a fleet. */
export function fleetSection(r: ScaleResult): string {
  const { machine: m, idle, back } = r;
  const changes = r.changes.map(({ hint, ack, cpuSeconds, agentsCpuSeconds }, i) => [
    String(i + 1),
    ...[hint.p50, hint.p99, ack.p50, ack.p99, ack.max].map(seconds),
    `${number(cpuSeconds, 2)} s`,
    `${number((cpuSeconds / r.agents) * 1000, 2)} ms`,
    `${number(agentsCpuSeconds, 2)} s`,
  ]);
  return `Measured with ${number(r.agents)} simulated agents at ${number(r.sites)} sites against one control plane process on one core, SQLite, HTTP and WebSocket without TLS on
loopback, the agents on the other cores. ${m.cores} cores of ${m.cpu}, ${m.kernel}, Node ${m.node}, revision ${m.revision}.

One farm stands on all sites; each change alters it, so every agent is hinted to, fetches, and acknowledges. Times from the moment that the operator's \`PUT\`
is sent, the random wait that a hint asks for (${seconds(Math.ceil(r.agents / 3))} for this many) included.

${table(['change', 'hint p50', 'hint p99', 'ACK p50', 'ACK p99', 'ACK last', 'CPU of the control plane', 'per agent', 'CPU of the agents'], changes)}

While nothing changes, per agent and hour: ${number(idle.exchanges, 1)} exchanges over the push socket (one a minute, report and poll together), ${number(idle.requests, 1)} HTTP requests, ${number(idle.bytesSent / 1000, 1)} kB sent and
${number(idle.bytesReceived / 1000, 1)} kB received. The control plane is busy for ${number(idle.cpuShare * 100, 1)} % of its core.

Killed (SIGKILL) and started again: the agents are back after ${seconds(back.p50)} (half), ${seconds(back.p99)} (99 %), ${seconds(back.max)} (all), at most ${number(back.peak)} within one
second; each waits a random part of the spread that the control plane had told it.${r.failures.length === 0 ? '' : ` Exchanges that failed meanwhile and were tried again: ${number(r.failures.reduce((sum, [, n]) => sum + n, 0))}.`}`;
}

/** The part of docs/cost.md that says what AWS charges. */
export function costSection(cost: Cost): string {
  const sizes = cost.map(({ agents }) => `${number(agents)} agents`);
  const units = (of: FleetCost, name: (typeof OPERATIONS)[number]): string =>
    `${number(of.operations[name].reads, 1)} R, ${number(of.operations[name].writes, 1)} W`;
  const parts = Object.keys((cost[0] as FleetCost).month.dollars);
  return `Capacity units as DynamoDB itself counts them (\`ReturnConsumedCapacity\`), each function driven with API Gateway's and DynamoDB's events. R: read units, W: write units. The snapshot is the first of a
site after a change, which is also kept; the others of its agents write nothing, and are counted alike.

${table(
  ['operation', ...sizes],
  OPERATIONS.map((name) => [name, ...cost.map((of) => units(of, name))]),
)}

A month: one report a minute and agent, a push socket every 107.5 minutes, ${ASSUMED.changesPerDay} changes a day of a farm that stands on all sites, a reconciliation every five minutes.

${table(
  ['', ...sizes],
  [
    ['read units', ...cost.map(({ month }) => `${number(month.reads / 1e6, 1)} M`)],
    ['write units', ...cost.map(({ month }) => `${number(month.writes / 1e6, 1)} M`)],
    ['API requests', ...cost.map(({ month }) => `${number(month.requests / 1e6, 1)} M`)],
    ...parts.map((part) => [`${part}, $`, ...cost.map(({ month }) => number(month.dollars[part] as number, 2))]),
    ['**all, $ a month**', ...cost.map(({ month }) => `**${number(month.total, 2)}**`)],
    ['per agent, $', ...cost.map(({ month, agents }) => number(month.total / agents, 4))],
  ],
)}

Not measured but assumed: a function call takes ${ASSUMED.callMs} ms at ${ASSUMED.memoryGigabytes * 1000} MB, an answer ${number(ASSUMED.answerBytes)} bytes, all of it goes to the internet; logs, alarms and free tiers are left out. Prices
and assumptions stand in \`test/scale/prices.ts\`.`;
}

/** Replaces what stands between the marks of a section. Throws where the file has no such marks. */
export function recordTo(path: string, section: 'fleet' | 'cost', text: string): void {
  const [begin, end] = [`<!-- ${section}: begin -->`, `<!-- ${section}: end -->`];
  const file = readFileSync(path, 'utf8');
  const [from, to] = [file.indexOf(begin), file.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${path} has no section ${section}: it is marked ${begin} … ${end}`);
  writeFileSync(path, `${file.slice(0, from + begin.length)}\n\n${text}\n\n${file.slice(to)}`);
}
