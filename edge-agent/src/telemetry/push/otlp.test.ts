import { Counter, Gauge, Histogram, type OpenMetricsContentType, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { metrics } from '../otlp-definitions.fixture.ts';
import { type Family, familyOf, type GatheredMetric } from './family.ts';
import { encodeOtlp, rejectedPoints } from './otlp.ts';
import { StartTimes } from './start-times.ts';

const { ExportMetricsServiceRequest, ExportMetricsServiceResponse } = metrics.v1;

type Points = { dataPoints: Record<string, unknown>[] } & Record<string, unknown>;
interface Decoded {
  resourceMetrics: {
    resource: unknown;
    scopeMetrics: {
      scope: unknown;
      metrics: (Record<string, unknown> & { gauge?: Points; sum?: Points; histogram?: Points })[];
    }[];
  }[];
}
const decode = (bytes: Uint8Array): Decoded =>
  ExportMetricsServiceRequest.toObject(ExportMetricsServiceRequest.decode(bytes), {
    longs: String,
  }) as Decoded;

/** Exemplars are kept by such registries only. */
function openMetrics(): Registry<OpenMetricsContentType> {
  const registry = new Registry<OpenMetricsContentType>();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  return registry;
}

async function gathered(registry: Registry<OpenMetricsContentType>): Promise<Family[]> {
  const metrics = (await registry.getMetricsAsJSON()) as unknown as GatheredMetric[];
  return metrics.map((metric) => familyOf(metric, new Map([['h_seconds', 'seconds']]), { agent: 'edge-1' })!);
}

const text = (key: string, value: string) => ({ key, value: { stringValue: value } });
const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));
const START = 1_790_000_000_123;
const AT = 1_790_000_060_456;
const context = (starts = new StartTimes(START)) => ({
  resource: { 'service.name': 'sipfleet-agent', 'sipfleet.site': 'milan' },
  scope: { name: 'sipfleet', version: '1.2.3' },
  at: AT,
  starts,
});

test('a counter, a gauge and a histogram with exemplars, read by the official definitions', async () => {
  const registry = openMetrics();
  const registers = [registry];
  new Counter({ name: 'c_total', help: 'C.', labelNames: ['farm'], registers }).inc({ farm: 'pbx' }, 7);
  new Gauge({ name: 'g', help: 'G.', registers }).set(-1.5);
  const histogram = new Histogram<string>({
    name: 'h_seconds',
    help: 'H.',
    labelNames: ['farm'],
    buckets: [0.1, 1],
    registers,
    enableExemplars: true,
  });
  const [trace_id, span_id] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
  for (const value of [0.05, 0.5, 0.6, 5])
    histogram.observe({ labels: { farm: 'pbx' }, value, exemplarLabels: value === 5 ? { trace_id, span_id } : {} });

  const [resourceMetrics] = decode(encodeOtlp(await gathered(registry), context())).resourceMetrics;
  expect(resourceMetrics?.resource).toEqual({
    attributes: [text('service.name', 'sipfleet-agent'), text('sipfleet.site', 'milan')],
  });
  const [{ scope, metrics } = { scope: undefined, metrics: [] }] = resourceMetrics?.scopeMetrics ?? [];
  expect(scope).toEqual({ name: 'sipfleet', version: '1.2.3' });
  const [startTimeUnixNano, timeUnixNano] = ['1790000000123000000', '1790000060456000000'];
  const attributes = [text('agent', 'edge-1'), text('farm', 'pbx')];
  expect(metrics[0]).toEqual({
    name: 'c_total',
    description: 'C.',
    sum: {
      aggregationTemporality: 2,
      isMonotonic: true,
      dataPoints: [{ startTimeUnixNano, timeUnixNano, asDouble: 7, attributes }],
    },
  });
  expect(metrics[1]).toEqual({
    name: 'g',
    description: 'G.',
    gauge: { dataPoints: [{ timeUnixNano, asDouble: -1.5, attributes: attributes.slice(0, 1) }] },
  });
  const [point] = metrics[2]?.histogram?.dataPoints ?? [];
  const exemplar = { traceId: bytes(trace_id), spanId: bytes(span_id), asDouble: 5 };
  expect(metrics[2]).toMatchObject({ name: 'h_seconds', unit: 's', histogram: { aggregationTemporality: 2 } });
  expect(point).toMatchObject({ startTimeUnixNano, timeUnixNano, attributes, count: '4', sum: 6.15 });
  expect(point).toMatchObject({ bucketCounts: ['1', '2', '1'], explicitBounds: [0.1, 1], exemplars: [exemplar] });
});

test('a series counts since the process began; one that comes, or comes again with less, since the collection before', () => {
  const starts = new StartTimes(START);
  const family = (value: number, ...backends: string[]): Family => ({
    name: 'c_total',
    help: '',
    unit: '1',
    type: 'counter',
    points: backends.map((backend) => ({ labels: { backend }, value })),
  });
  const startsOf = (at: number, families: Family) => {
    const { resourceMetrics } = decode(encodeOtlp([families], { ...context(starts), at }));
    starts.collected(at);
    const points = resourceMetrics[0]?.scopeMetrics[0]?.metrics[0]?.sum?.dataPoints ?? [];
    return points.map((p) => Number(BigInt(p.startTimeUnixNano as string) / 1_000_000n));
  };
  expect(startsOf(AT, family(5, 'a'))).toEqual([START]);
  expect(startsOf(AT + 1, family(6, 'a', 'b'))).toEqual([START, AT]);
  expect(startsOf(AT + 2, family(2, 'a', 'b'))).toEqual([AT + 1, AT + 1]);
  expect(startsOf(AT + 3, family(2, 'b'))).toEqual([AT + 1]);
  expect(startsOf(AT + 4, family(9, 'a', 'b'))).toEqual([AT + 3, AT + 1]);
});

test('what a receiver left out is read from its answer', () => {
  const partialSuccess = { rejectedDataPoints: 12, errorMessage: 'too old' };
  const answer = ExportMetricsServiceResponse.encode({ partialSuccess }).finish();
  expect(rejectedPoints(answer)).toEqual({ points: 12, reason: 'too old' });
  expect(rejectedPoints(new Uint8Array())).toEqual({ points: 0, reason: '' });
  expect(rejectedPoints(Buffer.from('<html>'))).toMatchObject({ points: 0 });
});
