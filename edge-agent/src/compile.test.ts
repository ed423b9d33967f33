import type { Farm, FarmInput } from '@sipfleet/contract';
import { parseResource } from '@sipfleet/contract';
import { expect, test } from 'vitest';
import { NONE, Pool } from './balancer/pool.ts';
import { compilePlan } from './compile.ts';
import { type FarmPlan, STATE } from './plan.ts';
import { FARM } from './proxy/proxy.fixture.ts';
import { finish } from './sip/hash.ts';

const KEYS = [{ id: 7, key: '000102030405060708090a0b0c0d0e0f' }];

function compile(farm: Partial<FarmInput>, site = 'milan', after?: FarmPlan, now = 1000): FarmPlan {
  const spec = parseResource({ ...FARM, ...farm }) as Farm;
  const snapshot = { format: 1 as const, site, generation: 1, farms: [{ spec, revision: 1, tokenKeys: KEYS }] };
  const agent = { number: 1, address: '192.0.2.10' };
  const running = { etag: 'e', generation: 0, agent: 1, listeners: [], farms: after ? [after] : [] };
  return compilePlan(snapshot, 'etag', agent, new Map(), { now: after ? now : 0, plan: running }).farms[0]!;
}
const names = ['a', 'b', 'c', 'd'];
const backends = names.map((name, i) => ({ name, address: `10.0.0.${11 + i}` }));
const choices = (farm: FarmPlan, count = 4000): number[] => {
  const pool = new Pool(farm);
  return Array.from({ length: count }, (_, i) => pool.byHash(finish(i), NONE));
};
const share = (picks: number[], wanted: number[]) => picks.filter((b) => wanted.includes(b)).length / picks.length;

test('agents prefer the backends of their site; the share that is dead there goes to the other site', () => {
  const sited = backends.map((b, i) => ({ ...b, site: i < 2 ? 'milan' : 'rome' }));
  const farm = { sites: ['milan', 'rome'], backends: sited };
  const milan = compile(farm, 'milan');
  const rome = compile(farm, 'rome');
  expect(new Set(choices(milan))).toEqual(new Set([0, 1]));
  expect(new Set(choices(rome))).toEqual(new Set([2, 3]));
  const before = choices(milan);
  new Uint8Array(milan.states)[0] = STATE.down;
  const after = choices(milan);
  for (const [i, was] of before.entries()) if (was === 1) expect(after[i]).toBe(1);
  expect(share(after, [2, 3])).toBeCloseTo(0.5, 1);
  new Uint8Array(milan.states)[1] = STATE.down;
  expect(share(choices(milan), [2, 3])).toBe(1);
});

test('the tiers of the own site come before those of others; without a site a backend is near to all', () => {
  const sited = backends.map((b, i) => ({
    ...b,
    priority: i === 0 ? 1 : i === 1 ? 2 : 1,
    ...(i === 3 ? {} : { site: i === 2 ? 'rome' : 'milan' }),
  }));
  const farm = compile({ sites: ['milan', 'rome'], backends: sited });
  expect(new Set(choices(farm))).toEqual(new Set([0, 3]));
  new Uint8Array(farm.states).set([STATE.down, 0, 0, STATE.down]);
  expect(new Set(choices(farm))).toEqual(new Set([1]));
  new Uint8Array(farm.states)[1] = STATE.down;
  expect(new Set(choices(farm))).toEqual(new Set([2]));
});

test('the order that a plan replaces is kept for one maxExpires, and only where it differs', () => {
  const maxExpires = '2m';
  const first = compile({ backends, registration: { maxExpires } });
  const same = compile(
    { backends: backends.toReversed(), registration: { maxExpires }, failover: undefined },
    'milan',
    first,
  );
  expect(same.lag).toMatchObject({ seconds: 120, before: [] });
  const drained = compile(
    { backends: backends.map((b) => ({ ...b, drain: b.name === 'a' })), registration: { maxExpires } },
    'milan',
    same,
  );
  expect(drained.lag.before).toMatchObject([{ candidates: same.candidates, until: 1120, key: { kind: 'user' } }]);
  // Which were listed in the other order.
  expect([...drained.lag.before[0]!.indexes.subarray(0, 5)]).toEqual([3, 2, 1, 0, 255]);
  const later = compile({ backends: backends.slice(1), registration: { maxExpires } }, 'milan', drained, 1100);
  expect(later.lag.before.map(({ until }) => until)).toEqual([1120]);
  expect([...later.lag.before[0]!.indexes.subarray(0, 5)]).toEqual([2, 1, 0, 255, 255]);
  const key = compile({ backends, registration: { maxExpires }, balancing: { key: 'domain' } }, 'milan', first);
  expect(key.lag.before).toMatchObject([{ key: { kind: 'user' } }]);
});

test('an hour where no maxExpires is set; keys that do not lead to registrations only cover transactions; no hash, nothing', () => {
  expect(compile({}).lag).toMatchObject({ seconds: 3600, transactionsOnly: false, before: [] });
  const byCall = { balancing: { key: 'call-id' } };
  expect(compile(byCall).lag).toMatchObject({ seconds: 32, transactionsOnly: true, before: [] });
  const first = compile({ backends });
  const turns = compile({ backends: backends.slice(1), balancing: { strategy: 'least-sessions' } }, 'milan', first);
  expect(turns.lag).toMatchObject({ seconds: 0, transactionsOnly: true, before: [] });
});
