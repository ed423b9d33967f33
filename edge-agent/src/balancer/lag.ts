import type { AffinityKey, FarmPlan, FormerOrder } from '../plan.ts';
import type { Endpoint } from '../ports.ts';
import type { MessageView } from '../sip/message.ts';
import { METHOD } from '../sip/method.ts';
import type { UriView } from '../sip/uri.ts';
import { affinityHash } from './key.ts';
import { type Excluded, NONE, type Pool } from './pool.ts';
import { Recoveries } from './recovery.ts';
import { bucketOf, NO_CANDIDATE, RANKS, sameOrder } from './rendezvous.ts';

/** How long registrations last where the farm has no `maxExpires`, in seconds: what RFC 3261 §20.19 takes for an Expires that it cannot read. */
export const DEFAULT_LAG_SECONDS = 3600;
/** Timer B: as long as a CANCEL or the ACK of a failure can come, and must find the backend of its INVITE. */
const TRANSACTION_SECONDS = 32;

/**
 * What of a farm lags, and for how long. Users are found where they registered only under a key that REGISTER and the requests
 * towards a user share; elsewhere the PBXs must share their locations, and only transactions under way remember the old order.
 */
export function lagOf(
  farm: Pick<FarmPlan, 'strategy' | 'key' | 'maxExpires'>,
): Omit<FarmPlan['lag'], 'before' | 'unknown'> {
  if (farm.strategy !== 'hash') return { seconds: 0, transactionsOnly: true };
  const { kind } = farm.key;
  return kind === 'user' || kind === 'domain' || kind === 'header'
    ? { seconds: farm.maxExpires || DEFAULT_LAG_SECONDS, transactionsOnly: false }
    : { seconds: TRANSACTION_SECONDS, transactionsOnly: true };
}

/** Backends that are stepped over besides those that are down. */
const SKIP = { none: 0, absent: 1, recent: 2 } as const;
/** Where most users are; where the order says; where users of a brief outage may be. */
const PLACES = [SKIP.absent, SKIP.none, SKIP.recent] as const;

/**
 * Registrations lag behind the candidate order. REGISTER follows the order that holds now; everybody else looks for the user first where the
 * orders of before had it, for as long as a registration made then may last. One per worker and farm.
 */
export class Lag {
  /** The oldest first. */
  readonly before: readonly FormerOrder[];
  readonly #pool: Pool;
  readonly #key: AffinityKey;
  readonly #transactionsOnly: boolean;
  readonly #tables: readonly Uint8Array[];
  readonly #candidates: Uint8Array;
  readonly #recoveries: Recoveries;
  /** As if nobody drained, for as long as the past is unknown. */
  readonly #undrained: Uint8Array;
  readonly #unknownUntil: number;
  readonly #last: number;

  constructor(farm: FarmPlan, pool: Pool) {
    const { before, transactionsOnly, unknown } = farm.lag;
    this.before = before;
    this.#pool = pool;
    this.#key = farm.key;
    this.#transactionsOnly = transactionsOnly;
    this.#tables = before.map(({ candidates }) => new Uint8Array(candidates));
    this.#candidates = new Uint8Array(farm.candidates);
    this.#recoveries = new Recoveries(farm.recovered);
    this.#undrained = new Uint8Array(unknown.candidates);
    this.#unknownUntil = unknown.until;
    this.#last = Math.max(unknown.until, ...before.map(({ until }) => until));
  }

  /** A request of this method may belong where an order of before says. `now`: seconds since the epoch. */
  holds(method: number, now: number): boolean {
    if (this.#last <= now && !this.#recoveries.any(now)) return false;
    return this.#transactionsOnly ? method === METHOD.CANCEL || method === METHOD.ACK : method !== METHOD.REGISTER;
  }

  /**
   * Where the order `before[index]` puts a key, by its hash under that order's own key; never what is down, `except` or was tried.
   * {@link NONE} where it says nothing more.
   */
  formerly(index: number, hash: number, except: number, now: number, excluded: Excluded): number {
    const { indexes, until } = this.before[index]!;
    if (until <= now) return NONE;
    const table = this.#tables[index]!;
    const first = this.#first(table, indexes, hash, except, SKIP.absent, now);
    if (first !== NONE && !excluded.tried(first)) return first;
    const next = this.#first(table, indexes, hash, except, SKIP.none, now);
    return next !== NONE && !excluded.tried(next) ? next : NONE;
  }

  /**
   * Where the user that a request asks for may be registered, the likeliest place first: by the orders of before, the oldest first, and by the one
   * of now. `hash`: of its key. {@link NONE} where all such places are out of the question.
   */
  whereRegistered(
    message: MessageView,
    uri: UriView,
    from: Endpoint,
    hash: number,
    except: number,
    now: number,
    excluded: Excluded,
  ): number {
    for (let i = 0; i < this.before.length; i++) {
      const { key } = this.before[i]!;
      const then = key === this.#key ? hash : affinityHash(key, message, uri, from);
      const b = this.formerly(i, then, except, now, excluded);
      if (b !== NONE) return b;
    }
    return this.presently(hash, except, now, excluded);
  }

  /** Where the order that holds now puts it, or put it while those that came back lately were away. */
  presently(hash: number, except: number, now: number, excluded: Excluded): number {
    for (let i = 0; i < PLACES.length; i++) {
      const b = this.#first(this.#candidates, undefined, hash, except, PLACES[i]!, now);
      if (b !== NONE && !excluded.tried(b)) return b;
    }
    return this.#unknownUntil > now ? this.#guess(hash, except, now, excluded) : NONE;
  }

  /** This agent started lately and knows of no order before: whoever would have the user if nobody drained, then the next ranks. */
  #guess(hash: number, except: number, now: number, excluded: Excluded): number {
    const b = this.#first(this.#undrained, undefined, hash, except, SKIP.none, now);
    return b !== NONE && !excluded.tried(b) ? b : this.#pool.byHash(hash, except, excluded);
  }

  #first(
    table: Uint8Array,
    indexes: Uint8Array | undefined,
    hash: number,
    except: number,
    skip: number,
    now: number,
  ): number {
    const at = bucketOf(hash) * RANKS;
    for (let r = 0; r < RANKS; r++) {
      const ranked = table[at + r]!;
      if (ranked === NO_CANDIDATE) return NONE;
      const b = indexes === undefined ? ranked : indexes[ranked]!;
      if (b === NO_CANDIDATE || b === except || !this.#pool.serves(b)) continue;
      if (skip === SKIP.absent && this.#recoveries.absent(b, now)) continue;
      if (skip === SKIP.recent && this.#recoveries.recent(b, now)) continue;
      return b;
    }
    return NONE;
  }
}

/** The orders that may still hold under `next`, where `running` runs at second `now`. */
export function formerOrders(running: FarmPlan, next: FarmPlan, now: number): FormerOrder[] {
  const place = (id: number) => next.backends.findIndex((b) => b.id === id);
  const indexes = new Uint8Array(256).fill(NO_CANDIDATE);
  for (const [i, b] of running.backends.entries()) {
    const at = place(b.id);
    if (at >= 0) indexes[i] = at;
  }
  const key = sameKey(running.key, next.key) ? next.key : running.key;
  const kept = running.lag.before
    .filter(({ until }) => until > now)
    .map((order) => ({
      ...order,
      key: sameKey(order.key, next.key) ? next.key : order.key,
      indexes: order.indexes.map((b) => (b === NO_CANDIDATE ? b : indexes[b]!)),
    }));
  const moved = key !== next.key || !sameOrder(running.backends, next.backends);
  if (next.lag.seconds === 0 || running.strategy !== 'hash') return [];
  if (!moved) return kept;
  const last = { candidates: running.candidates, indexes, key, until: now + next.lag.seconds };
  // Of a burst of changes the first and the last order matter: before all of them, and just now.
  return [...kept.slice(0, MAX_FORMER - 1), last];
}

/** As many as a request has attempts beside the one by the order of now. */
const MAX_FORMER = 2;

const sameKey = (one: AffinityKey, other: AffinityKey): boolean =>
  one.kind === other.kind && one.header === other.header;
