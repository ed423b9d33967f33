import type { AgentReport, Target, VerdictChange } from '@sipfleet/contract';
import type { Logger } from 'pino';
import type { Clock } from '../ports.ts';
import { backoffMs } from './backoff.ts';
import { Refusal } from './http.ts';
import { ReportSpool } from './spool.ts';

export interface ReporterPorts {
  compose(): Omit<AgentReport, 'changes' | 'changesLost'>;
  send(report: AgentReport): Promise<Target>;
  /** What the control plane answered. */
  heard(target: Target): void;
  clock: Pick<Clock, 'monotonic'>;
  log: Pick<Logger, 'warn'>;
}

/** Report and poll in one exchange: anti-entropy for hints that were lost. */
const REPORT_MS = 60_000;
/** Reports that follow each other closely become one. */
const COALESCE_MS = 1_000;

/** Sends reports: one a minute (± 20 %) when nothing happens, at most one a second when something does, again where one was lost. */
export class Reporter {
  readonly #ports: ReporterPorts;
  readonly #spool = new ReportSpool();
  #timer: NodeJS.Timeout | undefined;
  #due = Number.POSITIVE_INFINITY;
  #last = Number.NEGATIVE_INFINITY;
  #attempt = 0;
  #closed = false;
  /** A report that overtakes another would bring back what was. */
  #sending: Promise<void> = Promise.resolve();

  constructor(ports: ReporterPorts) {
    this.#ports = ports;
  }

  /** Has a report sent after `ms`, but not within a second of the one before. An earlier appointment stands. */
  within(ms: number): void {
    const now = this.#ports.clock.monotonic();
    const due = Math.max(now + ms, this.#last + COALESCE_MS);
    if (due >= this.#due || this.#closed) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => void this.send(), due - now);
  }

  /** A backend's state changed: the control plane hears of it within a second or so, or when it is back. */
  changed(change: VerdictChange): void {
    this.#spool.add(change);
    this.within(0);
  }

  /** For reports of something that just happened: soon, with others of the next moment. */
  soon(): void {
    this.within(COALESCE_MS);
  }

  /** Sends one now. Resolves when it was answered, or lost. */
  send(): Promise<void> {
    clearTimeout(this.#timer);
    this.#due = Number.POSITIVE_INFINITY;
    this.#last = this.#ports.clock.monotonic();
    this.within(REPORT_MS * (0.8 + 0.4 * Math.random()));
    this.#sending = this.#sending.then(() => this.#exchange());
    return this.#sending;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #exchange(): Promise<void> {
    if (this.#closed) return;
    const { compose, send, heard, log } = this.#ports;
    const sent = this.#spool.pending;
    try {
      const target = await send({
        ...compose(),
        ...(sent.changes.length > 0 && { changes: sent.changes }),
        ...(sent.lost > 0 && { changesLost: sent.lost }),
      });
      this.#spool.delivered(sent);
      this.#attempt = 0;
      if (!this.#closed) heard(target);
    } catch (error) {
      if (this.#closed) return;
      log.warn({ reason: (error as Error).message }, 'report not delivered');
      // Who was refused is refused again: the next of every minute is enough.
      if (!((error as Error).cause instanceof Refusal)) this.within(backoffMs(this.#attempt++));
    }
  }
}
