import type { FarmPlan } from '../plan.ts';
import { STATE } from '../plan.ts';
import { finish } from '../sip/hash.ts';
import { METHOD } from '../sip/method.ts';
import { LeastSessions } from './least-sessions.ts';
import { RecentCalls } from './recent-calls.ts';
import { bucketOf, NO_CANDIDATE, RANKS } from './rendezvous.ts';
import { Turns } from './round-robin.ts';

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
  /** Which backend a call was given lately; undefined where a hash decides. */
  readonly calls: RecentCalls | undefined;
  readonly #states: Uint8Array;
  readonly #drain: readonly boolean[];
  readonly #candidates: Uint8Array;
  readonly #turns: Turns | undefined;
  readonly #least: LeastSessions | undefined;

  constructor(farm: FarmPlan) {
    this.size = farm.backends.length;
    this.#states = new Uint8Array(farm.states);
    this.#drain = farm.backends.map((b) => b.drain);
    this.#candidates = new Uint8Array(farm.candidates);
    this.#turns = farm.turns && new Turns(farm.backends, farm.turns.taken);
    this.#least = farm.strategy === 'least-sessions' ? new LeastSessions(farm) : undefined;
    this.calls = farm.turns && new RecentCalls(farm.turns.calls, farm.backends);
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
   * long as it serves, so that its retransmissions, its ACK, its CANCEL and the authenticated retry of a challenged request meet the same backend;
   * a phone that registers anew leaves one that drains. `low`, `high`: hash of the Call-ID; `now` in seconds.
   */
  inTurn(
    low: number,
    high: number,
    except: number,
    now: number,
    excluded: Excluded = NOBODY,
    method: number = METHOD.OPTIONS,
  ): number {
    const calls = this.calls!;
    const usable = (b: number) => b !== except && this.serves(b) && !excluded.tried(b);
    const before = calls.find(low, high, now);
    if (before >= 0 && usable(before) && !(method === METHOD.REGISTER && this.#drain[before])) {
      calls.keep(low, high, before, now);
      return before;
    }
    const turn = this.#turns!.next(usable);
    const fresh = (b: number) => usable(b) && !this.#drain[b];
    const pick = turn >= 0 && method === METHOD.INVITE && this.#least ? this.#least.pick(turn, fresh, now) : turn;
    if (pick !== NONE) calls.keep(low, high, pick, now);
    return pick;
  }
}
