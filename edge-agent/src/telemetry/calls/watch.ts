import type { Plan } from '../../plan.ts';
import { type CallEvent, EventRings, FLAG, monotonic } from '../events.ts';
import { FlightRecorder, type RecorderOptions } from '../recorder/flight-recorder.ts';
import { type JudgeOptions, judge } from '../recorder/judge.ts';
import { Calls, type Observe } from './calls.ts';
import type { Emptied } from './farms.ts';

/** How often rings and tapes are read while calls come and go, and at the least: to wake up for nothing costs an idle agent more than all else. */
const BUSY_MS = 20;
const IDLE_MS = 160;

export interface WatchOptions {
  /** Of the data threads. */
  rings: readonly SharedArrayBuffer[];
  /** Told when a backend's last dialog has ended. */
  emptied?: Emptied;
  /** Left out: nothing is recorded. */
  recorder?: { tapes: readonly SharedArrayBuffer[] } & JudgeOptions & Omit<RecorderOptions, 'epoch'>;
}

/** Takes what the data threads tell to the table of calls and to the flight recorder, again and again. Runs on the control thread. */
export class CallWatch {
  readonly calls: Calls;
  readonly recorder: FlightRecorder | undefined;
  readonly #rings: EventRings;
  readonly #handle = (event: CallEvent): void => this.calls.handle(event);
  #timer: NodeJS.Timeout | undefined;
  #waitMs = BUSY_MS;

  constructor({ rings, emptied, recorder }: WatchOptions) {
    const now = monotonic();
    const wall = Date.now();
    this.#rings = new EventRings(rings);
    this.recorder = recorder && new FlightRecorder(recorder.tapes, { ...recorder, epoch: wall - now });
    const observe: Observe = (transaction) => {
      if (recorder === undefined || (transaction.flags & FLAG.unrecorded) !== 0) return undefined;
      return this.recorder?.keep(transaction, judge(transaction, recorder));
    };
    this.calls = new Calls(now, wall, observe, emptied);
    this.#wait();
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

  /** Takes up what has happened until now. Returns how many events that were. */
  drain(): number {
    // First what came, then what did not come: else a thread that was busy would see timeouts where there were none.
    const taken = this.#rings.drain(this.#handle);
    this.calls.advance(monotonic(), Date.now());
    this.recorder?.collect(monotonic());
    return taken;
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #wait(): void {
    // What is left when everything else has ended is not worth waiting for.
    this.#timer = setTimeout(() => {
      this.#waitMs = this.drain() > 0 ? BUSY_MS : Math.min(this.#waitMs * 2, IDLE_MS);
      this.#wait();
    }, this.#waitMs).unref();
  }
}
