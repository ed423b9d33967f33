import { PbfReader, PbfWriter } from 'pbf';
import type { Exemplar, Family, HistogramPoint, Labels, NumberPoint } from './family.ts';
import { type StartTimes, seriesKey } from './start-times.ts';

/** Field numbers: opentelemetry-proto 1.x, opentelemetry/proto/metrics/v1/metrics.proto and its imports. */
const CUMULATIVE = 2;
/** UCUM. Receivers append the unit to a Prometheus name that lacks it, and `_ratio` to a gauge of unit 1: so that one is left out. */
const UCUM = { seconds: 's', bytes: 'By', '1': '' } as const;

export interface OtlpContext {
  /** Attributes of the resource: service.name and so on. */
  resource: Labels;
  scope: { name: string; version: string };
  /** When the values were read, milliseconds since the epoch. */
  at: number;
  starts: StartTimes;
}

/** An ExportMetricsServiceRequest with these families. Each of them may hold a part of its points only. */
export function encodeOtlp(families: readonly Family[], context: OtlpContext): Uint8Array {
  const writer = new PbfWriter();
  writer.writeMessage(1, writeResourceMetrics, { families, context });
  return writer.finish();
}

function writeResourceMetrics(request: { families: readonly Family[]; context: OtlpContext }, w: PbfWriter): void {
  w.writeMessage(1, (resource: Labels, r) => writeAttributes(r, 1, resource), request.context.resource);
  w.writeMessage(2, writeScopeMetrics, request);
}

function writeScopeMetrics(
  { families, context }: { families: readonly Family[]; context: OtlpContext },
  w: PbfWriter,
): void {
  const writeScope = ({ name, version }: OtlpContext['scope'], s: PbfWriter) => {
    s.writeStringField(1, name);
    s.writeStringField(2, version);
  };
  w.writeMessage(1, writeScope, context.scope);
  for (const family of families) w.writeMessage(2, (f: Family, m) => writeMetric(f, context, m), family);
}

function writeMetric(family: Family, context: OtlpContext, w: PbfWriter): void {
  w.writeStringField(1, family.name);
  w.writeStringField(2, family.help);
  const unit = family.unit === undefined ? '' : UCUM[family.unit];
  if (unit !== '') w.writeStringField(3, unit);
  const start = (labels: Labels, value: number) => context.starts.of(seriesKey(family.name, labels), value);
  if (family.type === 'histogram')
    w.writeMessage(
      9,
      (points: readonly HistogramPoint[], h) => {
        for (const point of points)
          h.writeMessage(
            1,
            (p: HistogramPoint, d) => writeHistogram(p, start(p.labels, p.count), context.at, d),
            point,
          );
        h.writeVarintField(2, CUMULATIVE);
      },
      family.points,
    );
  else if (family.type === 'counter')
    w.writeMessage(
      7,
      (points: readonly NumberPoint[], s) => {
        for (const point of points)
          s.writeMessage(1, (p: NumberPoint, d) => writeNumber(p, start(p.labels, p.value), context.at, d), point);
        s.writeVarintField(2, CUMULATIVE);
        s.writeBooleanField(3, true);
      },
      family.points,
    );
  else
    w.writeMessage(
      5,
      (points: readonly NumberPoint[], g) => {
        for (const point of points)
          g.writeMessage(1, (p: NumberPoint, d) => writeNumber(p, undefined, context.at, d), point);
      },
      family.points,
    );
}

function writeNumber({ labels, value }: NumberPoint, start: number | undefined, at: number, w: PbfWriter): void {
  if (start !== undefined) writeNanos(w, 2, start);
  writeNanos(w, 3, at);
  w.writeDoubleField(4, value);
  writeAttributes(w, 7, labels);
}

function writeHistogram(point: HistogramPoint, start: number, at: number, w: PbfWriter): void {
  writeNanos(w, 2, start);
  writeNanos(w, 3, at);
  w.writeFixed64Field(4, point.count);
  w.writeDoubleField(5, point.sum);
  w.writePackedFixed64(6, [...point.counts]);
  w.writePackedDouble(7, [...point.bounds]);
  for (const exemplar of point.exemplars) w.writeMessage(8, writeExemplar, exemplar);
  writeAttributes(w, 9, point.labels);
}

function writeExemplar({ labels, value, at }: Exemplar, w: PbfWriter): void {
  const { trace_id: trace, span_id: span, ...rest } = labels;
  writeNanos(w, 2, at);
  w.writeDoubleField(3, value);
  if (span !== undefined) w.writeBytesField(4, Buffer.from(span, 'hex'));
  if (trace !== undefined) w.writeBytesField(5, Buffer.from(trace, 'hex'));
  writeAttributes(w, 7, rest);
}

/** KeyValue messages with string values. */
function writeAttributes(w: PbfWriter, tag: number, labels: Labels): void {
  for (const [key, value] of Object.entries(labels))
    w.writeMessage(
      tag,
      (text: string, kv) => {
        kv.writeStringField(1, key);
        kv.writeMessage(2, (t: string, any) => any.writeStringField(1, t), text);
      },
      value,
    );
}

/** A fixed64 of nanoseconds: beyond 2^53, so its halves are written. */
function writeNanos(w: PbfWriter, tag: number, milliseconds: number): void {
  const nanos = BigInt(Math.round(milliseconds)) * 1_000_000n;
  w.writeTag(tag, 1);
  w.writeFixed32(Number(nanos & 0xffff_ffffn));
  w.writeFixed32(Number(nanos >> 32n));
}

/** Data points that a receiver took the request without: `partial_success` of an ExportMetricsServiceResponse. 0 for a body that is none. */
export function rejectedPoints(body: Uint8Array): { points: number; reason: string } {
  const found = { points: 0, reason: '' };
  try {
    new PbfReader(body).readFields((tag, _, response) => {
      if (tag !== 1) return;
      response.readMessage((field, into, partial) => {
        if (field === 1) into.points = partial.readVarint();
        else if (field === 2) into.reason = partial.readString();
      }, found);
    }, found);
  } catch {
    // Not protobuf: the request was taken all the same.
  }
  return found;
}
