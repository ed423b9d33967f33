import { type OpenMetricsContentType, Registry } from 'prom-client';
import type { GatheredMetric } from './push/family.ts';

/** What a scrape is answered with. */
export interface Exposition {
  contentType: string;
  text: string;
}

interface Metric {
  name: string;
  type: string;
  get(): Promise<GatheredMetric>;
}

/**
 * The same metrics for scrapers that understand OpenMetrics, which alone has a place for exemplars. A registry of their own, since one that renders
 * OpenMetrics takes the suffix off its counters' names for good, and adds it again to each series.
 */
function openMetricsOf(metrics: readonly Metric[], identity: object): Registry<OpenMetricsContentType> {
  const registry = new Registry<OpenMetricsContentType>();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  registry.setDefaultLabels(identity);
  // prom-client's type leaves out that a registry asks of a metric no more than this.
  for (const metric of metrics)
    registry.registerMetric((metric.type === 'counter' ? withoutSuffix(metric) : metric) as never);
  return registry;
}

function withoutSuffix(counter: Metric): Metric {
  const name = counter.name.replace(/_total$/, '');
  return { name, type: counter.type, get: async () => ({ ...(await counter.get()), name }) };
}

/** Renders all metrics that `registry` has by now, as who asks likes it best: `accept` is the header of that name. */
export function expositionOf(registry: Registry, identity: object): (accept: string) => Promise<Exposition> {
  const openMetrics = openMetricsOf(registry.getMetricsAsArray() as unknown as Metric[], identity);
  return async (accept) => {
    const chosen = accept.includes('application/openmetrics-text') ? openMetrics : registry;
    // prom-client takes the values of all metrics before it first awaits, so two scrapes at once do not mix.
    return { contentType: chosen.contentType, text: await chosen.metrics() };
  };
}
