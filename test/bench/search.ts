/**
 * The highest rate that passes, to within `tolerance` (0.03 = 3 %): grows by half from `low` until a rate fails,
 * then halves the gap. `low` need not pass, `high` is known to fail (Infinity: nothing is known). 0 where not even `least` passes.
 */
export async function highestRate(
  passes: (rate: number) => Promise<boolean>,
  low: number,
  high: number,
  tolerance: number,
  least = 1000,
): Promise<number> {
  let good = low;
  let bad = high;
  while (!(await passes(good))) {
    bad = good;
    if (good <= least) return 0;
    good = Math.max(least, round(good / 1.5));
  }
  while (bad === Infinity) {
    const next = round(good * 1.5);
    if (await passes(next)) good = next;
    else bad = next;
  }
  while (bad / good > 1 + tolerance) {
    const middle = round(Math.sqrt(good * bad));
    if (middle <= good || middle >= bad) break;
    if (await passes(middle)) good = middle;
    else bad = middle;
  }
  return good;
}

/** To hundreds: finer steps than any run can tell apart. */
const round = (rate: number): number => Math.round(rate / 100) * 100;
