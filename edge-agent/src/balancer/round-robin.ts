/** A longer turn only repeats the shorter one more finely. */
const MAX_TURN = 4096;

/**
 * One turn of smooth weighted round robin (the spreading of nginx's upstream module): indices in the order in which they are served,
 * equal weights alternating, heavier ones evenly spaced.
 */
export function spreadTurn(weights: readonly number[]): Uint8Array {
  const divisor = weights.reduce(gcd);
  let shares = weights.map((w) => w / divisor);
  const sum = shares.reduce((a, b) => a + b, 0);
  if (sum > MAX_TURN) shares = shares.map((w) => Math.max(1, Math.round((w * MAX_TURN) / sum)));
  const total = shares.reduce((a, b) => a + b, 0);
  const current = shares.map(() => 0);
  return Uint8Array.from({ length: total }, () => {
    let pick = 0;
    for (let i = 0; i < shares.length; i++) {
      current[i] = current[i]! + shares[i]!;
      if (current[i]! > current[pick]!) pick = i;
    }
    current[pick] = current[pick]! - total;
    return pick;
  });
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** RFC 3261 Timer B/F, 64 × T1: as long as a transaction can last, its retransmissions, ACK and CANCEL must find the same backend. */
const REMEMBER_SECONDS = 32;
const SLOTS = 1 << 16;

/**
 * Which backend a call was given, by a 64-bit hash of its Call-ID. Direct-mapped and bounded: a newer call may push out an older one,
 * which then is only placed again.
 */
export class RecentCalls {
  readonly #low = new Int32Array(SLOTS);
  readonly #high = new Int32Array(SLOTS);
  readonly #until = new Float64Array(SLOTS);
  readonly #backend = new Uint8Array(SLOTS);

  /** Index of the backend, -1 where unknown or expired. `now` in seconds. */
  find(low: number, high: number, now: number): number {
    const i = low & (SLOTS - 1);
    return this.#low[i] === low && this.#high[i] === high && this.#until[i]! > now ? this.#backend[i]! : -1;
  }

  keep(low: number, high: number, backend: number, now: number): void {
    const i = low & (SLOTS - 1);
    this.#low[i] = low;
    this.#high[i] = high;
    this.#until[i] = now + REMEMBER_SECONDS;
    this.#backend[i] = backend;
  }
}
