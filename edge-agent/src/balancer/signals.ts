/**
 * What data threads and the control thread tell one another about a farm's backends: one Int32 line per backend in shared memory, behind an
 * epoch that changes with every order. Data threads add what they see, the control thread takes it away; orders only ever count up.
 *
 *   epoch | per backend: answered, timeout, refused, unavailable, ordered refusals, ordered cuts
 */
const WIDTH = 6;
const FIRST = 1;
const SEEN = { answered: 0, timeout: 1, refused: 2, unavailable: 3 } as const;
const ORDER = { refused: 4, cut: 5 } as const;

/** Seen by data threads: an answer; a request given up for silence; a connection refused or lost in the opening; a 503. */
export type Seen = keyof typeof SEEN;
/** Given by the control thread: its requests are refused by ICMP; it is down and its connections are to be closed. */
export type Order = keyof typeof ORDER;

export const createSignals = (backends: number): SharedArrayBuffer =>
  new SharedArrayBuffer((FIRST + backends * WIDTH) * Int32Array.BYTES_PER_ELEMENT);

export class Signals {
  readonly #ints: Int32Array;
  readonly size: number;

  constructor(memory: SharedArrayBuffer) {
    this.#ints = new Int32Array(memory);
    this.size = (this.#ints.length - FIRST) / WIDTH;
  }

  /** A plain store: on the path of every response, and nobody counts answers here. */
  answered(backend: number): void {
    this.#ints[FIRST + backend * WIDTH + SEEN.answered] = 1;
  }

  saw(backend: number, what: Exclude<Seen, 'answered'>): void {
    Atomics.add(this.#ints, FIRST + backend * WIDTH + SEEN[what], 1);
  }

  /** How often it was seen since the last time it was asked; `answered` counts as once. */
  take(backend: number, what: Seen): number {
    const at = FIRST + backend * WIDTH + SEEN[what];
    return Atomics.load(this.#ints, at) === 0 ? 0 : Atomics.exchange(this.#ints, at, 0);
  }

  order(backend: number, what: Order): void {
    Atomics.add(this.#ints, FIRST + backend * WIDTH + ORDER[what], 1);
    Atomics.add(this.#ints, 0, 1);
  }

  /** Differs from before if there are new orders. */
  get epoch(): number {
    return Atomics.load(this.#ints, 0);
  }

  /** Orders of one kind so far. */
  orders(backend: number, what: Order): number {
    return Atomics.load(this.#ints, FIRST + backend * WIDTH + ORDER[what]);
  }
}
