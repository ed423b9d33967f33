import type { Plan } from '../../plan.ts';
import { EventRings, monotonic } from '../events.ts';
import { Calls } from './calls.ts';
import type { Delays } from './delays.ts';

/** How often the rings are emptied. */
const DRAIN_MS = 100;

/** Takes the events of the data threads to the table of calls, again and again. Runs on the control thread. */
export class CallWatch {
  readonly calls: Calls;
  readonly #rings: EventRings;
  readonly #timer: NodeJS.Timeout;

  /** @param rings of the data threads */
  constructor(rings: readonly SharedArrayBuffer[], delays: Delays) {
    this.#rings = new EventRings(rings);
    this.calls = new Calls(delays, monotonic(), Date.now());
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
  }

  /** Takes up what has happened until now. */
  drain(): void {
    // First what came, then what did not come: else a thread that was busy would see timeouts where there were none.
    this.#rings.drain((event) => this.calls.handle(event));
    this.calls.advance(monotonic(), Date.now());
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
