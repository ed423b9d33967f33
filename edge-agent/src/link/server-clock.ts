import type { Clock } from '../ports.ts';

/** What the control plane allows without being told (its tolerance is a minute), less what a slow answer may hide. */
const TOLERATED_MS = 20_000;
/** Further off than this it is not a clock that drifted: what is signed for then would be worth keeping for a thief. */
const BELIEVED_MS = 86_400_000;

/**
 * The time as the control plane has it, from the Date header of its answers (RFC 9110 §6.6.1): an agent whose clock is wrong still
 * signs tokens that are valid there. For nothing else: slots of checks and time stamps stay with the clock of the machine.
 */
export class ServerClock {
  readonly #clock: Clock;
  #offset = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds that the control plane is ahead of this machine; 0 while both agree. */
  get offsetMs(): number {
    return this.#offset;
  }

  /** Milliseconds since the epoch. */
  now(): number {
    return this.#clock.now() + this.#offset;
  }

  /** Takes note of the Date of an answer that just came. True: the two clocks differ otherwise than was known. */
  observe(date: string | null): boolean {
    const said = Date.parse(date ?? '');
    if (Number.isNaN(said)) return false;
    // The header has whole seconds.
    const offset = said + 500 - this.#clock.now();
    const needed = Math.abs(offset) > TOLERATED_MS && Math.abs(offset) < BELIEVED_MS ? offset : 0;
    if (Math.abs(needed - this.#offset) <= TOLERATED_MS) return false;
    this.#offset = needed;
    return true;
  }
}
