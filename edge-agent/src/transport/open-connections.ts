/** Connection ids fill the 24 bits that a token has for them. */
export const LAST_ID = 0xffffff;
const INTS = (LAST_ID + 1) / 32;

/** Shared memory of the {@link OpenConnections} of `workers` data threads: one bit per possible connection, 2 MiB each, touched only where ids are in use. */
export const createOpenConnections = (workers: number): SharedArrayBuffer => new SharedArrayBuffer(workers * INTS * 4);

/** Which connections of which data thread are open: written by the thread that has them, read by all before they send it mail. */
export class OpenConnections {
  readonly #bits: Int32Array;
  readonly #workers: number;

  constructor(memory: SharedArrayBuffer) {
    this.#bits = new Int32Array(memory);
    this.#workers = this.#bits.length / INTS;
  }

  has(worker: number, connection: number): boolean {
    if (worker >= this.#workers || connection <= 0 || connection > LAST_ID) return false;
    return ((Atomics.load(this.#bits, at(worker, connection)) >>> (connection & 31)) & 1) === 1;
  }

  opened(worker: number, connection: number): void {
    Atomics.or(this.#bits, at(worker, connection), 1 << (connection & 31));
  }

  closed(worker: number, connection: number): void {
    Atomics.and(this.#bits, at(worker, connection), ~(1 << (connection & 31)));
  }

  /** A thread that starts has none: one of before it may have ended without a word. */
  clear(worker: number): void {
    const bits = this.#bits.subarray(worker * INTS, (worker + 1) * INTS);
    // Only what is set is written, so that untouched memory stays untouched.
    for (let i = 0; i < INTS; i++) if (bits[i] !== 0) bits[i] = 0;
  }
}

const at = (worker: number, connection: number): number => worker * INTS + (connection >>> 5);
