import type { DelayHistogram } from './calls/delays.ts';
import { type FarmCalls, ORIGINS } from './calls/farms.ts';
import { CALL_METRICS } from './catalogue-calls.ts';
import type { GatheredMetric } from './push/family.ts';

type Labels = Record<string, string>;
type Series = [Labels, DelayHistogram];

/** The histograms of calls by the catalogue's key, with the labels of each. */
const DELAYS = {
  registrationDelay: ({ name: farm, delays }) => [[{ farm }, delays.registration]],
  sessionDelay: ({ name: farm, delays }) =>
    ORIGINS.flatMap((origin, i) =>
      (['success', 'failure'] as const).map(
        (result): Series => [{ farm, origin, result }, delays.sessionRequest[i as 0 | 1][result]],
      ),
    ),
  disconnectDelay: ({ name: farm, delays }) => [[{ farm }, delays.sessionDisconnect]],
  sessionDuration: ({ name: farm, delays }) =>
    ORIGINS.map((origin, i): Series => [{ farm, origin }, delays.sessionDuration[i as 0 | 1]]),
} as const satisfies Partial<Record<keyof typeof CALL_METRICS, (farm: FarmCalls) => Series[]>>;

/**
 * A histogram of calls in a prom-client registry. prom-client's own looks up its series by a text made of the labels at every
 * observation, which cost the control thread as much as all its counting; this one reads plain counts when somebody asks.
 */
export class DelayMetric {
  readonly name: string;
  readonly help: string;
  readonly type = 'histogram';
  readonly #farms: () => readonly FarmCalls[];
  readonly #series: (farm: FarmCalls) => Series[];

  constructor(key: keyof typeof DELAYS, farms: () => readonly FarmCalls[]) {
    this.name = CALL_METRICS[key].name;
    this.help = CALL_METRICS[key].help;
    this.#farms = farms;
    this.#series = DELAYS[key];
  }

  /** All of them, for the farms that are there when one is read. */
  static all(farms: () => readonly FarmCalls[]): DelayMetric[] {
    return (Object.keys(DELAYS) as (keyof typeof DELAYS)[]).map((key) => new DelayMetric(key, farms));
  }

  /** As prom-client's metrics answer it. A series is there once something was timed. */
  async get(): Promise<GatheredMetric> {
    const { name, help, type } = this;
    const values = this.#farms()
      .flatMap((farm) => this.#series(farm))
      .flatMap(([labels, histogram]) => valuesOf(name, labels, histogram));
    return { name, help, type, values };
  }
}

function valuesOf(name: string, labels: Labels, { bounds, counts, exemplars, sum }: DelayHistogram) {
  let count = 0;
  const buckets = [...counts].map((n, i) => {
    count += n;
    const exemplar = exemplars[i] && {
      labelSet: { trace_id: exemplars[i].traceId, span_id: exemplars[i].spanId },
      value: exemplars[i].seconds,
      timestamp: exemplars[i].at / 1000,
    };
    return { metricName: `${name}_bucket`, labels: { ...labels, le: bounds[i] ?? '+Inf' }, value: count, exemplar };
  });
  if (count === 0) return [];
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
}
