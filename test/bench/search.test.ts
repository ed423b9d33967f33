import { expect, test } from 'vitest';
import { highestRate } from './search.ts';

/** A proxy that passes up to `limit`, and the rates it was asked for. */
function proxy(limit: number) {
  const asked: number[] = [];
  return {
    asked,
    passes: async (rate: number) => {
      asked.push(rate);
      return rate <= limit;
    },
  };
}

test.each([900, 3_000, 12_345, 30_000, 71_234, 400_000])('finds a limit of %i from any start', async (limit) => {
  for (const low of [1_000, 10_000, 30_000]) {
    const found = await highestRate(proxy(limit).passes, low, Infinity, 0.03);
    expect(found).toBeLessThanOrEqual(limit);
    if (limit < 1000) expect(found).toBe(0);
    else expect(found * 1.03 + 100).toBeGreaterThanOrEqual(limit);
  }
});

test('never asks for a rate above the one known to fail', async () => {
  const { asked, passes } = proxy(25_000);
  await highestRate(passes, 20_000, 30_000, 0.03);
  expect(Math.max(...asked)).toBeLessThan(30_000);
});
