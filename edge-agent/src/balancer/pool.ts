import type { FarmPlan } from '../plan.ts';
import { STATE } from '../plan.ts';
import { bucketOf, NO_CANDIDATE, RANKS } from './rendezvous.ts';
import { RecentCalls, spreadTurn } from './round-robin.ts';

/** No backend can serve. */
export const NONE = -1;

/** Backends that are out of the question for one request, beside those that are down. */
export interface Excluded {
  tried(backend: number): boolean;
}
const NOBODY: Excluded = { tried: () => false };

/** One tier's turn of round robin. */
interface Turn {
  order: Uint8Array;
  next: number;
}

/** The backends of one farm as a data thread chooses among them. One per worker and farm. */
export class Pool {
  readonly size: number;
  readonly #states: Uint8Array;
  readonly #candidates: Uint8Array;
  /** Tiers in order, the first one first. */
  readonly #turns: Turn[];
  readonly #calls: RecentCalls | undefined;

  /** `offset` starts the round robin of each worker elsewhere. */
  constructor(farm: FarmPlan, offset = 0) {
    this.size = farm.backends.length;
    this.#states = new Uint8Array(farm.states);
    this.#candidates = new Uint8Array(farm.candidates);
    const tiers = [...new Set(farm.backends.map((b) => b.priority))].sort((a, b) => a - b);
    this.#turns = tiers.map((tier) => {
      const members = farm.backends.flatMap((b, i) => (b.priority === tier ? [i] : []));
      const turn = spreadTurn(members.map((i) => farm.backends[i]!.weight));
      return { order: turn.map((m) => members[m]!), next: offset % turn.length };
    });
    this.#calls = farm.strategy === 'weighted-round-robin' ? new RecentCalls() : undefined;
  }

  /** Serves new requests: `unknown` does until it is proven down. */
  serves(backend: number): boolean {
    return this.#states[backend] !== STATE.down;
  }

  /** First candidate of the key's bucket that serves and is not `except`; {@link NONE} where there is none. */
  byHash(hash: number, except: number, excluded: Excluded = NOBODY): number {
    const at = bucketOf(hash) * RANKS;
    for (let r = 0; r < RANKS; r++) {
      const b = this.#candidates[at + r]!;
      if (b === NO_CANDIDATE) return NONE;
      if (b !== except && this.serves(b) && !excluded.tried(b)) return b;
    }
    // All ranked ones are out: the rest, from a place of the key's own so that the load spreads.
    for (let i = 0; i < this.size; i++) {
      const b = (hash + i) % this.size;
      if (b !== except && this.serves(b) && !excluded.tried(b)) return b;
    }
    return NONE;
  }

  /**
   * Next backend in turn. The call's earlier choice is kept as long as it serves, so that its retransmissions, its ACK, its CANCEL and the
   * authenticated retry of a challenged request meet the same backend. `low`, `high`: hash of the Call-ID; `now` in seconds.
   */
  inTurn(low: number, high: number, except: number, now: number, excluded: Excluded = NOBODY): number {
    const before = this.#calls!.find(low, high, now);
    const usable = (b: number) => b !== except && this.serves(b) && !excluded.tried(b);
    const pick = before >= 0 && before < this.size && usable(before) ? before : this.#next(usable);
    if (pick !== NONE) this.#calls!.keep(low, high, pick, now);
    return pick;
  }

  /** A turn that falls to a backend that does not serve goes to the next tier, if any; only the last one passes it on among its own. */
  #next(usable: (backend: number) => boolean): number {
    for (const turn of this.#turns) {
      const b = advance(turn);
      if (usable(b)) return b;
    }
    for (let t = this.#turns.length - 1; t >= 0; t--) {
      const turn = this.#turns[t]!;
      for (let i = 0; i < turn.order.length; i++) {
        const b = advance(turn);
        if (usable(b)) return b;
      }
    }
    return NONE;
  }
}

function advance(turn: Turn): number {
  const b = turn.order[turn.next]!;
  turn.next = (turn.next + 1) % turn.order.length;
  return b;
}
