import type { BackendPlan } from '../plan.ts';

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

/** One word per tier that a farm can have. */
const MAX_TIERS = 256;

/** Shared memory of one farm's {@link Turns}: whose turn it is, over all data threads and over every plan. */
export const createTurns = (): SharedArrayBuffer => new SharedArrayBuffer(MAX_TIERS * Int32Array.BYTES_PER_ELEMENT);

/** Round robin over the tiers of a farm. Who drains has no turn. */
export class Turns {
  /** Tiers in order, the first one first: the backends of one turn. */
  readonly #tiers: readonly (readonly number[])[];
  /** Turns taken so far, by tier. */
  readonly #taken: Int32Array;

  constructor(backends: readonly Pick<BackendPlan, 'weight' | 'priority' | 'drain'>[], memory: SharedArrayBuffer) {
    this.#taken = new Int32Array(memory);
    const open = backends.flatMap((b, i) => (b.drain ? [] : [i]));
    const tiers = [...new Set(open.map((i) => backends[i]!.priority))].sort((a, b) => a - b);
    this.#tiers = tiers.map((tier) => {
      const members = open.filter((i) => backends[i]!.priority === tier);
      return [...spreadTurn(members.map((i) => backends[i]!.weight))].map((m) => members[m]!);
    });
  }

  /**
   * A turn that falls to a backend that is not usable goes to the next tier, if any, which so takes over the share that is missing; only the
   * last one passes it on among its own. −1 where nobody is usable.
   */
  next(usable: (backend: number) => boolean): number {
    for (let t = 0; t < this.#tiers.length; t++) {
      const b = this.#take(t);
      if (usable(b)) return b;
    }
    for (let t = this.#tiers.length - 1; t >= 0; t--) {
      const order = this.#tiers[t]!;
      for (let i = 0; i < order.length; i++) {
        const b = this.#take(t);
        if (usable(b)) return b;
      }
      // Other threads took turns meanwhile, so these may all have been the same one's.
      for (let i = 0; i < order.length; i++) if (usable(order[i]!)) return order[i]!;
    }
    return -1;
  }

  #take(tier: number): number {
    const order = this.#tiers[tier]!;
    return order[(Atomics.add(this.#taken, tier, 1) >>> 0) % order.length]!;
  }
}
