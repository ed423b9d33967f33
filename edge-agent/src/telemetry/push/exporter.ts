import type { Logger } from 'pino';
import type { Outcome } from './delivery.ts';
import type { Batch, Spool } from './spool.ts';

/** Time as the exporter sees it: tests bring their own. */
export interface PushClock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after so many milliseconds, or as soon as `signal` is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export interface ExporterOptions {
  /** `otlp`, `otlp-traces` or `remote-write`. */
  name: string;
  /** What is sent, for the log: `metrics`, `spans`. */
  what: string;
  intervalMs: number;
  /** Everything there is to send as requests, in pieces, with pauses between them; read at `at`. */
  collect(at: number): AsyncIterable<Batch>;
  send(batch: Batch, signal: AbortSignal): Promise<Outcome>;
  /** Samples that a receiver left out of a request that it took. */
  rejected?(body: Uint8Array): { points: number; reason: string };
  spool: Spool;
  clock: PushClock;
  random(): number;
  log: Pick<Logger, 'warn' | 'info'>;
}

/** What became of pushes, for the metrics about them. */
export interface ExporterView {
  name: string;
  requests: { taken: number; later: number; refused: number };
  droppedSamples: { spool: number; refused: number };
  spoolBytes: number;
  /** Milliseconds since the epoch; undefined before the first request was taken. */
  lastTaken: number | undefined;
}

const BACKOFF = { baseMs: 1000, capMs: 30_000 } as const;
/** What the end of the process may take for a last push. */
const LAST_WORDS_MS = 2000;

/**
 * Pushes at an interval, in one loop that does one thing at a time: so requests arrive in the order in which they were
 * read, whatever fails in between, and memory holds one request. What cannot be sent waits on disk.
 */
export class Exporter {
  readonly #options: ExporterOptions;
  readonly #requests = { taken: 0, later: 0, refused: 0 };
  readonly #dropped = { refused: 0 };
  readonly #stop = new AbortController();
  #attempt = 0;
  #retryAt = 0;
  #lastTaken: number | undefined;
  #failing = false;
  #spoolWorks = true;
  #loop: Promise<void> | undefined;
  readonly #spoolDropped: () => number;

  /** @param spoolDropped samples that the spool gave up */
  constructor(options: ExporterOptions, spoolDropped: () => number) {
    this.#options = options;
    this.#spoolDropped = spoolDropped;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  view(): ExporterView {
    return {
      name: this.#options.name,
      requests: { ...this.#requests },
      droppedSamples: { spool: this.#spoolDropped(), ...this.#dropped },
      spoolBytes: this.#options.spool.bytes,
      lastTaken: this.#lastTaken,
    };
  }

  /** Pushes once more, for two seconds at most; what is left then waits on disk for the next start. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, intervalMs, random, spool, log, what } = this.#options;
    try {
      await spool.open();
    } catch (error) {
      this.#spoolWorks = false;
      log.warn({ reason: (error as Error).message }, `no spool: ${what} that cannot be pushed at once are lost`);
    }
    // A fleet that was started at one moment does not push in step.
    let due = clock.now() + random() * intervalMs;
    while (!this.#stop.signal.aborted) {
      const now = clock.now();
      if (now >= due) {
        // A missed beat is skipped, not caught up.
        due += intervalMs * Math.ceil((now - due + 1) / intervalMs);
        await this.#push(this.#stop.signal);
      }
      await this.#drain(due);
      const next = spool.length > 0 ? Math.min(due, Math.max(this.#retryAt, clock.now())) : due;
      await clock.sleep(Math.max(0, next - clock.now()), this.#stop.signal);
    }
    await this.#push(AbortSignal.timeout(LAST_WORDS_MS));
  }

  async #push(signal: AbortSignal): Promise<void> {
    const { collect, clock, spool, log, name, what } = this.#options;
    try {
      for await (const batch of collect(clock.now())) {
        // In order: while older ones wait, this one waits behind them.
        const waits = spool.length > 0 || clock.now() < this.#retryAt;
        if (waits || !(await this.#send(batch, signal))) await this.#keep(batch);
      }
    } catch (error) {
      log.warn({ exporter: name, err: error }, `${what} could not be read for a push`);
    }
  }

  /** Sends what waits until it is through, the receiver fails, or the next collection is due; one at least, or a slow disk would let nothing through. */
  async #drain(until: number): Promise<void> {
    const { spool, clock } = this.#options;
    do {
      if (this.#stop.signal.aborted || clock.now() < this.#retryAt) return;
      const batch = await spool.peek();
      if (!batch || !(await this.#send(batch, this.#stop.signal))) return;
      await spool.shift();
    } while (clock.now() < until);
  }

  /** False: it should be tried again. */
  async #send(batch: Batch, signal: AbortSignal): Promise<boolean> {
    const { send, clock, random, log, rejected, name, what } = this.#options;
    const outcome = await send(batch, signal);
    this.#requests[outcome.kind]++;
    if (outcome.kind === 'later') {
      const backoff = random() * Math.min(BACKOFF.capMs, BACKOFF.baseMs * 2 ** this.#attempt++);
      this.#retryAt = clock.now() + Math.max(outcome.waitMs ?? 0, backoff);
      if (!this.#failing)
        log.warn({ exporter: name, reason: outcome.reason }, `${what} cannot be pushed: they wait on disk`);
      this.#failing = true;
      return false;
    }
    this.#attempt = 0;
    this.#retryAt = 0;
    if (outcome.kind === 'refused') this.#refused(batch.samples, outcome.reason);
    else {
      const { points, reason } = rejected?.(outcome.body) ?? { points: 0, reason: '' };
      if (points > 0) this.#refused(points, reason);
      this.#lastTaken = clock.now();
    }
    if (this.#failing) log.info({ exporter: name }, `${what} are pushed again`);
    this.#failing = false;
    return true;
  }

  #refused(samples: number, reason: string): void {
    const { log, name, what } = this.#options;
    // The first one: a receiver that refuses one refuses many.
    if (this.#dropped.refused === 0) log.warn({ exporter: name, samples, reason }, `the receiver refuses ${what}`);
    this.#dropped.refused += samples;
  }

  async #keep(batch: Batch): Promise<void> {
    const { spool, log, what } = this.#options;
    try {
      await spool.put(batch);
      this.#spoolWorks = true;
    } catch (error) {
      if (this.#spoolWorks)
        log.warn({ reason: (error as Error).message }, `${what} cannot be put on disk: they are lost`);
      this.#spoolWorks = false;
    }
  }
}
