import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { metrics, trace } from '../../edge-agent/src/telemetry/otlp-definitions.fixture.ts';

const { ExportTraceServiceRequest } = trace.v1;
const { ExportMetricsServiceRequest } = metrics.v1;

type Value = {
  stringValue?: string;
  intValue?: string;
  doubleValue?: number;
  boolValue?: boolean;
  arrayValue?: { values?: Value[] };
};
interface RawSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes?: { key: string; value: Value }[];
  events?: { name: string; timeUnixNano: string }[];
  links?: { traceId: string; spanId: string }[];
  status?: { code?: number; message?: string };
}
interface RawExemplar {
  traceId?: unknown;
  spanId?: unknown;
  asDouble?: number;
  timeUnixNano: string;
}
interface RawPoint {
  attributes?: { key: string; value: Value }[];
  startTimeUnixNano?: string;
  timeUnixNano: string;
  count: string;
  sum?: number;
  bucketCounts: string[];
  explicitBounds: number[];
  exemplars?: RawExemplar[];
}
interface MetricsRequest {
  resourceMetrics: {
    scopeMetrics: { metrics: { name: string; histogram?: { dataPoints: RawPoint[] } }[] }[];
  }[];
}
interface Request {
  resourceSpans: {
    resource: { attributes: { key: string; value: Value }[] };
    scopeSpans: { scope: { name: string; version: string }; spans: RawSpan[] }[];
  }[];
}

/** A span as it came. */
export interface ReceivedSpan {
  traceId: string;
  spanId: string;
  parentId: string;
  name: string;
  kind: number;
  /** Nanoseconds since the epoch. */
  start: bigint;
  end: bigint;
  attributes: Record<string, unknown>;
  resource: Record<string, unknown>;
  events: string[];
  links: { traceId: string; spanId: string }[];
  error: string | undefined;
}

/** A point of a histogram as it came. Times in nanoseconds since the epoch; a start of 0: none. */
export interface ReceivedHistogram {
  name: string;
  attributes: Record<string, unknown>;
  start: bigint;
  time: bigint;
  count: number;
  sum: number;
  counts: number[];
  bounds: number[];
  exemplars: { traceId: string; spanId: string; value: number; time: bigint }[];
}

/** A span with its children, in the order of their start. */
export interface SpanTree {
  name: string;
  children: SpanTree[];
}

/** Takes traces and metrics by OTLP/HTTP, as a collector does. */
export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  /** Every point that ever came. */
  readonly histograms: ReceivedHistogram[] = [];
  /** What requests are answered with. */
  status = 200;
  /** Headers of the requests. */
  readonly headers: NodeJS.Dict<string | string[]>[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer(async (request, response) => {
      const body = await buffer(request);
      this.headers.push(request.headers);
      const take = (bytes: Uint8Array) =>
        request.url === '/v1/metrics' ? this.#takeMetrics(bytes) : this.#takeSpans(bytes);
      if (this.status === 200) take(request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body);
      response.writeHead(this.status, { 'content-type': 'application/x-protobuf' }).end();
    });
  }

  static async start(): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver();
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    return receiver;
  }

  /** Where traces go. */
  get url(): string {
    return `${this.endpoint}/v1/traces`;
  }

  /** What each signal has its path below. */
  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Spans of one call, by its Call-ID: all of its trace. */
  trace(callId: string): ReceivedSpan[] {
    const ids = new Set(this.spans.filter((s) => s.attributes['sip.call_id'] === callId).map((s) => s.traceId));
    return this.spans.filter((s) => ids.has(s.traceId));
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #takeMetrics(body: Uint8Array): void {
    const decoded = ExportMetricsServiceRequest.toObject(ExportMetricsServiceRequest.decode(body), {
      longs: String,
      bytes: Array,
      defaults: true,
    }) as MetricsRequest;
    for (const { name, histogram } of decoded.resourceMetrics.flatMap((r) => r.scopeMetrics.flatMap((s) => s.metrics)))
      for (const point of histogram?.dataPoints ?? []) this.histograms.push(receivedPoint(name, point));
  }

  #takeSpans(body: Uint8Array): void {
    const decoded = ExportTraceServiceRequest.toObject(ExportTraceServiceRequest.decode(body), {
      longs: String,
      bytes: Array,
    }) as Request;
    for (const { resource, scopeSpans } of decoded.resourceSpans)
      for (const { spans } of scopeSpans) this.spans.push(...spans.map((span) => received(span, resource.attributes)));
  }
}

const hex = (bytes: unknown): string => Buffer.from((bytes as number[] | undefined) ?? []).toString('hex');

const receivedPoint = (name: string, point: RawPoint): ReceivedHistogram => ({
  name,
  attributes: recordOf(point.attributes),
  start: BigInt(point.startTimeUnixNano ?? 0),
  time: BigInt(point.timeUnixNano),
  count: Number(point.count),
  sum: point.sum ?? Number.NaN,
  counts: point.bucketCounts.map(Number),
  bounds: point.explicitBounds,
  exemplars: (point.exemplars ?? []).map(({ traceId, spanId, asDouble, timeUnixNano }) => ({
    traceId: hex(traceId),
    spanId: hex(spanId),
    value: asDouble ?? Number.NaN,
    time: BigInt(timeUnixNano),
  })),
});

function received(span: RawSpan, resource: RawSpan['attributes']): ReceivedSpan {
  return {
    traceId: hex(span.traceId),
    spanId: hex(span.spanId),
    parentId: hex(span.parentSpanId),
    name: span.name,
    kind: span.kind,
    start: BigInt(span.startTimeUnixNano),
    end: BigInt(span.endTimeUnixNano),
    attributes: recordOf(span.attributes),
    resource: recordOf(resource),
    events: (span.events ?? []).map((event) => event.name),
    links: (span.links ?? []).map((link) => ({ traceId: hex(link.traceId), spanId: hex(link.spanId) })),
    error: span.status?.code === 2 ? span.status.message : undefined,
  };
}

const recordOf = (attributes: RawSpan['attributes'] = []): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));

function plain(value: Value): unknown {
  if (value.arrayValue) return (value.arrayValue.values ?? []).map(plain);
  if (value.intValue !== undefined) return Number(value.intValue);
  return value.stringValue ?? value.doubleValue ?? value.boolValue;
}

/** Spans as trees; a span whose parent is not among them is a root. */
export function treesOf(spans: readonly ReceivedSpan[]): SpanTree[] {
  const ids = new Set(spans.map((s) => s.spanId));
  const below = (parent: string | undefined): SpanTree[] =>
    spans
      .filter((s) => (parent === undefined ? !ids.has(s.parentId) : s.parentId === parent))
      .sort((a, b) => Number(a.start - b.start))
      .map(({ name, spanId }) => ({ name, children: below(spanId) }));
  return below(undefined);
}

/** A tree in one line: `call(INVITE(INVITE pbx1) BYE(BYE pbx1))`. */
export const treeText = ({ name, children }: SpanTree): string =>
  children.length === 0 ? name : `${name}(${children.map(treeText).join(' ')})`;
