import { expect, test } from 'vitest';
import { type FarmPlan, STATE } from '../plan.ts';
import { TRANSPORT } from '../ports.ts';
import { NONE, Pool } from './pool.ts';
import { backendId, rankCandidates } from './rendezvous.ts';
import { spreadTurn } from './round-robin.ts';

function farm(count: number, strategy: FarmPlan['strategy'] = 'hash'): FarmPlan {
  const backends = Array.from({ length: count }, (_, i) => ({
    name: `pbx${i}`,
    id: backendId(`pbx${i}`),
    address: `10.0.0.${i + 1}`,
    port: 5060,
    transport: TRANSPORT.udp,
    weight: 1,
    sources: [],
  }));
  return {
    name: 'f',
    strategy,
    key: 'user',
    registration: 'path',
    backends,
    firstBackend: 0,
    tokenKeys: [],
    candidates: rankCandidates(
      backends.map((b) => b.id),
      backends.map((b) => b.weight),
    ),
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
