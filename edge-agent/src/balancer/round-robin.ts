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

interface Turn {
  order: Uint8Array;
  next: number;
}

/** Round robin over the tiers of a farm. Who drains has no turn. */
export class Turns {
  /** Tiers in order, the first one first. */
  readonly #tiers: Turn[];

  /** `offset`: where the first turn starts. */
  constructor(backends: readonly Pick<BackendPlan, 'weight' | 'priority' | 'drain'>[], offset: number) {
    const open = backends.flatMap((b, i) => (b.drain ? [] : [i]));
    const tiers = [...new Set(open.map((i) => backends[i]!.priority))].sort((a, b) => a - b);
    this.#tiers = tiers.map((tier) => {
      const members = open.filter((i) => backends[i]!.priority === tier);
      const turn = spreadTurn(members.map((i) => backends[i]!.weight));
      return { order: turn.map((m) => members[m]!), next: offset % turn.length };
    });
  }

  /**
   * A turn that falls to a backend that is not usable goes to the next tier, if any, which so takes over the share that is missing; only the
   * last one passes it on among its own. −1 where nobody is usable.
   */
  next(usable: (backend: number) => boolean): number {
    for (const turn of this.#tiers) {
      const b = advance(turn);
      if (usable(b)) return b;
    }
    for (let t = this.#tiers.length - 1; t >= 0; t--) {
      const turn = this.#tiers[t]!;
      for (let i = 0; i < turn.order.length; i++) {
        const b = advance(turn);
        if (usable(b)) return b;
      }
    }
    return -1;
  }
}

function advance(turn: Turn): number {
  const b = turn.order[turn.next]!;
  turn.next = (turn.next + 1) % turn.order.length;
  return b;
}

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
