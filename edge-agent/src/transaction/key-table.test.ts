import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KeyTable } from './key-table.ts';

test('holds what a Map would, however keys meet and go', () => {
  // Homes around the end of the table, so that runs go around it; high halves that tell keys of one home apart.
  const key = fc.record({ home: fc.integer({ min: 220, max: 290 }), high: fc.nat(2 ** 21 - 1) });
  const command = fc.record({ key, value: fc.option(fc.nat(), { nil: undefined }) });
  fc.assert(
    fc.property(fc.array(command, { maxLength: 400 }), (commands) => {
      const table = new KeyTable();
      const model = new Map<number, number>();
      for (const { key, value } of commands) {
        const number = (key.high % 3) * 4294967296 + key.home;
        if (value === undefined) {
          table.delete(number);
          model.delete(number);
        } else {
          table.set(number, value);
          model.set(number, value);
        }
        expect(table.size).toBe(model.size);
      }
      for (let home = 220; home <= 290; home++)
        for (let high = 0; high < 3; high++) {
          const number = high * 4294967296 + home;
          expect(table.get(number)).toBe(model.get(number) ?? -1);
        }
    }),
    { numRuns: 300 },
  );
});

test('keys of 53 bits are told apart by every bit', () => {
  const table = new KeyTable();
  const keys = Array.from({ length: 53 }, (_, bit) => 2 ** bit);
  for (const [i, key] of keys.entries()) table.set(key, i);
  for (const [i, key] of keys.entries()) expect(table.get(key)).toBe(i);
  for (const key of keys) table.delete(key);
  expect(table.size).toBe(0);
  for (const key of keys) expect(table.get(key)).toBe(-1);
});

test('grows with what is put in, and finds all of it', () => {
  const table = new KeyTable();
  const keyOf = (i: number) => (i % 7) * 4294967296 + i * 3;
  for (let i = 1; i <= 20_000; i++) table.set(keyOf(i), i);
  expect(table.size).toBe(20_000);
  for (let i = 1; i <= 20_000; i++) expect(table.get(keyOf(i))).toBe(i);
});
