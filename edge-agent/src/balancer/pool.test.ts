import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type BackendPlan, type FarmPlan, STATE } from '../plan.ts';
import { TRANSPORT } from '../ports.ts';
import { finish } from '../sip/hash.ts';
import { METHOD } from '../sip/method.ts';
import { NOBODY, NONE, Pool } from './pool.ts';
import { createRecentCalls } from './recent-calls.ts';
import { createRecoveries } from './recovery.ts';
import { backendId, rankCandidates } from './rendezvous.ts';
import { createTurns, spreadTurn } from './round-robin.ts';
import { createSignals } from './signals.ts';

function farm(
  count: number,
  strategy: FarmPlan['strategy'] = 'hash',
  tiers: number[] = [],
  more: Record<number, Partial<BackendPlan>> = {},
): FarmPlan {
  const backends = Array.from({ length: count }, (_, i) => ({
    name: `pbx${i}`,
    id: backendId(`pbx${i}`),
    address: `10.0.0.${i + 1}`,
    port: 5060,
    transport: TRANSPORT.udp,
    tcpAbove: 0,
    weight: 1,
    priority: tiers[i] ?? 1,
    drain: false,
    sources: [],
    ...more[i],
  }));
  return {
    name: 'f',
    strategy,
    key: { kind: 'user', header: '' },
    names: [],
    stateful: true,
    failover: { timeoutMs: 1500, codes: [503], release: true },
    registration: 'path',
    maxExpires: 0,
    backends,
    firstBackend: 0,
    tokenKeys: [],
    candidates: rankCandidates(backends),
    lag: {
      seconds: 0,
      transactionsOnly: true,
      before: [],
      unknown: { until: 0, candidates: new SharedArrayBuffer(0) },
    },
    recovered: createRecoveries(count),
    sessions: new SharedArrayBuffer(4 * count),
    nonces: new SharedArrayBuffer(0),
    turns: strategy === 'hash' ? undefined : { taken: createTurns(), calls: createRecentCalls() },
    signals: createSignals(count),
    traceparent: false,
    cutConnections: false,
    states: new SharedArrayBuffer(count),
  };
}

test('with all ranked candidates down the rest of the farm still serves; with everything down nobody does', () => {
  const f = farm(20);
  const pool = new Pool(f);
  const states = new Uint8Array(f.states);
  const tried = new Set<number>();
  for (let i = 0; i < 20; i++) {
    const b = pool.byHash(12345, NONE);
    expect(tried.has(b)).toBe(false);
    tried.add(b);
    states[b] = STATE.down;
  }
  expect(pool.byHash(12345, NONE)).toBe(NONE);
});

test('the sender is never chosen', () => {
  const pool = new Pool(farm(2));
  for (let hash = 0; hash < 500; hash++) expect(pool.byHash(hash * 7919, 1)).toBe(0);
  expect(new Pool(farm(1)).byHash(1, 0)).toBe(NONE);
});

test('one turn serves each weight its share, spread out', () => {
  expect([...spreadTurn([1, 1])]).toEqual([0, 1]);
  expect([...spreadTurn([5, 1, 1])]).toEqual([0, 0, 1, 0, 2, 0, 0]);
  expect(spreadTurn([1000, 10])).toHaveLength(101);
  expect(spreadTurn([1000, 999, 998]).length).toBeLessThanOrEqual(4200);
});

test('a call is remembered for as long as a transaction can last, and only while its backend serves', () => {
  const f = farm(2, 'weighted-round-robin');
  const pool = new Pool(f);
  const first = pool.inTurn(1, 2, NONE, 100);
  for (let i = 0; i < 5; i++) pool.inTurn(1000 + i, 0, NONE, 100);
  expect(pool.inTurn(1, 2, NONE, 131)).toBe(first);
  new Uint8Array(f.states)[first] = STATE.down;
  expect(pool.inTurn(1, 2, NONE, 132)).toBe(1 - first);
  expect(pool.inTurn(1, 2, 1 - first, 132)).toBe(NONE);
});

test('all threads and every new plan go on where the turn stands, and know which call went where', () => {
  const f = farm(3, 'weighted-round-robin', [], { 0: { weight: 3 } });
  const [one, two] = [new Pool(f), new Pool(f)];
  const got = [0, 0, 0];
  for (let i = 0; i < 25; i++) got[(i % 2 ? one : two).inTurn(i * 77, 5, NONE, 100)]!++;
  const call = one.inTurn(5, 9, NONE, 100);
  got[call]!++;
  expect(two.inTurn(5, 9, NONE, 100)).toBe(call);
  // Numbered otherwise.
  const next = { ...f, backends: [f.backends[2]!, f.backends[0]!, f.backends[1]!] };
  const place = [1, 2, 0];
  const after = new Pool(next);
  expect(after.inTurn(5, 9, NONE, 100)).toBe(place[call]);
  for (let i = 26; i < 50; i++) got[place.indexOf(after.inTurn(i * 77, 5, NONE, 100))]!++;
  expect(got).toEqual([30, 10, 10]);
});

test('a phone that registers anew every few seconds leaves a backend that drains; a call that it has begun does not', () => {
  const f = farm(2, 'weighted-round-robin');
  const pool = new Pool(f);
  const before = pool.inTurn(1, 2, NONE, 100, NOBODY, METHOD.REGISTER);
  const drained = new Pool({ ...f, backends: f.backends.map((b, i) => ({ ...b, drain: i === before })) });
  expect(drained.inTurn(1, 2, NONE, 110, NOBODY, METHOD.INVITE)).toBe(before);
  expect(drained.inTurn(1, 2, NONE, 110, NOBODY, METHOD.REGISTER)).toBe(1 - before);
});

test('a lower tier takes over just what is missing: the survivors of the first tier keep what they have', () => {
  const f = farm(4, 'hash', [1, 1, 2, 2]);
  const pool = new Pool(f);
  const before = Array.from({ length: 2000 }, (_, i) => pool.byHash(i * 2654435761, NONE));
  expect(new Set(before)).toEqual(new Set([0, 1]));
  new Uint8Array(f.states)[0] = STATE.down;
  for (const [i, was] of before.entries()) {
    const now = pool.byHash(i * 2654435761, NONE);
    if (was === 1) expect(now).toBe(1);
    else expect([2, 3]).toContain(now);
  }
  new Uint8Array(f.states).set([STATE.down, STATE.down, STATE.down, STATE.down]);
  expect(pool.byHash(1, NONE)).toBe(NONE);
});

test('in turns, too: the turns of a dead backend go to the next tier', () => {
  const f = farm(3, 'weighted-round-robin', [1, 1, 2]);
  const pool = new Pool(f);
  const take = (n: number) => Array.from({ length: n }, (_, i) => pool.inTurn(i, n, NONE, i * 100));
  expect(new Set(take(10))).toEqual(new Set([0, 1]));
  new Uint8Array(f.states)[0] = STATE.down;
  const after = take(20);
  expect(after.filter((b) => b === 1)).toHaveLength(10);
  expect(after.filter((b) => b === 2)).toHaveLength(10);
});

test('who drains gets nothing new, in turn or by hash, and is still there for a call that it has', () => {
  for (const strategy of ['hash', 'weighted-round-robin', 'least-sessions'] as const) {
    const f = farm(3, strategy, [], { 1: { drain: true } });
    const pool = new Pool(f);
    expect([pool.serves(1), pool.admits(1)]).toEqual([true, false]);
    const picks = Array.from({ length: 300 }, (_, i) =>
      strategy === 'hash' ? pool.byHash(i * 2654435761, NONE) : pool.inTurn(i * 7, i, NONE, 100, NOBODY, METHOD.INVITE),
    );
    expect(new Set(picks)).toEqual(new Set([0, 2]));
    new Uint8Array(f.states).set([STATE.down, STATE.up, STATE.down]);
    expect(strategy === 'hash' ? pool.byHash(1, NONE) : pool.inTurn(1, 9, NONE, 100)).toBe(NONE);
  }
});

test('a dead backend’s load spreads over all others by their weights, whichever are dead', { timeout: 60_000 }, () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 3, maxLength: 12 }),
      fc.array(fc.nat(11), { maxLength: 6 }),
      (weights, dead) => {
        const f = farm(weights.length, 'hash', [], Object.fromEntries(weights.map((weight, i) => [i, { weight }])));
        const pool = new Pool(f);
        for (const b of dead) new Uint8Array(f.states)[b % weights.length] = STATE.down;
        const alive = weights.flatMap((_, b) => (pool.serves(b) ? [b] : []));
        if (alive.length < 2) return;
        const total = alive.reduce((sum, b) => sum + weights[b]!, 0);
        const got = weights.map(() => 0);
        for (let i = 0; i < 6000; i++) got[pool.byHash(finish(i), NONE)]!++;
        // Four standard deviations of what 6,000 keys scatter by themselves.
        for (const b of alive) expect(Math.abs(got[b]! / 6000 - weights[b]! / total)).toBeLessThan(0.026);
        expect(alive.reduce((sum, b) => sum + got[b]!, 0)).toBe(6000);
      },
    ),
    { numRuns: 20 },
  );
});

test('least sessions for the weight; what was placed lately counts until the numbers show it', () => {
  const f = farm(3, 'least-sessions', [], { 2: { weight: 2 } });
  const pool = new Pool(f);
  const sessions = new Int32Array(f.sessions);
  let calls = 0;
  const take = (n: number, now: number) => {
    const got = [0, 0, 0];
    for (let i = 0; i < n; i++) got[pool.inTurn(++calls * 77, 5, NONE, now, NOBODY, METHOD.INVITE)]!++;
    return got;
  };
  sessions.set([50, 10, 100]);
  // Up to 50 per weight, then evenly: no herd, although the numbers stand still.
  expect(take(40, 100)).toEqual([0, 40, 0]);
  const even = take(40, 100);
  expect(even[2]).toBeGreaterThan(15);
  expect(Math.min(even[0]!, even[1]!)).toBeGreaterThan(5);
  // Long after, only the numbers count.
  sessions.set([7, 90, 180]);
  expect(take(20, 500)).toEqual([20, 0, 0]);
  new Uint8Array(f.states)[0] = STATE.down;
  const [none] = take(20, 900);
  expect(none).toBe(0);
});

test('least sessions within the tier that serves: the next one takes over just the share that is missing', () => {
  const f = farm(4, 'least-sessions', [1, 1, 2, 2]);
  const pool = new Pool(f);
  new Int32Array(f.sessions).set([500, 500, 0, 0]);
  const take = (n: number, offset: number) =>
    Array.from({ length: n }, (_, i) => pool.inTurn((i + offset) * 77, 5, NONE, 100, NOBODY, METHOD.INVITE));
  expect(new Set(take(20, 0))).toEqual(new Set([0, 1]));
  new Uint8Array(f.states)[0] = STATE.down;
  const after = take(40, 1000);
  expect(after.filter((b) => b === 1)).toHaveLength(20);
  expect(after.filter((b) => b > 1)).toHaveLength(20);
});

test('what begins no session goes by turns, so that registrations do not all fall on one', () => {
  const f = farm(2, 'least-sessions');
  const pool = new Pool(f);
  new Int32Array(f.sessions).set([0, 100]);
  const picks = Array.from({ length: 10 }, (_, i) => pool.inTurn(i * 77, 5, NONE, 100));
  expect(picks.filter((b) => b === 1)).toHaveLength(5);
});
