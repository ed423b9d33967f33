import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { parseHostPort } from '../../control-plane/contract/src/address.ts';
import { CallFailed, Phone } from './phone.ts';
import { CALLERS, callerPassword, ECHOES } from './users.ts';

const USAGE = `Simulated phones for trying Sipfleet out; no part of the product.

usage: node test/demo-pbx/traffic.ts --to HOST:PORT --rate N [--hold MS] [--report S]
  --to      where the farm listens on UDP
  --rate    calls per second, at most 200
  --hold    how long a call stays up (default 2000)
  --report  seconds between two lines of counters (default 10)
`;

/** Calls open at one time; beyond it a call is skipped and counted, so that a farm that does not answer is not buried. */
const MAX_OPEN = 500;
/** Seconds; the phones register anew after half of it. */
const EXPIRES = 60;

interface Counters {
  started: number;
  completed: number;
  failed: number;
  skipped: number;
  /** Failures by status; 408 is no answer. */
  statuses: Map<number, number>;
}

/** Registers the callers again and again, one after the other, for as long as it runs. */
async function keepRegistered(phones: readonly Phone[], counters: Counters, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const [i, phone] of phones.entries()) {
      const user = CALLERS[i]!;
      await phone.register({ user, password: callerPassword(user) }, EXPIRES).catch((error) => count(counters, error));
    }
    await sleep((EXPIRES / 2) * 1000, undefined, { signal }).catch(() => {});
  }
}

async function callEcho(phone: Phone, callee: string, holdMs: number, counters: Counters): Promise<void> {
  counters.started++;
  try {
    const call = await phone.call(callee);
    await sleep(holdMs);
    const status = await call.hangUp();
    if (status !== 200) throw new CallFailed('BYE', status);
    counters.completed++;
  } catch (error) {
    count(counters, error);
  }
}

function count(counters: Counters, error: unknown): void {
  if (!(error instanceof CallFailed)) throw error;
  counters.failed++;
  counters.statuses.set(error.status, (counters.statuses.get(error.status) ?? 0) + 1);
}

function line({ started, completed, failed, skipped, statuses }: Counters): string {
  const why = [...statuses].map(([status, n]) => `${status}: ${n}`).join(', ');
  return `traffic: ${started} calls started, ${completed} completed, ${failed} failed${why && ` (${why})`}, ${skipped} skipped\n`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      to: { type: 'string' },
      rate: { type: 'string' },
      hold: { type: 'string', default: '2000' },
      report: { type: 'string', default: '10' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const proxy = parseHostPort(values.to ?? '');
  const rate = Number(values.rate);
  if (values.help) return void process.stdout.write(USAGE);
  if (!proxy || !(rate > 0 && rate <= 200)) throw new Error(USAGE);
  const stop = new AbortController();
  process.on('SIGTERM', () => stop.abort());
  process.on('disconnect', () => stop.abort());
  // Ctrl-C reaches the whole group of processes; whoever started this one decides when it ends.
  process.on('SIGINT', process.send ? () => {} : () => stop.abort());
  const counters: Counters = { started: 0, completed: 0, failed: 0, skipped: 0, statuses: new Map() };
  const open = () => Phone.open({ transport: 'udp', proxy, timeoutMs: 5000 });
  const phones = await Promise.all(CALLERS.map(open));
  void keepRegistered(phones, counters, stop.signal);
  process.send?.({ type: 'ready' });
  await run(
    phones,
    { rate, holdMs: Number(values.hold), reportMs: Number(values.report) * 1000 },
    counters,
    stop.signal,
  );
  process.stdout.write(line(counters));
  process.exit(0);
}

/** One call every 1/rate seconds, each by the next phone, until stopped. */
async function run(
  phones: readonly Phone[],
  { rate, holdMs, reportMs }: { rate: number; holdMs: number; reportMs: number },
  counters: Counters,
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now();
  let due = 0;
  let open = 0;
  let reported = started;
  while (!signal.aborted) {
    const now = performance.now();
    for (; due <= ((now - started) * rate) / 1000; due++) {
      if (open >= MAX_OPEN) {
        counters.skipped++;
        continue;
      }
      open++;
      void callEcho(phones[due % phones.length]!, ECHOES[due % ECHOES.length]!, holdMs, counters).finally(() => open--);
    }
    if (now - reported >= reportMs) {
      reported += reportMs;
      process.stdout.write(line(counters));
    }
    await sleep(Math.min(1000 / rate, 100), undefined, { signal }).catch(() => {});
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`traffic: ${(error as Error).message}\n`);
  process.exit(1);
}
