/** What prom-client's `Metric.get()` resolves with, as far as it is read here. */
export interface GatheredMetric {
  name: string;
  help: string;
  type: unknown;
  values: readonly {
    value: number;
    metricName?: string | undefined;
    labels: Readonly<Partial<Record<string, string | number>>>;
    exemplar?: GatheredExemplar | null | undefined;
  }[];
}

interface GatheredExemplar {
  labelSet: Readonly<Record<string, unknown>>;
  value: number;
  /** Seconds since the epoch. */
  timestamp: number;
}

export type Labels = Readonly<Record<string, string>>;

/** One observation that stands for its bucket, with the trace that it came from. */
export interface Exemplar {
  labels: Labels;
  value: number;
  /** Milliseconds since the epoch. */
  at: number;
}

export interface NumberPoint {
  labels: Labels;
  value: number;
}

export interface HistogramPoint {
  labels: Labels;
  /** Upper bounds without the last one, which is infinite. */
  bounds: readonly number[];
  /** Observations in each bucket alone; one more than bounds. */
  counts: readonly number[];
  count: number;
  sum: number;
  exemplars: readonly Exemplar[];
}

interface Described {
  name: string;
  help: string;
  /** Undefined where the metric is not of the catalogue. */
  unit: 'seconds' | 'bytes' | '1' | undefined;
}

/** A metric with all of its series, in the shape that both push formats are written from. */
export type Family =
  | (Described & { type: 'counter' | 'gauge'; points: readonly NumberPoint[] })
  | (Described & { type: 'histogram'; points: readonly HistogramPoint[] });

/**
 * Undefined for a type that the agent does not use (summaries).
 * @param units of the catalogue's metrics, by name
 * @param identity labels that every series gets beside its own
 */
export function familyOf(
  metric: GatheredMetric,
  units: ReadonlyMap<string, Described['unit']>,
  identity: Labels,
): Family | undefined {
  const { type, help, values } = metric;
  // A registry that renders OpenMetrics takes the suffix off a counter's name for good.
  const name = type === 'counter' && !metric.name.endsWith('_total') ? `${metric.name}_total` : metric.name;
  const described = { name, help, unit: units.get(name) };
  if (type === 'counter' || type === 'gauge')
    return {
      ...described,
      type,
      points: values.map(({ labels, value }) => ({ labels: textual(labels, identity), value })),
    };
  return type === 'histogram' ? { ...described, type, points: histogramPoints(metric, identity) } : undefined;
}

function textual(labels: GatheredMetric['values'][number]['labels'], identity: Labels): Labels {
  const text: Record<string, string> = { ...identity };
  for (const [name, value] of Object.entries(labels))
    if (name !== 'le' && value !== undefined) text[name] = String(value);
  return text;
}

/** prom-client gives a histogram as a flat list: for each series its cumulative buckets in order, then `_sum` and `_count`. */
function histogramPoints({ name, values }: GatheredMetric, identity: Labels): HistogramPoint[] {
  const points: HistogramPoint[] = [];
  let bounds: number[] = [];
  let counts: number[] = [];
  let exemplars: Exemplar[] = [];
  let below = 0;
  let sum = 0;
  for (const { metricName, labels, value, exemplar } of values) {
    if (metricName === `${name}_bucket`) {
      if (labels.le !== '+Inf') bounds.push(Number(labels.le));
      counts.push(value - below);
      below = value;
      if (exemplar) exemplars.push(exemplarOf(exemplar));
    } else if (metricName === `${name}_sum`) sum = value;
    else {
      points.push({ labels: textual(labels, identity), bounds, counts, count: value, sum, exemplars });
      [bounds, counts, exemplars, below] = [[], [], [], 0];
    }
  }
  return points;
}

function exemplarOf({ labelSet, value, timestamp }: GatheredExemplar): Exemplar {
  const labels = Object.fromEntries(Object.entries(labelSet).map(([key, label]) => [key, String(label)]));
  return { labels, value, at: Math.round(timestamp * 1000) };
}
