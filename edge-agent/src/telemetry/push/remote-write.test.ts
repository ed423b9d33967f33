import { PbfReader } from 'pbf';
import snappy from 'snappyjs';
import { expect, test } from 'vitest';
import type { Family } from './family.ts';
import { encodeEnded, encodeRemoteWrite, SentSeries } from './remote-write.ts';

interface Sample {
  labels: [string, string][];
  value: number;
  /** The value's bytes: NaNs are not alike. */
  bits: string;
  at: number;
  exemplar?: { labels: [string, string][]; value: number; at: number };
}

/** prometheus/prompb, read field by field. */
function decode(bytes: Uint8Array): Sample[] {
  const label = (tag: number, into: [string, string], p: PbfReader) => {
    if (tag === 1 || tag === 2) into[tag - 1] = p.readString();
  };
  const sample = (tag: number, into: Sample, p: PbfReader) => {
    if (tag === 1) {
      into.bits = Buffer.from(p.buf.subarray(p.pos, p.pos + 8)).toString('hex');
      into.value = p.readDouble();
    } else if (tag === 2) into.at = p.readVarint(true);
  };
  const exemplar = (tag: number, into: NonNullable<Sample['exemplar']>, p: PbfReader) => {
    if (tag === 1) into.labels.push(p.readMessage(label, ['', ''] as [string, string]));
    else if (tag === 2) into.value = p.readDouble();
    else if (tag === 3) into.at = p.readVarint(true);
  };
  const series = (tag: number, into: Sample, p: PbfReader) => {
    if (tag === 1) into.labels.push(p.readMessage(label, ['', ''] as [string, string]));
    else if (tag === 2) p.readMessage(sample, into);
    else if (tag === 3) into.exemplar = p.readMessage(exemplar, { labels: [], value: 0, at: 0 });
  };
  const found: Sample[] = [];
  new PbfReader(snappy.uncompress(bytes)).readFields((tag, into, p) => {
    if (tag === 1) into.push(p.readMessage(series, { labels: [], value: 0, bits: '', at: 0 } as Sample));
  }, found);
  return found;
}

const AT = 1_790_000_060_456;
const counter = (...backends: string[]): Family => ({
  name: 'c_total',
  help: 'C.',
  unit: '1',
  type: 'counter',
  points: backends.map((backend) => ({ labels: { farm: 'pbx', backend, empty: '' }, value: 3 })),
});

test('labels are sorted and none is empty; times are in milliseconds', () => {
  const [sample] = decode(encodeRemoteWrite([counter('a')], { job: 'sipfleet-agent' }, AT, new SentSeries()));
  const labels = [
    ['__name__', 'c_total'],
    ['backend', 'a'],
    ['farm', 'pbx'],
    ['job', 'sipfleet-agent'],
  ];
  expect(sample).toMatchObject({ labels, value: 3, at: AT });
});

test('a histogram becomes cumulative buckets, sum and count; an exemplar stands at its bucket', () => {
  const exemplar = { labels: { trace_id: 'ab' }, value: 0.5, at: AT - 1 };
  const family: Family = {
    name: 'h_seconds',
    help: 'H.',
    unit: 'seconds',
    type: 'histogram',
    points: [{ labels: {}, bounds: [0.1, 1], counts: [1, 2, 1], count: 4, sum: 6.15, exemplars: [exemplar] }],
  };
  const samples = decode(encodeRemoteWrite([family], {}, AT, new SentSeries()));
  expect(samples.map(({ labels, value }) => [Object.fromEntries(labels), value])).toEqual([
    [{ __name__: 'h_seconds_bucket', le: '0.1' }, 1],
    [{ __name__: 'h_seconds_bucket', le: '1' }, 3],
    [{ __name__: 'h_seconds_bucket', le: '+Inf' }, 4],
    [{ __name__: 'h_seconds_sum' }, 6.15],
    [{ __name__: 'h_seconds_count' }, 4],
  ]);
  expect(samples.map((s) => s.exemplar)).toEqual([
    undefined,
    { labels: [['trace_id', 'ab']], value: 0.5, at: AT - 1 },
    undefined,
    undefined,
    undefined,
  ]);
});

test('a series that ends is ended, once', () => {
  const sent = new SentSeries();
  encodeRemoteWrite([counter('a', 'b')], {}, AT, sent);
  expect(sent.ended()).toEqual([]);
  encodeRemoteWrite([counter('b')], {}, AT, sent);
  const ended = sent.ended();
  expect(ended.map((labels) => labels.backend)).toEqual(['a']);
  expect(decode(encodeEnded(ended, AT))).toMatchObject([{ bits: '020000000000f07f', at: AT }]);
  encodeRemoteWrite([counter('b')], {}, AT, sent);
  expect(sent.ended()).toEqual([]);
});
