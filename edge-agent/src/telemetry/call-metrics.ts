import { BACKEND_BUDGET, CODE_BUDGET, OVERFLOW, REGISTRATION_CODE_BUDGET } from './budgets.ts';
import { type BackendCalls, type FarmCalls, ORIGINS, REGISTRATION, SESSION } from './calls/farms.ts';
import type { CATALOGUE } from './catalogue.ts';

type Series = [Record<string, string>, number];
type MetricKey = keyof typeof CATALOGUE;
/** Fills a metric with absolute values. */
type Fill = (key: MetricKey, series: Iterable<Series>) => void;

const SESSION_METRICS: readonly [MetricKey, number][] = [
  ['sessionRequests', SESSION.requests],
  ['sessionChallenges', SESSION.challenges],
  ['sessionRedirects', SESSION.redirects],
  ['sessionsEstablished', SESSION.established],
  ['sessionsEffective', SESSION.effective],
  ['sessionsIneffective', SESSION.ineffective],
  ['sessionsCompleted', SESSION.completed],
  ['sessionsShort', SESSION.short],
];
const REGISTRATION_METRICS: readonly [MetricKey, number][] = [
  ['registrationRequests', REGISTRATION.requests],
  ['registrationChallenges', REGISTRATION.challenges],
  ['registrationSuccesses', REGISTRATION.successes],
  ['registrationFailures', REGISTRATION.failures],
];

/** Sessions and registrations of every farm, into the metrics. */
export function fillCalls(farms: readonly FarmCalls[], fill: Fill): void {
  const backends = farms.flatMap((farm) => withinBudget(farm).map(([label, list]) => ({ farm, label, list })));
  const each = (value: (b: BackendCalls) => number): Series[] =>
    backends.map(({ farm, label, list }) => [{ farm: farm.name, backend: label }, sum(list, value)]);
  const byOrigin = (value: (b: BackendCalls, origin: 0 | 1) => number): Series[] =>
    backends.flatMap(({ farm, label, list }) =>
      ([0, 1] as const).map(
        (origin): Series => [
          { farm: farm.name, backend: label, origin: ORIGINS[origin] },
          sum(list, (b) => value(b, origin)),
        ],
      ),
    );
  for (const [key, index] of SESSION_METRICS)
    fill(
      key,
      byOrigin((b, origin) => b.sessions[origin][index] ?? 0),
    );
  for (const [key, index] of REGISTRATION_METRICS)
    fill(
      key,
      each((b) => b.registrations[index] ?? 0),
    );
  fill(
    'activeSessions',
    byOrigin((b, origin) => b.active[origin]),
  );
  fill(
    'activeRegistrations',
    each((b) => b.registered),
  );
  fill('sessionResults', farms.flatMap(codes));
  fill(
    'registrationResults',
    backends.flatMap(({ farm, label, list }) => registrationCodes(list, { farm: farm.name, backend: label })),
  );
  fill(
    'sessionsExpired',
    farms.map((farm): Series => [{ farm: farm.name }, farm.expired]),
  );
}

/** A farm's backends by label. The one that stands for "no backend" has a series once it has counted something. */
function withinBudget(farm: FarmCalls): [string, BackendCalls[]][] {
  const all = [...farm.backends.values()];
  const rest = all.slice(BACKEND_BUDGET);
  const named = all.slice(0, BACKEND_BUDGET).map((b): [string, BackendCalls[]] => [b.name, [b]]);
  const { none } = farm;
  const used = none.sessions.some((counts) => counts.some((n) => n > 0)) || none.registrations.some((n) => n > 0);
  return [
    ...named,
    ...(rest.length > 0 ? [[OVERFLOW, rest] as [string, BackendCalls[]]] : []),
    ...(used ? [[none.name, [none]] as [string, BackendCalls[]]] : []),
  ];
}

function codes(farm: FarmCalls): Series[] {
  return ([0, 1] as const).flatMap((origin) =>
    codeSeries(farm.codes[origin], CODE_BUDGET, { farm: farm.name, origin: ORIGINS[origin] }),
  );
}

function registrationCodes(list: readonly BackendCalls[], labels: Record<string, string>): Series[] {
  const sums = new Map<number, number>();
  for (const { registrationCodes: codes } of list)
    for (const [code, count] of codes) sums.set(code, (sums.get(code) ?? 0) + count);
  return codeSeries(sums, REGISTRATION_CODE_BUDGET, labels);
}

/** A series for each of the statuses that were seen first, and one for all others. */
function codeSeries(counts: ReadonlyMap<number, number>, budget: number, labels: Record<string, string>): Series[] {
  const seen = [...counts];
  const series = seen.slice(0, budget).map(([code, count]): Series => [{ ...labels, code: nameOf(code) }, count]);
  const rest = seen.slice(budget).reduce((total, [, count]) => total + count, 0);
  return rest > 0 ? [...series, [{ ...labels, code: OVERFLOW }, rest]] : series;
}

const nameOf = (code: number): string => (code === 0 ? 'none' : String(code));
const sum = (list: readonly BackendCalls[], value: (b: BackendCalls) => number): number =>
  list.reduce((total, b) => total + value(b), 0);
