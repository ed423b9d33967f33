import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hash32 } from '../sip/hash.ts';
import { backendId, bucketOf, NO_CANDIDATE, RANKS, rankCandidates } from './rendezvous.ts';

const user = (i: number): number => {
  const bytes = new TextEncoder().encode(`user${i}`);
  return hash32(bytes, 0, bytes.length);
};
const table = (names: string[], weights = names.map(() => 1)) =>
  new Uint8Array(
    rankCandidates(names.map((n, i) => ({ id: backendId(n), weight: weights[i]!, priority: 1, drain: false }))),
  );
const firstOf = (t: Uint8Array, i: number): number => t[bucketOf(user(i)) * RANKS]!;

test('10,000 users over weights 1:3 are spread within a point of 25:75', () => {
  const t = table(['pbx1', 'pbx2'], [1, 3]);
  let heavy = 0;
  for (let i = 0; i < 10_000; i++) heavy += firstOf(t, i);
  expect(heavy).toBeGreaterThan(7400);
  expect(heavy).toBeLessThan(7600);
});

test('removing one of five backends moves none of the others’ users, and spreads its own over all of them', () => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const five = table(names);
  const four = table(names.filter((n) => n !== 'c'));
  const heirs = new Map<string, number>();
  for (let i = 0; i < 10_000; i++) {
    const before = names[firstOf(five, i)]!;
    const after = ['a', 'b', 'd', 'e'][firstOf(four, i)]!;
    if (before !== 'c') expect(after).toBe(before);
    else heirs.set(after, (heirs.get(after) ?? 0) + 1);
  }
  const orphans = [...heirs.values()].reduce((a, b) => a + b, 0);
  expect(heirs.size).toBe(4);
  for (const n of heirs.values()) expect(n / orphans).toBeCloseTo(0.25, 1);
});

test('masking a backend gives each key what removing it would', () => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const five = table(names);
  const four = table(names.filter((n) => n !== 'c'));
  for (let i = 0; i < 2000; i++) {
    const at = bucketOf(user(i)) * RANKS;
    const masked = [...five.subarray(at, at + RANKS)].find((b) => b !== NO_CANDIDATE && names[b] !== 'c')!;
    expect(names[masked]).toBe(['a', 'b', 'd', 'e'][four[at]!]);
  }
});

test('minimal disruption, whatever the weights and tiers: a key moves only from or to the backend that was changed', {
  timeout: 60_000,
}, () => {
  const backend = fc.record({ weight: fc.integer({ min: 1, max: 9 }), priority: fc.integer({ min: 1, max: 3 }) });
  const change = fc.constantFrom('gone', 'drained', 'heavier');
  fc.assert(
    fc.property(fc.array(backend, { minLength: 2, maxLength: 9 }), fc.nat(8), change, (facts, at, what) => {
      const changed = at % facts.length;
      const all = facts.map((f, i) => ({ ...f, id: backendId(`pbx${i}`), drain: false, name: `pbx${i}` }));
      const next = all.flatMap((b, i) => {
        if (i !== changed) return [b];
        if (what === 'gone') return [];
        return [what === 'drained' ? { ...b, drain: true } : { ...b, weight: b.weight + 3 }];
      });
      const [before, after] = [new Uint8Array(rankCandidates(all)), new Uint8Array(rankCandidates(next))];
      for (let i = 0; i < 2000; i++) {
        const was = all[firstOf(before, i)]!.name;
        const is = next[firstOf(after, i)]?.name;
        if (is === undefined) expect(next.every((b) => b.drain)).toBe(true);
        else if (what === 'heavier') expect([was, `pbx${changed}`]).toContain(is);
        else if (was !== `pbx${changed}`) expect(is).toBe(was);
      }
    }),
    { numRuns: 8 },
  );
});

test('raising a weight only moves keys towards that backend', () => {
  const before = table(['a', 'b', 'c'], [1, 1, 1]);
  const after = table(['a', 'b', 'c'], [1, 2, 1]);
  for (let i = 0; i < 5000; i++) if (firstOf(before, i) !== firstOf(after, i)) expect(firstOf(after, i)).toBe(1);
});

test('the order does not depend on the order in the configuration, and lists nobody twice', () => {
  const x = table(['a', 'b', 'c']);
  const y = table(['c', 'a', 'b']);
  for (let i = 0; i < 1000; i++) {
    const at = bucketOf(user(i)) * RANKS;
    const nx = [...x.subarray(at, at + 3)].map((b) => ['a', 'b', 'c'][b]);
    expect([...y.subarray(at, at + 3)].map((b) => ['c', 'a', 'b'][b])).toEqual(nx);
    expect(new Set(nx).size).toBe(3);
    expect(x[at + 3]).toBe(NO_CANDIDATE);
  }
});
