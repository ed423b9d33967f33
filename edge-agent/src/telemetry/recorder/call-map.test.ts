import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CallMap } from './call-map.ts';

test('it holds what a Map would, also of keys that look alike', () => {
  const key = fc.record({ low: fc.nat(3), high: fc.nat(3) }).map(({ low, high }) => high * 2 ** 40 + low);
  const step = fc.record({ key, kind: fc.constantFrom('set', 'delete') });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const map = new CallMap<number>();
      const model = new Map<number, number>();
      for (const [i, { key: k, kind }] of steps.entries()) {
        if (kind === 'set') {
          map.set(k, i);
          model.set(k, i);
        } else expect(map.delete(k)).toBe(model.delete(k));
        for (const { key: other } of steps)
          expect([map.has(other), map.get(other)]).toEqual([model.has(other), model.get(other)]);
      }
      expect([...map]).toEqual([...model]);
    }),
    { numRuns: 30 },
  );
});
