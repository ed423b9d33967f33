import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NONE, SoftTable } from './soft-table.ts';

/** A model of the table that cannot be wrong. */
type Model = Map<number, { owner: string; since: number; until: number }>;

const contents = (table: SoftTable<string>, keys: Iterable<number>) =>
  [...keys].map((key) => {
    const slot = table.find(key);
    return slot === NONE ? undefined : [table.owner(slot), table.since(slot)];
  });

test('whatever is added, changed, removed and expires: it holds what a Map would', () => {
  // Few keys of 53 bits that differ in high and in low halves, so that they meet again and again.
  const key = fc.record({ low: fc.nat(40), high: fc.nat(3) }).map(({ low, high }) => high * 4294967296 * 500 + low);
  const command = fc.oneof(
    fc.record({ kind: fc.constant('put' as const), key, lasts: fc.nat(50_000) }),
    fc.record({ kind: fc.constant('remove' as const), key }),
    // The whole table is looked through: all that has expired is gone.
    fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 10_000, max: 30_000 }) }),
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 300 }), (commands) => {
      let now = 5000;
      const table = new SoftTable<string>(1000, now);
      const model: Model = new Map();
      const touched = new Set<number>();
      for (const c of commands) {
        if (c.kind === 'pass') {
          now += c.ms;
          const due = [...model].filter(([, { until }]) => until <= now).map(([k, { owner }]) => `${owner} ${k}`);
          const expired: string[] = [];
          table.sweep(now, (owner, k) => expired.push(`${owner} ${k}`));
          expect(expired.sort()).toEqual(due.sort());
          for (const [k, { until }] of model) if (until <= now) model.delete(k);
          continue;
        }
        touched.add(c.key);
        const slot = table.find(c.key);
        expect(slot !== NONE).toBe(model.has(c.key));
        if (c.kind === 'put') {
          const until = now + c.lasts;
          const known = model.get(c.key);
          model.set(c.key, { owner: `at ${now}`, since: known?.since ?? now, until });
          if (slot === NONE) expect(table.add(c.key, `at ${now}`, now, until)).toBe(true);
          else {
            table.setOwner(slot, `at ${now}`);
            table.setUntil(slot, until);
          }
        } else if (slot !== NONE) {
          table.remove(slot);
          model.delete(c.key);
        }
        expect(table.size).toBe(model.size);
      }
      const expected = [...touched].map((k) => model.get(k) && [model.get(k)?.owner, model.get(k)?.since]);
      expect(contents(table, touched)).toEqual(expected);
    }),
  );
});

test('it grows to its limit and no further, and what was in it expires by and by', () => {
  const most = 20_000;
  const table = new SoftTable<number>(most, 0);
  for (let i = 0; i < most; i++) expect(table.add(i * 3_000_017, i, i, 60_000)).toBe(true);
  expect(table.add(1, 0, 0, 60_000)).toBe(false);
  for (let i = 0; i < most; i++) {
    const slot = table.find(i * 3_000_017);
    expect([table.owner(slot), table.since(slot)]).toEqual([i, i]);
  }
  const left: number[] = [];
  for (let now = 50_000; now <= 140_000; now += 1000) {
    table.sweep(now, () => {});
    left.push(table.size);
  }
  // A tenth of the table a second from 60 s on; each time it shrinks the look begins anew.
  expect(left[9]).toBe(most);
  expect(left[10]).toBeLessThan(most);
  expect(left[15]).toBeGreaterThan(0);
  expect(left.at(-1)).toBe(0);
});
