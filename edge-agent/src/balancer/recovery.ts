import { type FarmPlan, STATE, type StateCode } from '../plan.ts';

/**
 * When backends came back. While one was down, its users registered at the next ranks, and sit there until they register anew: shared
 * memory, written by the control thread with the state, tells the data threads for how long.
 *
 * Words of 32 bits: the last second of all that any data thread needs to look; then per backend the second at which it went down (0: it did
 * not), the second until which its users may be elsewhere, and 1 where that holds for most of them.
 */
const WORDS = 3;
const DOWN_AT = 0;
const UNTIL = 1;
const MOSTLY = 2;

export const createRecoveries = (backends: number): SharedArrayBuffer =>
  new SharedArrayBuffer((1 + backends * WORDS) * Uint32Array.BYTES_PER_ELEMENT);

/** The control thread's only way of saying what a backend is. `now`: seconds since the epoch. */
export function setState(farm: FarmPlan, backend: number, state: StateCode, now: number): void {
  const states = new Uint8Array(farm.states);
  const before = Atomics.exchange(states, backend, state);
  if ((before === STATE.down) === (state === STATE.down)) return;
  const words = new Uint32Array(farm.recovered);
  const at = 1 + backend * WORDS;
  if (state === STATE.down) {
    words[at + DOWN_AT] = now;
    return;
  }
  const downFor = now - words[at + DOWN_AT]!;
  const until = now + farm.lag.seconds;
  // Phones register anew at any time of a period: down for less than half of one, most of its users never noticed.
  words[at + MOSTLY] = downFor * 2 >= farm.lag.seconds ? 1 : 0;
  words[at + UNTIL] = until;
  words[0] = Math.max(words[0]!, until);
}

/** Brings what is known of backends into the plan that replaces theirs. */
export function keepRecoveries(from: FarmPlan, to: FarmPlan): void {
  const old = new Uint32Array(from.recovered);
  const words = new Uint32Array(to.recovered);
  words[0] = old[0]!;
  for (const [i, b] of from.backends.entries()) {
    const now = to.backends.findIndex(({ id }) => id === b.id);
    if (now >= 0) words.set(old.subarray(1 + i * WORDS, 1 + (i + 1) * WORDS), 1 + now * WORDS);
  }
}

/** A data thread's view. */
export class Recoveries {
  readonly #words: Uint32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Uint32Array(memory);
  }

  /** Some backend came back lately. */
  any(now: number): boolean {
    return this.#words[0]! > now;
  }

  /** Its users may be registered elsewhere. */
  recent(backend: number, now: number): boolean {
    return this.#words[1 + backend * WORDS + UNTIL]! > now;
  }

  /** Most of them are. */
  absent(backend: number, now: number): boolean {
    const at = 1 + backend * WORDS;
    return this.#words[at + UNTIL]! > now && this.#words[at + MOSTLY] === 1;
  }
}
