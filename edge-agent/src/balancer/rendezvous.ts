import type { BackendPlan } from '../plan.ts';
import { finish, MIX_SEED, mix } from '../sip/hash.ts';

/** Hash buckets per farm. At 65,536 a backend's share misses its weight by under 0.2 points, below what 10,000 users scatter by themselves. */
export const BUCKETS = 65_536;
/** Candidates kept per bucket. Behind the last one the rest of the farm is tried in order. */
export const RANKS = 8;
/** Ends a bucket's list where a farm has fewer backends than ranks. */
export const NO_CANDIDATE = 255;

/** What a backend's rank depends on. `id`: 24 bits, stable over revisions, so that every agent computes the same order. */
export type Ranked = Pick<BackendPlan, 'id' | 'weight' | 'priority' | 'drain'>;

/**
 * The ranked candidate order of every bucket by weighted rendezvous hashing (score −w ÷ ln h; Schindelhauer, Schomaker 2005).
 * Independent of health: health only masks. Taking a backend out moves no key between the others, and its keys spread over all of them.
 * Layout: byte [bucket × RANKS + rank] = index of the backend. A backend that drains is not ranked.
 *
 * With several tiers the best of each comes first, tier by tier, and then the rest: what a dead backend leaves goes to the next tier,
 * which so takes over just the capacity that is missing, the dead share of the tier's weight; the survivors of its own tier keep what they have.
 */
export function rankCandidates(backends: readonly Ranked[]): SharedArrayBuffer {
  const open = backends.flatMap((b, i) => (b.drain ? [] : [i]));
  const levels = [...new Set(open.map((i) => backends[i]!.priority))].sort((a, b) => a - b);
  const ranked = levels.map((level) => {
    const members = open.filter((i) => backends[i]!.priority === level);
    return { members, table: rankTier(members.map((i) => backends[i]!)) };
  });
  const merged = new SharedArrayBuffer(BUCKETS * RANKS);
  const out = new Uint8Array(merged).fill(NO_CANDIDATE);
  if (ranked.length === 1) {
    const { members, table } = ranked[0]!;
    for (let at = 0; at < out.length; at++) out[at] = members[table[at]!] ?? NO_CANDIDATE;
    return merged;
  }
  for (let at = 0; at < out.length; at += RANKS) {
    const lists = ranked.map(({ members, table }) => candidatesAt(table, at).map((m) => members[m]!));
    const order = [...lists.map((list) => list[0]!), ...lists.flatMap((list) => list.slice(1))];
    out.set(order.slice(0, RANKS), at);
  }
  return merged;
}

const candidatesAt = (table: Uint8Array, at: number): number[] =>
  [...table.subarray(at, at + RANKS)].filter((b) => b !== NO_CANDIDATE);

function rankTier(backends: readonly Ranked[]): Uint8Array {
  const n = backends.length;
  const ids = backends.map((b) => b.id);
  const weights = backends.map((b) => b.weight);
  const ranks = Math.min(n, RANKS);
  const out = new Uint8Array(BUCKETS * RANKS).fill(NO_CANDIDATE);
  const best = new Float64Array(ranks);
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const at = bucket * RANKS;
    best.fill(Number.POSITIVE_INFINITY);
    for (let b = 0; b < n; b++) {
      // The lower, the better: an exponential variable of rate w, whose minimum falls on b with probability w ÷ Σw.
      const cost = -Math.log(unit(ids[b]!, bucket)) / weights[b]!;
      if (cost >= best[ranks - 1]!) continue;
      let r = ranks - 1;
      for (; r > 0 && best[r - 1]! > cost; r--) {
        best[r] = best[r - 1]!;
        out[at + r] = out[at + r - 1]!;
      }
      best[r] = cost;
      out[at + r] = b;
    }
  }
  return out;
}

/** A number in (0, 1) from backend and bucket. */
function unit(id: number, bucket: number): number {
  const h = finish(Math.imul(id, 0x9e3779b1) ^ finish(bucket + 1));
  return (h + 0.5) / 4294967296;
}

/** The 24-bit id of a backend: a hash of its name alone. */
export function backendId(name: string): number {
  let h = MIX_SEED;
  for (let i = 0; i < name.length; i++) h = mix(h, name.charCodeAt(i));
  return finish(h) >>> 8;
}

/** The order that this configuration gives is the one that that one gives. */
export function sameOrder(one: readonly Ranked[], other: readonly Ranked[]): boolean {
  const facts = (backends: readonly Ranked[]) =>
    backends
      .filter((b) => !b.drain)
      .map((b) => `${b.id} ${b.weight} ${b.priority}`)
      .sort()
      .join();
  return facts(one) === facts(other);
}

/** Bucket of a key's hash. */
export const bucketOf = (hash: number): number => hash & (BUCKETS - 1);
