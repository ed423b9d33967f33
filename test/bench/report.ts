import { readFileSync, writeFileSync } from 'node:fs';
import type { Machine } from './machine.ts';
import { type Baseline, FIXED_RATES, type Result } from './measure.ts';

export interface Report {
  date: string;
  machine: Machine;
  proxyCore: number;
  mix: string;
  quick: boolean;
  /** Why the figures should not be published; empty: the machine was quiet. */
  doubts: string[];
  /** Pairs per second that generator and sinks do without a proxy. */
  loadMax: number;
  baseline: Baseline;
  results: Result[];
  skipped: string[];
}

/** Peers that the others are set in relation to. */
const REFERENCES = [
  ['kamailio', '× Kamailio stateless'],
  ['kamailio-tm', '× Kamailio tm'],
  ['cfwd', '× bare C'],
] as const;

const whole = (n: number): string => Math.round(n).toLocaleString('en-US');

/** A table in Markdown, its columns padded so that it reads in a terminal too. */
function table(head: string[], rows: string[][]): string {
  const width = head.map((_, column) => Math.max(...[head, ...rows].map((row) => (row[column] as string).length)));
  const line = (cells: string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(width[i]!) : cell.padStart(width[i]!))).join(' | ')} |`;
  const rule = `|${width.map((w, i) => (i === 0 ? '-'.repeat(w + 2) : `${'-'.repeat(w + 1)}:`)).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

function throughput({ results }: Report): string {
  const references = REFERENCES.flatMap(([name, label]) => {
    const reference = results.find((result) => result.peer === name && result.max > 0);
    return reference ? [{ label, max: reference.max }] : [];
  });
  return table(
    ['', 'pairs/s', 'limit', ...FIXED_RATES.map((r) => `µs at ${r / 1000}k/s`), ...references.map((r) => r.label)],
    results.map((result) => [
      result.title,
      `${result.limit === 'load' ? '≥ ' : ''}${whole(result.max)}`,
      result.limit,
      ...result.cpuMicros.map((micros) => (micros === null ? '–' : micros.toFixed(1))),
      ...references.map(({ max }) => (result.max / max).toFixed(2)),
    ]),
  );
}

function latencies({ results }: Report): string {
  return table(
    ['', 'pairs/s', 'p50 µs', 'p50 direct', 'p50 added', 'p99 µs', 'p99 direct', 'p99 added', 'bytes added'],
    results.flatMap(({ title, halfLoad, addedBytes }) => {
      if (halfLoad === null) return [];
      const { rate, through, direct, added } = halfLoad;
      const times = [through.p50, direct.p50, added.p50, through.p99, direct.p99, added.p99];
      return [[title, whole(rate), ...times.map(whole), whole(addedBytes)]];
    }),
  );
}

/** The report as Markdown. */
export function markdown(report: Report): string {
  const { machine } = report;
  return [
    `Measured ${report.date.slice(0, 10)} at revision ${machine.revision}${report.quick ? ', short run' : ''}: ${machine.cpu}, ` +
      `${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.kernel}, Node ${machine.node}, ${machine.compiler}. ` +
      `Proxy on core ${report.proxyCore}, load on the others; requests: ${report.mix}. ` +
      `Generator and sinks alone: ${whole(report.loadMax)} pairs/s.`,
    '',
    'Highest rate at < 0.1 % loss, and CPU per pair:',
    '',
    throughput(report),
    '',
    'Latency at half the highest rate:',
    '',
    latencies(report),
    '',
    ...report.results.map((r) => `- ${r.title}: ${r.version}; ${r.configuration}.`),
    ...report.skipped.map((reason) => `- Not measured: ${reason}.`),
    ...report.doubts.map((doubt) => `- Not to be published: ${doubt}.`),
  ].join('\n');
}

const BEGIN = '<!-- bench:begin, written by `npm run bench -- --record` -->';
const END = '<!-- bench:end -->';

/** Puts the report between the markers of a document. */
export function record(path: string, report: Report): void {
  const document = readFileSync(path, 'utf8');
  const from = document.indexOf(BEGIN);
  const to = document.indexOf(END);
  if (from < 0 || to < from) throw new Error(`${path}: the lines "${BEGIN}" and "${END}" are missing`);
  writeFileSync(path, `${document.slice(0, from + BEGIN.length)}\n${markdown(report)}\n${document.slice(to)}`);
}
