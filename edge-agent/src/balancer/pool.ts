import type { FarmPlan } from '../plan.ts';
import { STATE } from '../plan.ts';
import { finish } from '../sip/hash.ts';
import { LeastSessions } from './least-sessions.ts';
import { bucketOf, NO_CANDIDATE, RANKS } from './rendezvous.ts';
import { RecentCalls, Turns } from './round-robin.ts';

/** No backend can serve. */
export const NONE = -1;

/** Backends that are out of the question for one request, beside those that are down. */
export interface Excluded {
  tried(backend: number): boolean;
}
export const NOBODY: Excluded = { tried: () => false };

/** The backends of one farm as a data thread chooses among them. One per worker and farm. */
export class Pool {
  readonly size: number;
  readonly #states: Uint8Array;
  readonly #drain: readonly boolean[];
  readonly #candidates: Uint8Array;
  readonly #turns: Turns;
  readonly #least: LeastSessions | undefined;
  readonly #calls: RecentCalls | undefined;

  /** `offset` starts the round robin of each worker elsewhere. */
  constructor(farm: FarmPlan, offset = 0) {
    this.size = farm.backends.length;
    this.#states = new Uint8Array(farm.states);
    this.#drain = farm.backends.map((b) => b.drain);
    this.#candidates = new Uint8Array(farm.candidates);
    this.#turns = new Turns(farm.backends, offset);
    this.#least = farm.strategy === 'least-sessions' ? new LeastSessions(farm) : undefined;
    this.#calls = farm.strategy === 'hash' ? undefined : new RecentCalls();
  }

  /** Is there for what is its own: `unknown` is until it is proven down. */
  serves(backend: number): boolean {
    return this.#states[backend] !== STATE.down;
  }

  /** Takes what is new: serves and does not drain. */
  admits(backend: number): boolean {
    return this.serves(backend) && !this.#drain[backend];
  }

  /** First candidate of the key's bucket that serves and is not `except`; {@link NONE} where there is none. */
  byHash(hash: number, except: number, excluded: Excluded = NOBODY): number {
    const at = bucketOf(hash) * RANKS;
    for (let r = 0; r < RANKS; r++) {
      const b = this.#candidates[at + r]!;
      if (b === NO_CANDIDATE) return NONE;
      if (b !== except && this.admits(b) && !excluded.tried(b)) return b;
    }
    return this.#anyOf(hash, except, excluded);
  }

  /** All ranked ones are out: the rest, in an order of the key's own, so that the load spreads. */
  #anyOf(hash: number, except: number, excluded: Excluded): number {
    for (let i = 0; i < 2 * this.size; i++) {
      // Jumps first, since stepping on would give a dead one's load to its neighbour; then everybody, so that none is missed.
      const b = i < this.size ? finish(hash + i) % this.size : i - this.size;
      if (b !== except && this.admits(b) && !excluded.tried(b)) return b;
    }
    return NONE;
  }

  /**
   * Next backend in turn, or, for what begins a session under `least-sessions`, the one with the fewest. The call's earlier choice is kept as
   * long as it serves, so that its retransmissions, its ACK, its CANCEL and the authenticated retry of a challenged request meet the same backend.
   * `low`, `high`: hash of the Call-ID; `now` in seconds.
   */
  inTurn(
    low: number,
    high: number,
    except: number,
    now: number,
    excluded: Excluded = NOBODY,
    beginsSession = false,
  ): number {
    const before = this.#calls!.find(low, high, now);
    const usable = (b: number) => b !== except && this.serves(b) && !excluded.tried(b);
    if (before >= 0 && before < this.size && usable(before)) {
      this.#calls!.keep(low, high, before, now);
      return before;
    }
    const turn = this.#turns.next(usable);
    const fresh = (b: number) => usable(b) && !this.#drain[b];
    const pick = turn >= 0 && beginsSession && this.#least ? this.#least.pick(turn, fresh, now) : turn;
    if (pick !== NONE) this.#calls!.keep(low, high, pick, now);
    return pick;
  }
}
