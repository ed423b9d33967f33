import type { FarmPlan } from '../plan.ts';
import { STATE } from '../plan.ts';
import { bucketOf, NO_CANDIDATE, RANKS } from './rendezvous.ts';
import { RecentCalls, spreadTurn } from './round-robin.ts';

/** No backend can serve. */
export const NONE = -1;

/** The backends of one farm as a data thread chooses among them. One per worker and farm. */
export class Pool {
  readonly size: number;
  readonly #states: Uint8Array;
  readonly #candidates: Uint8Array;
  readonly #turn: Uint8Array;
  #next: number;
  readonly #calls: RecentCalls | undefined;

  /** `offset` starts the round robin of each worker elsewhere. */
  constructor(farm: FarmPlan, offset = 0) {
    this.size = farm.backends.length;
    this.#states = new Uint8Array(farm.states);
    this.#candidates = new Uint8Array(farm.candidates);
    this.#turn = spreadTurn(farm.backends.map((b) => b.weight));
    this.#next = offset % this.#turn.length;
    this.#calls = farm.strategy === 'weighted-round-robin' ? new RecentCalls() : undefined;
  }

  /** Serves new requests: `unknown` does until it is proven down. */
  serves(backend: number): boolean {
    return this.#states[backend] !== STATE.down;
  }

  /** First candidate of the key's bucket that serves and is not `except`; {@link NONE} where there is none. */
  byHash(hash: number, except: number): number {
    const at = bucketOf(hash) * RANKS;
    for (let r = 0; r < RANKS; r++) {
      const b = this.#candidates[at + r]!;
      if (b === NO_CANDIDATE) return NONE;
      if (b !== except && this.serves(b)) return b;
    }
    // All ranked ones are out: the rest, from a place of the key's own so that the load spreads.
    for (let i = 0; i < this.size; i++) {
      const b = (hash + i) % this.size;
      if (b !== except && this.serves(b)) return b;
    }
    return NONE;
  }

  /**
   * Next backend in turn. The call's earlier choice is kept as long as it serves, so that its retransmissions, its ACK, its CANCEL and the
   * authenticated retry of a challenged request meet the same backend. `low`, `high`: hash of the Call-ID; `now` in seconds.
   */
  inTurn(low: number, high: number, except: number, now: number): number {
    const before = this.#calls!.find(low, high, now);
    let pick = before >= 0 && before < this.size && before !== except && this.serves(before) ? before : NONE;
    for (let i = 0; pick === NONE && i < this.#turn.length; i++) {
      const b = this.#turn[this.#next]!;
      this.#next = (this.#next + 1) % this.#turn.length;
      if (b !== except && this.serves(b)) pick = b;
    }
    if (pick !== NONE) this.#calls!.keep(low, high, pick, now);
    return pick;
  }
}
