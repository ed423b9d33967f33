/** Timers J, K, L and M: 64 × T1, as long as a retransmission may still come. */
const LINGER_MS = 32_000;
const SLOTS = 1 << 17;

/**
 * Transactions that have ended but may hear retransmissions (the Completed and Accepted states of RFC 3261 §17 and RFC 6026), in 19 bytes each.
 * Because branches are deterministic nothing else is needed: a retransmitted request is sent on to the same backend under the same branch, which
 * answers it again; a retransmitted INVITE and a late ACK are absorbed. Direct-mapped: under very high load the oldest are forgotten sooner.
 */
export class Finished {
  readonly #key = new Float64Array(SLOTS);
  readonly #until = new Float64Array(SLOTS);
  readonly #backend = new Int16Array(SLOTS);
  readonly #status = new Uint16Array(SLOTS);
  /** Of the last {@link find}: the backend (−1: none), and the final status. */
  backend = -1;
  status = 0;

  keep(key: number, backend: number, status: number, now: number): void {
    const i = key % SLOTS;
    this.#key[i] = key;
    this.#until[i] = now + LINGER_MS;
    this.#backend[i] = backend;
    this.#status[i] = status;
  }

  find(key: number, now: number): boolean {
    const i = key % SLOTS;
    if (this.#key[i] !== key || this.#until[i]! < now) return false;
    this.backend = this.#backend[i]!;
    this.status = this.#status[i]!;
    return true;
  }
}
