import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { trace } from '../otlp-definitions.fixture.ts';
import type { PushClock } from '../push/exporter.ts';
import type { PushDeps, TracePushOptions } from '../push/pushes.ts';
import { Traces } from './traces.ts';

const { ExportTraceServiceRequest } = trace.v1;
const spansIn = (body: Buffer): string[] => {
  const { resourceSpans } = ExportTraceServiceRequest.toObject(ExportTraceServiceRequest.decode(body), {
    bytes: String,
  }) as { resourceSpans: { scopeSpans: { spans: { spanId: string }[] }[] }[] };
  return resourceSpans.flatMap((r) => r.scopeSpans.flatMap((s) => s.spans.map((span) => span.spanId)));
};

/** A collector that does as it is told. */
class Collector {
  how: 'takes' | 'says 503' | 'says nothing' = 'takes';
  readonly spans: string[] = [];
  requests = 0;
  readonly #server: Server;

  constructor() {
    this.#server = createServer(async (request, response) => {
      this.requests++;
      const body = await buffer(request);
      if (this.how === 'says nothing') return;
      if (this.how === 'takes') this.spans.push(...spansIn(body));
      response.writeHead(this.how === 'takes' ? 200 : 503).end();
    });
  }

  async listen(): Promise<URL> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1/traces`);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** The exporter's sleep is over when simulated time says so; it says itself when it sleeps. */
class SimulatedClock implements PushClock {
  asleep = false;
  now(): number {
    return Date.now();
  }
  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.asleep = true;
    await new Promise<void>((resolve) => {
      setTimeout(resolve, Math.max(ms, COARSE_MS));
      signal.addEventListener('abort', () => resolve(), { once: true });
      if (signal.aborted) resolve();
    });
    this.asleep = false;
  }
}

const realTurn = setImmediate;
/** An hour of files and requests, three seconds where nobody else wants the machine. */
const SLOW = { timeout: 180_000 };
const PROBES = 20;
const SPANS_PER_PROBE = 3;
const STEP_MS = 20_000;
/** The exporter sleeps no shorter: it would wake up every second of the hour. */
const COARSE_MS = 10_000;

let collector: Collector;
let url: URL;
let data: string;
let clock: SimulatedClock;
let told: number;
beforeEach(async () => {
  collector = new Collector();
  url = await collector.listen();
  data = await mkdtemp(join(tmpdir(), 'sipfleet-traces-'));
  // Requests and files are real, and take no simulated time.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
  clock = new SimulatedClock();
  told = 0;
});
afterEach(async () => {
  vi.useRealTimers();
  collector.close();
  await rm(data, { recursive: true, force: true });
});

function traces(more: Partial<TracePushOptions> = {}): Traces {
  const deps: Omit<PushDeps, 'families'> = {
    identity: { agent: 'edge-1', instance: 'i', site: 'milan', version: '1', startedAt: 0 },
    data,
    log: { warn: vi.fn(), info: vi.fn() } as unknown as PushDeps['log'],
    clock,
    random: () => 0.5,
  };
  const options = { url, headers: {}, gzip: false, resource: {}, spoolBytes: 64 << 20, spansPerSecond: 200 };
  return new Traces({ ...options, ...more }, deps, 0);
}

/** Twenty probes that turned out other than before: sixty spans. Whoever tells them waits for nothing. */
function tell(t: Traces): void {
  const result = (told / (PROBES * SPANS_PER_PROBE)) % 2 === 0 ? 'failure' : 'success';
  const phases = { invite: { ok: true, ms: 20 }, answer: { ok: result === 'success', ms: 80 } };
  for (let i = 0; i < PROBES; i++) {
    const who = { farm: 'pbx', backend: `pbx${i}`, check: 'dummy', peer: '10.0.0.11:5060', transport: 'udp' };
    t.checks.probed({ ...who, result, evidence: '', seconds: 0.1, phases });
  }
  told += PROBES * SPANS_PER_PROBE;
}

/** Spans on disk, by the names of the files. */
async function onDisk(): Promise<number> {
  const names = await readdir(join(data, 'push', 'otlp-traces'));
  return names.reduce((sum, name) => sum + Number(/-(\d+)\.batch$/.exec(name)?.[1] ?? 0), 0);
}

/** From one timer to the next: no time passes while the exporter sends or writes. */
async function pass(ms: number): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end; ) {
    await vi.advanceTimersToNextTimerAsync();
    while (!clock.asleep) await new Promise((resolve) => realTurn(resolve));
  }
}

/** Lets simulated minutes pass while there is something to tell. Returns the most that waited on disk, in bytes. */
async function minutes(t: Traces, count: number): Promise<number> {
  let most = 0;
  for (let ms = 0; ms < count * 60_000; ms += STEP_MS) {
    tell(t);
    await pass(STEP_MS);
    most = Math.max(most, t.push().spoolBytes);
    // What is neither there nor lost nor on disk is in memory: what was told since the loop slept, and no more.
    const { budget, queue } = t.view().dropped;
    const lost = budget + queue + t.push().droppedSamples.spool;
    expect(told - lost - collector.spans.length - (await onDisk())).toBeLessThanOrEqual(PROBES * SPANS_PER_PROBE);
  }
  return most;
}

test('a collector that is away for an hour: every span arrives afterwards, once', SLOW, async () => {
  const t = traces();
  await minutes(t, 5);
  expect(t.push().spoolBytes).toBe(0);
  collector.how = 'says 503';
  const before = collector.requests;
  const most = await minutes(t, 60);
  // Ever more seldom: the longest wait is half a minute, and half of that here.
  expect(collector.requests - before).toBeLessThan(4 * 60 + 10);
  expect(most).toBeGreaterThan(1_000_000);
  collector.how = 'takes';
  await minutes(t, 2);
  await pass(60_000);
  expect(t.view()).toEqual({ sent: told, dropped: { budget: 0, queue: 0 } });
  expect(t.push()).toMatchObject({ spoolBytes: 0, droppedSamples: { spool: 0, refused: 0 } });
  expect(collector.spans).toHaveLength(told);
  expect(new Set(collector.spans).size).toBe(told);
  await t.close();
});

test('a disk that is too small for the hour keeps the newest; what is lost is counted', SLOW, async () => {
  const limit = 1 << 18;
  const t = traces({ spoolBytes: limit });
  collector.how = 'says 503';
  expect(await minutes(t, 60)).toBeLessThanOrEqual(limit);
  collector.how = 'takes';
  await pass(60_000);
  const { spool } = t.push().droppedSamples;
  expect(spool).toBeGreaterThan(0);
  expect(collector.spans.length).toBeGreaterThan(0);
  expect(collector.spans.length + spool).toBe(told);
  await t.close();
});

test(
  'a collector that takes connections and says nothing: the end comes all the same, and the next start tells the rest',
  SLOW,
  async () => {
    vi.useRealTimers();
    collector.how = 'says nothing';
    const t = traces();
    tell(t);
    await vi.waitFor(() => expect(collector.requests).toBeGreaterThan(0), 20_000);
    tell(t);
    await t.close();
    await t.close();
    expect(await onDisk()).toBe(told);
    collector.how = 'takes';
    const next = traces();
    await vi.waitFor(() => expect(collector.spans).toHaveLength(told), 20_000);
    await next.close();
  },
);

test('an exporter that does not come to an end is not waited for longer than five seconds', async () => {
  // As a disk does that no longer answers.
  clock.sleep = () => new Promise(() => {});
  const t = traces();
  let closed = false;
  const closing = t.close().then(() => {
    closed = true;
  });
  await vi.advanceTimersByTimeAsync(4999);
  expect(closed).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  await closing;
});
