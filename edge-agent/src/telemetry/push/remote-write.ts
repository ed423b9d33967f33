import { PbfWriter } from 'pbf';
import snappy from 'snappyjs';
import type { Exemplar, Family, HistogramPoint, Labels } from './family.ts';
import { seriesKey } from './start-times.ts';

/** Field numbers: prometheus/prompb/remote.proto and types.proto, Remote-Write 1.0. */
const METADATA_TYPE = { counter: 1, gauge: 2, histogram: 3 } as const;

interface Sample {
  labels: Labels;
  value: number;
  exemplar?: Exemplar | undefined;
}

/** A sample that ends its series: this very NaN (Remote-Write 1.0, "Stale Markers"). */
const STALE = Symbol('stale');
interface Series extends Omit<Sample, 'value'> {
  value: number | typeof STALE;
}

/**
 * Which series were sent, so that those that end can be marked: else a backend that left the configuration would seem to live on
 * for five minutes.
 */
export class SentSeries {
  #known = new Map<string, Labels>();
  #seen = new Map<string, Labels>();

  note(key: string, labels: Labels): void {
    this.#seen.set(key, labels);
  }

  /** Ends a collection: the series of the one before that were not in it. */
  ended(): Labels[] {
    const ended = [...this.#known].filter(([key]) => !this.#seen.has(key)).map(([, labels]) => labels);
    this.#known = this.#seen;
    this.#seen = new Map();
    return ended;
  }
}

/** A snappy-compressed WriteRequest with these families, read `at` (milliseconds since the epoch). */
export function encodeRemoteWrite(
  families: readonly Family[],
  external: Labels,
  at: number,
  sent: SentSeries,
): Uint8Array {
  const writer = new PbfWriter();
  for (const family of families) {
    for (const sample of samplesOf(family)) {
      const labels = { ...external, ...sample.labels };
      sent.note(seriesKey('', labels), labels);
      writer.writeMessage(1, (s: Series, w) => writeSeries(s, at, w), { ...sample, labels });
    }
    writer.writeMessage(3, writeMetadata, family);
  }
  return compress(writer);
}

/** A WriteRequest that ends these series. */
export function encodeEnded(series: readonly Labels[], at: number): Uint8Array {
  const writer = new PbfWriter();
  for (const labels of series)
    writer.writeMessage(1, (s: Series, w) => writeSeries(s, at, w), { labels, value: STALE });
  return compress(writer);
}

const compress = (writer: PbfWriter): Uint8Array => snappy.compress(writer.finish());

function* samplesOf(family: Family): Generator<Sample> {
  if (family.type === 'histogram') {
    for (const point of family.points) yield* histogramSamples(family.name, point);
    return;
  }
  for (const { labels, value } of family.points) yield { labels: { __name__: family.name, ...labels }, value };
}

/** The classic form: cumulative `_bucket` series, `_sum` and `_count`. */
function* histogramSamples(name: string, point: HistogramPoint): Generator<Sample> {
  let below = 0;
  for (const [i, count] of point.counts.entries()) {
    below += count;
    const bound = point.bounds[i];
    const [low, high] = [point.bounds[i - 1] ?? Number.NEGATIVE_INFINITY, bound ?? Number.POSITIVE_INFINITY];
    const exemplar = point.exemplars.find((e) => e.value > low && e.value <= high);
    const le = bound === undefined ? '+Inf' : String(bound);
    yield { labels: { __name__: `${name}_bucket`, ...point.labels, le }, value: below, exemplar };
  }
  yield { labels: { __name__: `${name}_sum`, ...point.labels }, value: point.sum };
  yield { labels: { __name__: `${name}_count`, ...point.labels }, value: point.count };
}

function writeSeries({ labels, value, exemplar }: Series, at: number, w: PbfWriter): void {
  writeLabels(w, labels);
  w.writeMessage(
    2,
    (v: Series['value'], s) => {
      if (v === STALE) {
        s.writeTag(1, 1);
        s.writeFixed32(2);
        s.writeFixed32(0x7ff0_0000);
      } else s.writeDoubleField(1, v);
      s.writeVarintField(2, at);
    },
    value,
  );
  if (!exemplar) return;
  const write = (e: Exemplar, x: PbfWriter) => {
    writeLabels(x, e.labels);
    x.writeDoubleField(2, e.value);
    x.writeVarintField(3, e.at);
  };
  w.writeMessage(3, write, exemplar);
}

/** Sorted by name, none empty: receivers refuse anything else. */
function writeLabels(w: PbfWriter, labels: Labels): void {
  const sorted = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, value] of sorted)
    if (value !== '')
      w.writeMessage(
        1,
        (text: string, l) => {
          l.writeStringField(1, name);
          l.writeStringField(2, text);
        },
        value,
      );
}

function writeMetadata({ name, help, type, unit }: Family, w: PbfWriter): void {
  w.writeVarintField(1, METADATA_TYPE[type]);
  w.writeStringField(2, name);
  w.writeStringField(4, help);
  if (unit !== undefined && unit !== '1') w.writeStringField(5, unit);
}
