import { expect, test } from 'vitest';
import { type FarmPlan, STATE } from '../plan.ts';
import { TRANSPORT } from '../ports.ts';
import { NONE, Pool } from './pool.ts';
import { backendId, rankCandidates } from './rendezvous.ts';
import { spreadTurn } from './round-robin.ts';

function farm(count: number, strategy: FarmPlan['strategy'] = 'hash', tiers: number[] = []): FarmPlan {
  const backends = Array.from({ length: count }, (_, i) => ({
    name: `pbx${i}`,
    id: backendId(`pbx${i}`),
    address: `10.0.0.${i + 1}`,
    port: 5060,
    transport: TRANSPORT.udp,
    weight: 1,
    priority: tiers[i] ?? 1,
    sources: [],
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
    candidates: rankCandidates(
      backends.map((b) => b.id),
      backends.map((b) => b.weight),
      backends.map((b) => b.priority),
    ),
    nonces: new SharedArrayBuffer(0),
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
