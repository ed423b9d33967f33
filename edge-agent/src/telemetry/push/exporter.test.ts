import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Outcome } from './delivery.ts';
import { Exporter, type ExporterOptions, type PushClock } from './exporter.ts';
import { Spool } from './spool.ts';

const MINUTE = 60_000;
const INTERVAL = 15_000;
const LATER: Outcome = { kind: 'later', reason: '503' };
const TAKEN: Outcome = { kind: 'taken', body: new Uint8Array() };

/** Time that passes only when somebody sleeps: hours go by as fast as the disk allows. */
class SimulatedClock implements PushClock {
  #now = 1_000_000;
  readonly #end: number;
  readonly ended = Promise.withResolvers<void>();
  constructor(lastsMs: number) {
    this.#end = this.#now + lastsMs;
  }
  now(): number {
    return this.#now;
  }
  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.#now += ms;
    if (this.#now < this.#end) return;
    this.ended.resolve();
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }
}

interface Run {
  lastsMs: number;
  spoolBytes?: number;
  send(text: string, at: number): Outcome | Promise<Outcome>;
  rejected?: ExporterOptions['rejected'];
}

/** Runs an exporter that collects two batches of 1000 bytes each time, until the clock's end. */
async function run({ lastsMs, spoolBytes = 10_000_000, send, rejected }: Run) {
  const path = await mkdtemp(join(tmpdir(), 'sipfleet-exporter-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  const clock = new SimulatedClock(lastsMs);
  const collected: string[] = [];
  let lost = 0;
  let most = 0;
  const spool = new Spool(join(path, 'spool'), spoolBytes, (samples) => {
    lost += samples;
  });
  const log = { warn: vi.fn(), info: vi.fn() };
  const exporter = new Exporter(
    {
      name: 'otlp',
      what: 'metrics',
      intervalMs: INTERVAL,
      async *collect(at) {
        for (const part of ['a', 'b']) {
          collected.push(`${at}${part}`);
          yield { body: Buffer.from(`${at}${part}`.padEnd(1000)), samples: 10 };
        }
      },
      send: async ({ body }) => {
        most = Math.max(most, spool.bytes);
        return send(Buffer.from(body).toString().trim(), clock.now());
      },
      ...(rejected ? { rejected } : {}),
      spool,
      clock,
      random: () => 0.5,
      log,
    },
    () => lost,
  );
  exporter.start();
  await clock.ended.promise;
  return { exporter, collected, most, log, spool, started: 1_000_000 };
}

test('a receiver that is away for an hour: all of it arrives afterwards, in the order in which it was read', async () => {
  const taken: string[] = [];
  const attempts: number[] = [];
  const { exporter, collected, most, log } = await run({
    lastsMs: 75 * MINUTE,
    send(text, at) {
      if (at > 1_000_000 + 5 * MINUTE && at < 1_000_000 + 65 * MINUTE) {
        attempts.push(at);
        return LATER;
      }
      taken.push(text);
      return TAKEN;
    },
  });
  expect(taken).toEqual(collected);
  // One request at a time was tried, ever more seldom, half of the longest wait apart in the end.
  expect(attempts.length).toBeLessThan(260);
  expect(attempts.at(-1)! - attempts.at(-2)!).toBeLessThanOrEqual(INTERVAL);
  // An hour of four collections a minute with two batches each, and no more.
  expect(most).toBeGreaterThan(400_000);
  expect(most).toBeLessThanOrEqual(484_000);
  expect(exporter.view()).toMatchObject({ spoolBytes: 0, droppedSamples: { spool: 0, refused: 0 } });
  expect(log.warn).toHaveBeenCalledTimes(1);
  expect(log.info).toHaveBeenCalledTimes(1);
  await exporter.close();
});

test('a disk that is too small for the hour keeps the newest, and the loss is counted', async () => {
  const taken: string[] = [];
  const { exporter, collected, most } = await run({
    lastsMs: 75 * MINUTE,
    spoolBytes: 50_000,
    send(text, at) {
      if (at < 1_000_000 + 60 * MINUTE) return LATER;
      taken.push(text);
      return TAKEN;
    },
  });
  expect(most).toBeLessThanOrEqual(50_000);
  expect(taken).toEqual(collected.slice(-taken.length));
  expect(taken.length).toBeGreaterThanOrEqual(50);
  expect(exporter.view().droppedSamples.spool).toBe((collected.length - taken.length) * 10);
  await exporter.close();
});

test('what a receiver refuses is counted and passed over: it does not stop what comes after', async () => {
  const taken: string[] = [];
  const { exporter, collected, log } = await run({
    lastsMs: 2 * MINUTE,
    send(text) {
      if (text.endsWith('a')) return { kind: 'refused', reason: '400 out of order sample' };
      taken.push(text);
      return TAKEN;
    },
  });
  const refused = collected.filter((t) => t.endsWith('a'));
  expect(taken).toEqual(collected.filter((t) => t.endsWith('b')));
  expect(exporter.view()).toMatchObject({
    requests: { later: 0, refused: refused.length },
    droppedSamples: { refused: refused.length * 10 },
  });
  expect(log.warn).toHaveBeenCalledTimes(1);
  await exporter.close();
});

test('points left out of a request that was taken are counted', async () => {
  const rejected = () => ({ points: 3, reason: 'too old' });
  const { exporter, collected } = await run({ lastsMs: MINUTE, send: () => TAKEN, rejected });
  expect(exporter.view().droppedSamples.refused).toBe(collected.length * 3);
  await exporter.close();
});

test("a receiver's Retry-After is waited for", async () => {
  const attempts: number[] = [];
  const { exporter } = await run({
    lastsMs: 10 * MINUTE,
    send(_, at) {
      attempts.push(at);
      return { kind: 'later', reason: '429', waitMs: 4 * MINUTE };
    },
  });
  expect(attempts).toHaveLength(3);
  expect(attempts[1]! - attempts[0]!).toBe(4 * MINUTE);
  await exporter.close();
});

test('the end pushes once more, or leaves it on disk for the next start', async () => {
  const taken: string[] = [];
  const good = await run({
    lastsMs: MINUTE,
    send(text) {
      taken.push(text);
      return TAKEN;
    },
  });
  await good.exporter.close();
  await good.exporter.close();
  expect(taken).toEqual(good.collected);
  const bad = await run({ lastsMs: MINUTE, send: () => LATER });
  const before = bad.spool.length;
  await bad.exporter.close();
  expect(bad.spool.length).toBe(before + 2);
});
