import type { Plan } from '../../plan.ts';
import { EventRings, monotonic } from '../events.ts';
import { FlightRecorder, type RecorderOptions } from '../recorder/flight-recorder.ts';
import { type JudgeOptions, judge } from '../recorder/judge.ts';
import { Calls } from './calls.ts';
import type { Delays } from './delays.ts';

/** How often rings and tapes are read. */
const DRAIN_MS = 20;

export interface WatchOptions {
  /** Of the data threads. */
  rings: readonly SharedArrayBuffer[];
  delays: Delays;
  /** Left out: nothing is recorded. */
  recorder?: { tapes: readonly SharedArrayBuffer[] } & JudgeOptions & Omit<RecorderOptions, 'epoch'>;
}

/** Takes what the data threads tell to the table of calls and to the flight recorder, again and again. Runs on the control thread. */
export class CallWatch {
  readonly calls: Calls;
  readonly recorder: FlightRecorder | undefined;
  readonly #rings: EventRings;
  readonly #timer: NodeJS.Timeout;

  constructor({ rings, delays, recorder }: WatchOptions) {
    const now = monotonic();
    const wall = Date.now();
    this.#rings = new EventRings(rings);
    this.recorder = recorder && new FlightRecorder(recorder.tapes, { ...recorder, epoch: wall - now });
    this.calls = new Calls(delays, now, wall, (transaction, status, time) => {
      if (!recorder || !this.recorder) return undefined;
      const reasons = judge(transaction, status, time, recorder);
      return this.recorder.keep(transaction, status, time, reasons);
    });
    this.#timer = setInterval(() => this.drain(), DRAIN_MS);
    // What is left when everything else has ended is not worth waiting for.
    this.#timer.unref();
  }

  /** Events that found no room in a ring. */
  get lost(): number {
    return this.#rings.lost;
  }

  /** The data threads are about to run `plan`. */
  use(plan: Plan, serial: number): void {
    this.calls.use(plan, serial);
    this.recorder?.use(plan, serial);
  }

  /** Takes up what has happened until now. */
  drain(): void {
    // First what came, then what did not come: else a thread that was busy would see timeouts where there were none.
    this.#rings.drain((event) => this.calls.handle(event));
    this.calls.advance(monotonic(), Date.now());
    this.recorder?.collect(monotonic());
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
