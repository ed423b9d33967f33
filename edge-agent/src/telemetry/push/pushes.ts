import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Logger } from 'pino';
import { type DeliveryOptions, deliver, otlpRetryable, remoteWriteRetryable, type Sign } from './delivery.ts';
import { Exporter, type ExporterView, type PushClock } from './exporter.ts';
import type { Family, Labels } from './family.ts';
import { encodeOtlp, rejectedPoints } from './otlp.ts';
import { encodeEnded, encodeRemoteWrite, SentSeries } from './remote-write.ts';
import { sigV4 } from './sigv4.ts';
import { type Batch, Spool } from './spool.ts';
import { StartTimes } from './start-times.ts';

/** Where metrics are pushed to; a part that is left out is off. */
export interface PushOptions {
  readonly intervalMs: number;
  /** Most that waits on disk for each of the two, in bytes. */
  readonly spoolBytes: number;
  readonly otlp?: {
    readonly url: URL;
    readonly headers: Readonly<Record<string, string>>;
    readonly gzip: boolean;
    /** Beside those that the agent knows of itself. */
    readonly resource: Labels;
  };
  readonly remoteWrite?: {
    readonly url: URL;
    readonly headers: Readonly<Record<string, string>>;
    /** AWS region that requests are signed for. */
    readonly sigV4Region?: string | undefined;
  };
}

/** Where traces are pushed to. */
export interface TracePushOptions {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly gzip: boolean;
  readonly resource: Labels;
  /** Most that waits on disk, in bytes. */
  readonly spoolBytes: number;
  readonly spansPerSecond: number;
}

/** Who pushes. */
export interface PushIdentity {
  agent: string;
  /** Id in the fleet; the name where there is none. */
  instance: string;
  site: string | undefined;
  version: string;
  /** Milliseconds since the epoch: since when counters count. */
  startedAt: number;
}

export interface PushDeps {
  /** Every metric, one after the other, with pauses in between. */
  families(): AsyncIterable<Family>;
  identity: PushIdentity;
  /** The agent's data directory. */
  data: string;
  log: Logger;
  clock?: PushClock;
  random?: () => number;
}

export interface Pushes {
  views(): ExporterView[];
  /** Safe to call twice. */
  close(): Promise<void>;
}

/** Samples in one request: some 100 kB before compression, a millisecond or two of encoding. */
const SAMPLES_PER_REQUEST = 2000;
const DEADLINE_MS = 10_000;
const CLOCK: PushClock = {
  now: () => Date.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal, ref: false }).catch(() => {}),
};

const compress = promisify(gzip);

/** Starts what is configured; nothing where nothing is. Rejects where credentials for signing cannot even be looked for. */
export async function startPushes(options: PushOptions, deps: PushDeps): Promise<Pushes> {
  const exporters = [
    ...(options.otlp ? [startOtlp(options, options.otlp, deps)] : []),
    ...(options.remoteWrite ? [await startRemoteWrite(options, options.remoteWrite, deps)] : []),
  ];
  return {
    views: () => exporters.map((exporter) => exporter.view()),
    close: async () => {
      await Promise.all(exporters.map((exporter) => exporter.close()));
    },
  };
}

function startOtlp(options: PushOptions, otlp: NonNullable<PushOptions['otlp']>, deps: PushDeps): Exporter {
  const { version, startedAt } = deps.identity;
  const starts = new StartTimes(startedAt);
  const resource = resourceOf(deps.identity, otlp.resource);
  const context = { resource, scope: { name: 'sipfleet', version }, starts };
  async function* collect(at: number): AsyncGenerator<Batch> {
    for await (const { families, samples } of requests(deps.families())) {
      const body = encodeOtlp(families, { ...context, at });
      yield { samples, body: otlp.gzip ? await compress(body) : body };
    }
    starts.collected(at);
  }
  const headers = {
    'content-type': 'application/x-protobuf',
    ...(otlp.gzip ? { 'content-encoding': 'gzip' } : {}),
    ...otlp.headers,
  };
  const delivery = { url: otlp.url, headers, retryable: otlpRetryable };
  // What waits on disk is compressed already, or not.
  const place = { directory: `otlp${otlp.gzip ? '-gzip' : ''}`, name: 'otlp', what: 'metrics', ...options };
  return startExporter(place, deps, delivery, collect, rejectedPoints);
}

/** Attributes of who sends metrics and traces alike, so that one leads to the other. */
export function resourceOf({ agent, instance, site, version }: PushIdentity, more: Labels): Labels {
  return {
    'service.name': 'sipfleet-agent',
    'service.instance.id': instance,
    'service.version': version,
    'sipfleet.agent': agent,
    ...(site === undefined ? {} : { 'sipfleet.site': site }),
    ...more,
  };
}

async function startRemoteWrite(
  options: PushOptions,
  { url, headers, sigV4Region }: NonNullable<PushOptions['remoteWrite']>,
  deps: PushDeps,
): Promise<Exporter> {
  const sent = new SentSeries();
  const external = { job: 'sipfleet-agent', instance: deps.identity.instance };
  async function* collect(at: number): AsyncGenerator<Batch> {
    for await (const { families, samples } of requests(deps.families()))
      yield { samples, body: encodeRemoteWrite(families, external, at, sent) };
    const ended = sent.ended();
    for (let i = 0; i < ended.length; i += SAMPLES_PER_REQUEST) {
      const part = ended.slice(i, i + SAMPLES_PER_REQUEST);
      yield { samples: part.length, body: encodeEnded(part, at) };
    }
  }
  const fixed = {
    'content-type': 'application/x-protobuf',
    'content-encoding': 'snappy',
    'x-prometheus-remote-write-version': '0.1.0',
    'user-agent': `sipfleet-agent/${deps.identity.version}`,
    ...headers,
  };
  const sign = sigV4Region === undefined ? undefined : await sigV4(sigV4Region);
  const delivery = { url, headers: fixed, retryable: remoteWriteRetryable, sign };
  const place = { directory: 'remote-write', name: 'remote-write', what: 'metrics', ...options };
  return startExporter(place, deps, delivery, collect);
}

/** Starts one loop of pushes. `directory`: of what waits, under the data directory's `push`; `what` is sent, for the log. */
export function startExporter(
  {
    directory,
    name,
    what,
    intervalMs,
    spoolBytes,
  }: { directory: string; name: string; what: string; intervalMs: number; spoolBytes: number },
  { data, log, clock = CLOCK, random = Math.random }: Omit<PushDeps, 'families'>,
  delivery: Omit<DeliveryOptions, 'deadlineMs' | 'now'> & { sign?: Sign | undefined },
  collect: (at: number) => AsyncIterable<Batch>,
  rejected?: (body: Uint8Array) => { points: number; reason: string },
): Exporter {
  let lost = 0;
  const spool = new Spool(join(data, 'push', directory), spoolBytes, (samples) => {
    lost += samples;
  });
  const exporter = new Exporter(
    {
      name,
      what,
      intervalMs,
      collect,
      send: ({ body }, signal) => deliver(body, { ...delivery, deadlineMs: DEADLINE_MS, now: clock.now }, signal),
      ...(rejected ? { rejected } : {}),
      spool,
      clock,
      random,
      log,
    },
    () => lost,
  );
  exporter.start();
  return exporter;
}

/** Cuts families, big ones inside too, into requests of bounded size. */
async function* requests(families: AsyncIterable<Family>): AsyncGenerator<{ families: Family[]; samples: number }> {
  let pending: Family[] = [];
  let samples = 0;
  for await (const family of families) {
    // A histogram's point is as many samples as it has buckets, and two.
    const width = family.type === 'histogram' ? (family.points[0]?.counts.length ?? 0) + 2 : 1;
    const atOnce = Math.max(1, Math.floor(SAMPLES_PER_REQUEST / width));
    for (let i = 0; i < family.points.length; i += atOnce) {
      const part = { ...family, points: family.points.slice(i, i + atOnce) } as Family;
      pending.push(part);
      samples += part.points.length * width;
      if (samples < SAMPLES_PER_REQUEST) continue;
      yield { families: pending, samples };
      [pending, samples] = [[], 0];
    }
  }
  if (samples > 0) yield { families: pending, samples };
}
