import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { Plan } from '../../plan.ts';
import { monotonic } from '../events.ts';
import type { Redaction } from '../recorder/redact.ts';
import { createHepCounts, HEP_LOSSES, HepCounts, type HepLossReason } from './counts.ts';
import type { HepListeners, ProbeMessage } from './feed.ts';
import type { HepIdentity } from './packet.ts';
import type { HepAddress } from './server.ts';

/** `workerData` of the HEP thread. */
export interface HepStart {
  address: HepAddress;
  identity: HepIdentity;
  redaction: Redaction;
  tapes: readonly SharedArrayBuffer[];
  counts: SharedArrayBuffer;
}

/** Control thread → HEP thread. */
export type HepCommand =
  | { type: 'plan'; listeners: HepListeners; serial: number }
  | { type: 'probe'; message: ProbeMessage }
  | { type: 'close' };

/** HEP thread → control thread: the way to the server opened or ended. */
export type HepEvent = { type: 'way'; open: boolean; reason?: string };

/** For the metrics about it. */
export interface HepView {
  sent: number;
  lost: Record<HepLossReason, number>;
  open: boolean;
}

export interface HepOptions extends Omit<HepStart, 'counts'> {
  /** What the thread runs. */
  script: URL;
  log: Pick<Logger, 'warn' | 'info'>;
}

/** Messages of probes that the thread has not taken up yet, at most. */
const MOST_PROBES = 500;
const CLOSE_MS = 2000;
const RESTART_MS = 5000;
/** A server that comes and goes fills no log. */
const SILENCE_MS = 60_000;

/**
 * The control thread's end of HEP. Every message is copied, redacted and encoded: that takes a thread of its own, of low precedence, which
 * loses messages (and counts them) rather than hold anybody up.
 */
export class Hep {
  readonly #options: HepOptions;
  readonly #memory = createHepCounts();
  readonly #counts = new HepCounts(this.#memory);
  readonly #plans: Extract<HepCommand, { type: 'plan' }>[] = [];
  #worker: Worker | undefined;
  #posted = 0;
  #complainedAt = Number.NEGATIVE_INFINITY;
  #restart: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: HepOptions) {
    this.#options = options;
    this.#start();
  }

  /** The data threads are about to run `plan`, and name it by `serial`. */
  use(plan: Plan, serial: number): void {
    const listeners = plan.listeners.map(({ address, port }) => ({ address, port }));
    const command = { type: 'plan', listeners, serial } as const;
    this.#plans.push(command);
    if (this.#plans.length > 8) this.#plans.shift();
    this.#worker?.postMessage(command);
  }

  /** A message of the agent's own probes. */
  probe(message: Omit<ProbeMessage, 'time'>): void {
    if (!this.#worker || this.#posted - this.#counts.get('probes') >= MOST_PROBES) return this.#counts.add('busy');
    this.#posted++;
    // A view would be sent with all the memory behind it.
    const copy = { ...message, time: monotonic(), bytes: new Uint8Array(message.bytes) };
    this.#worker.postMessage({ type: 'probe', message: copy } satisfies HepCommand);
  }

  view(): HepView {
    const lost = Object.fromEntries(HEP_LOSSES.map((reason) => [reason, this.#counts.get(reason)]));
    return { sent: this.#counts.get('sent'), lost: lost as HepView['lost'], open: this.#counts.get('open') === 1 };
  }

  /** Lets the thread send what it has begun, for two seconds at most. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      clearTimeout(this.#restart);
      const worker = this.#worker;
      if (!worker) return;
      const timer = setTimeout(() => void worker.terminate(), CLOSE_MS);
      const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
      worker.postMessage({ type: 'close' } satisfies HepCommand);
      await ended;
      clearTimeout(timer);
    })();
    return this.#closing;
  }

  #start(): void {
    const { script, log, address, identity, redaction, tapes } = this.#options;
    const workerData: HepStart = { address, identity, redaction, tapes, counts: this.#memory };
    const worker = new Worker(script, { workerData, name: 'sipfleet-hep' });
    this.#posted = this.#counts.get('probes');
    this.#worker = worker;
    for (const plan of this.#plans) worker.postMessage(plan);
    worker.on('message', (event: HepEvent) => this.#changed(event));
    worker.on('error', (error) => log.warn({ reason: error.message }, 'the HEP thread ended'));
    worker.once('exit', () => {
      this.#worker = undefined;
      this.#counts.set('open', 0);
      if (!this.#closing) this.#restart = setTimeout(() => this.#start(), RESTART_MS);
    });
  }

  #changed({ open, reason }: HepEvent): void {
    const { log, address } = this.#options;
    const server = `${address.transport}://${address.host}:${address.port}`;
    if (open && this.#complainedAt === Number.NEGATIVE_INFINITY) return log.info({ server }, 'HEP server reached');
    if (open || performance.now() - this.#complainedAt < SILENCE_MS) return;
    this.#complainedAt = performance.now();
    log.warn({ server, reason }, 'the HEP server does not take messages: they are lost when the tape is full');
  }
}
