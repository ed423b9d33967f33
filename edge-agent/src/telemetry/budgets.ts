/** How many values of a label get series of their own in one farm, so that no farm, however large, holds up a scrape. Data only. */

/** Backends: those first in the plan. A series set of 64 backends renders in some 10 ms. */
export const BACKEND_BUDGET = 64;
/** Final statuses of one farm and origin, those seen first. */
export const CODE_BUDGET = 40;
/** Final statuses of registrations at one backend: 2xx, challenge, and some ways to fail. */
export const REGISTRATION_CODE_BUDGET = 12;
/** Label value of what is beyond a budget. No backend has this name: names begin with a letter or digit. */
export const OVERFLOW = '_other';
/** Label value of what reached no backend: outside of the budget. */
export const NONE = 'none';

type Series = [Record<string, string>, number];

/** The same series with backends beyond the budget under {@link OVERFLOW}: more than once, to be added up. */
export function* withinBudget(series: Iterable<Series>, budget: number): Iterable<Series> {
  const named = new Map<string, Set<string>>();
  for (const [labels, value] of series) {
    const { farm = '', backend = '' } = labels;
    const backends = named.get(farm) ?? new Set();
    named.set(farm, backends);
    const known = backends.has(backend) || backend === OVERFLOW || backend === NONE;
    if (known || backends.size < budget) {
      if (!known) backends.add(backend);
      yield [labels, value];
    } else yield [{ ...labels, backend: OVERFLOW }, value];
  }
}
