import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Counts, type Evidence, NO_EVIDENCE, observe, strength } from './sequential.ts';

/** Halting at this errs with a probability of at most 1/400 (see rollout-gate.ts). */
const HALT = 400;

/** xorshift32: the same simulation every time. */
function randomOf(seed: number): () => number {
  let x = seed | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

function draw(random: () => number, n: number, p: number): Counts {
  let bad = 0;
  for (let i = 0; i < n; i++) if (random() < p) bad++;
  return { n, bad };
}

interface World {
  /** Share of bad outcomes. */
  moved: number;
  others: number;
  /** Outcomes per look, at most. */
  movedSize: number;
  othersSize: number;
  looks: number;
}

/** Outcomes of the moved group until the test halts; undefined: it never does. */
function haltsAfter(random: () => number, world: World): number | undefined {
  let evidence = NO_EVIDENCE;
  let seen = 0;
  for (let look = 0; look < world.looks; look++) {
    const moved = draw(random, Math.floor(random() * (world.movedSize + 1)), world.moved);
    const others = draw(random, Math.floor(random() * (world.othersSize + 1)), world.others);
    seen += moved.n;
    evidence = observe(evidence, moved, others);
    if (strength(evidence) >= HALT) return seen;
  }
  return undefined;
}

function simulate(runs: number, world: World) {
  const random = randomOf(20_260_102);
  const halts: number[] = [];
  for (let run = 0; run < runs; run++) {
    const after = haltsAfter(random, world);
    if (after !== undefined) halts.push(after);
  }
  halts.sort((a, b) => a - b);
  return { share: halts.length / runs, median: halts[Math.floor(halts.length / 2)] ?? Number.POSITIVE_INFINITY };
}

describe('a healthy change is let through', () => {
  // 1/400 is promised; 2,000 runs that keep it show more than 13 with a chance of less than 1 in 1,000.
  const atMost = 13 / 2000;
  test.each([
    ['quiet farms', { moved: 0.02, others: 0.02, movedSize: 5, othersSize: 10, looks: 100 }],
    ['busy farms', { moved: 0.02, others: 0.02, movedSize: 60, othersSize: 100, looks: 60 }],
    [
      'farms where a third of all calls is not answered',
      { moved: 0.35, others: 0.35, movedSize: 20, othersSize: 20, looks: 100 },
    ],
    ['one canary against a great many', { moved: 0.1, others: 0.1, movedSize: 3, othersSize: 400, looks: 40 }],
    ['a change for the better', { moved: 0.02, others: 0.1, movedSize: 30, othersSize: 30, looks: 60 }],
    ['farms without a single failure', { moved: 0, others: 0, movedSize: 30, othersSize: 30, looks: 100 }],
  ])('%s', (_, world) => {
    expect(simulate(2000, world).share).toBeLessThanOrEqual(atMost);
  });
});

describe('a bad change is found', () => {
  test.each([
    // what, world, share that must be found, calls that half of them may take at most
    ['every call refused', { moved: 1, others: 0.02, movedSize: 6, othersSize: 12, looks: 20 }, 1, 12],
    ['half of the calls lost', { moved: 0.5, others: 0.02, movedSize: 10, othersSize: 20, looks: 20 }, 0.99, 25],
    ['one in ten more', { moved: 0.12, others: 0.02, movedSize: 20, othersSize: 40, looks: 60 }, 0.99, 170],
    ['one in twenty more', { moved: 0.07, others: 0.02, movedSize: 60, othersSize: 100, looks: 60 }, 0.95, 500],
  ])('%s', (_, world, share, median) => {
    const found = simulate(500, world);
    expect(found.share).toBeGreaterThanOrEqual(share);
    expect(found.median).toBeLessThanOrEqual(median);
  });
});

const counts = fc.nat({ max: 30 }).chain((n) => fc.record({ n: fc.constant(n), bad: fc.nat({ max: n }) }));

test('the bet is fair: whatever both groups have in common, a block multiplies it by 1 on average, or by less', () => {
  const binomial = (n: number, k: number) => {
    let value = 1;
    for (let i = 1; i <= k; i++) value *= (n - k + i) / i;
    return value;
  };
  const chance = ({ n, bad }: Counts, p: number) => binomial(n, bad) * p ** bad * (1 - p) ** (n - bad);
  const history = fc.array(fc.tuple(counts, counts), { maxLength: 5 });
  fc.assert(
    fc.property(
      ...[history, fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 })],
      ...[fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })],
      (looks: [Counts, Counts][], moved: number, others: number, p: number, better: number) => {
        let before: Evidence = NO_EVIDENCE;
        for (const [a, b] of looks) before = observe(before, a, b);
        before = { ...before, pending: NO_EVIDENCE.pending };
        let mean = 0;
        for (let i = 0; i <= moved; i++)
          for (let j = 0; j <= others; j++) {
            const [a, b] = [
              { n: moved, bad: i },
              { n: others, bad: j },
            ];
            // The moved ones may also be better: the test has one side.
            mean += chance(a, p * better) * chance(b, p) * strength(observe(before, a, b));
          }
        expect(mean / strength(before)).toBeLessThanOrEqual(1 + 1e-9);
      },
    ),
    { numRuns: 300 },
  );
});

test('without anything to compare with there is no evidence, and nothing that was seen is lost', () => {
  const lone = observe(observe(NO_EVIDENCE, { n: 50, bad: 50 }, { n: 0, bad: 0 }), { n: 5, bad: 5 }, { n: 0, bad: 0 });
  expect(strength(lone)).toBe(1);
  const both = observe(lone, { n: 0, bad: 0 }, { n: 55, bad: 0 });
  expect(both.moved).toEqual({ n: 55, bad: 55 });
  expect(strength(both)).toBeGreaterThan(HALT);
});

test('evidence survives being stored', () => {
  const evidence = observe(NO_EVIDENCE, { n: 9, bad: 9 }, { n: 9, bad: 0 });
  expect(JSON.parse(JSON.stringify(evidence))).toEqual(evidence);
  expect(strength(observe(NO_EVIDENCE, { n: 1e6, bad: 1e6 }, { n: 1e6, bad: 0 }))).toBeLessThan(
    Number.POSITIVE_INFINITY,
  );
});
