import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { Check, parseDuration } from '@sipfleet/contract';
import type { HealthTarget } from '../../edge-agent/src/health/backend.ts';
import type { CheckDefinition } from '../../edge-agent/src/health/check-run.ts';
import { createProber } from '../../edge-agent/src/health/probers.ts';
import { HealthSchedule } from '../../edge-agent/src/health/schedule.ts';
import { startPbx } from '../demo-pbx/pbx.ts';

/**
 * The health checks of one agent alone: 200 backends with three checks each (OPTIONS, a TCP connection, a call with a second of
 * voice), probed as the agent probes them. Tells how far probes start from their schedule, and what they cost.
 *
 *   node test/bench/checks.ts [--seconds 130] [--backends 200] [--json]    alone; `npm run bench -- --sections checks` records it
 */
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '130' },
    backends: { type: 'string', default: '200' },
    json: { type: 'boolean', default: false },
    peer: { type: 'boolean', default: false },
  },
});
/** Before this everything is compiled for the first time. */
const WARM_UP_MS = 5_000;
/** Of its interval, a probe may start this much off. */
const TOLERANCE = 0.05;

const CHECKS = [
  { name: 'ping', type: 'options', interval: '5s', timeout: '2s' },
  { name: 'port', type: 'tcp', interval: '5s', timeout: '2s' },
  { name: 'call', type: 'call', interval: '1m', timeout: '10s', from: 'sip:check@HOST', to: 'sip:echo@HOST' },
] as const;

interface Ports {
  sip: number;
  tcp: number;
}

/** The PBX that all backends are, in a process of its own so that its work is not counted. */
async function playPeer(): Promise<void> {
  const pbx = await startPbx({ host: '127.0.0.1', port: 0 });
  const server = net.createServer((socket) => socket.on('error', () => {}).resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.send?.({ sip: pbx.port, tcp: (server.address() as AddressInfo).port } satisfies Ports);
  process.once('disconnect', () => process.exit());
}

async function startPeer(): Promise<{ child: ChildProcess; ports: Ports }> {
  const child = fork(import.meta.filename, ['--peer']);
  const [ports] = (await once(child, 'message')) as [Ports];
  return { child, ports };
}

function definitions(tcp: number): CheckDefinition[] {
  return CHECKS.map((check) => {
    const spec = Check.parse(check.type === 'tcp' ? { ...check, port: tcp } : check);
    const ms = (text: string) => parseDuration(text) as number;
    const { interval, timeout } = check;
    const times = { intervalMs: ms(interval), timeoutMs: ms(timeout) };
    return { name: check.name, ...times, rise: 2, fall: 3, expensive: false, spec };
  });
}

export interface CheckRow {
  check: string;
  probes: number;
  failed: number;
  /** Of the interval: the worst, and 99 of 100. */
  worst: number;
  p99: number;
  late: number;
}

export interface ChecksResult {
  backends: number;
  rows: CheckRow[];
  /** Of one core. */
  cpu: number;
}

async function main(): Promise<void> {
  const { child, ports } = await startPeer();
  const starts = new Map<string, { last: number | undefined; off: number[]; failed: number }>();
  const slot = (key: string) => {
    const known = starts.get(key) ?? { last: undefined, off: [], failed: 0 };
    starts.set(key, known);
    return known;
  };
  const probe = createProber(() => new Map());
  let measuring = false;
  const schedule = new HealthSchedule({
    clock: { now: Date.now, monotonic: () => performance.now() },
    random: Math.random,
    changed: () => {},
    probed: ({ backend, check, result }) => {
      if (measuring && result !== 'success') slot(`${backend}/${check}`).failed++;
    },
    probe: (target, signal) => {
      const now = performance.now();
      const { backend } = target as unknown as HealthTarget;
      const entry = slot(`${backend}/${target.check.name}`);
      const intervalMs = parseDuration(target.check.interval ?? '') as number;
      if (measuring && entry.last !== undefined) entry.off.push(Math.abs(now - entry.last - intervalMs) / intervalMs);
      entry.last = now;
      return probe(target, signal);
    },
  });
  const checks = definitions(ports.tcp);
  const where = { address: '127.0.0.1', port: ports.sip, transport: 'udp', localAddress: '127.0.0.1' } as const;
  schedule.replace(
    Array.from({ length: Number(values.backends) }, (_, i) => ({
      ...{ farm: 'bench', backend: `b${i}`, startAs: 'unknown' as const, checks },
      ...where,
    })),
  );
  await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS));
  measuring = true;
  const cpu = process.cpuUsage();
  const began = performance.now();
  await new Promise((resolve) => setTimeout(resolve, Number(values.seconds) * 1000));
  const used = process.cpuUsage(cpu);
  const share = (used.user + used.system) / 1000 / (performance.now() - began);
  void schedule.close();
  child.disconnect();
  const rows = CHECKS.map(({ name }) => rowOf(name, starts));
  print({ backends: Number(values.backends), rows, cpu: share });
}

function rowOf(check: string, starts: ReadonlyMap<string, { off: number[]; failed: number }>): CheckRow {
  const own = [...starts].filter(([key]) => key.endsWith(`/${check}`)).map(([, entry]) => entry);
  const off = own.flatMap((entry) => entry.off).sort((a, b) => a - b);
  const failed = own.reduce((sum, entry) => sum + entry.failed, 0);
  const late = off.filter((o) => o > TOLERANCE).length;
  return {
    check,
    probes: off.length,
    failed,
    worst: off.at(-1) ?? 0,
    p99: off[Math.floor(off.length * 0.99)] ?? 0,
    late,
  };
}

function print(result: ChecksResult): void {
  if (values.json) return void console.log(JSON.stringify(result));
  const percent = (n: number) => `${(100 * n).toFixed(2)} %`;
  for (const { check, probes, failed, worst, p99, late } of result.rows)
    console.log(
      `${check}: ${probes} probes, ${failed} failed; off schedule: p99 ${percent(p99)}, worst ${percent(worst)}, ${late} over 5 %`,
    );
  console.log(`CPU: ${percent(result.cpu)} of one core`);
}

await (values.peer ? playPeer() : main());
