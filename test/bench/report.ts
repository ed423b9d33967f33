import { readFileSync, writeFileSync } from 'node:fs';
import type { ChecksResult } from './checks.ts';
import { type ImpairedResult, lost } from './impaired.ts';
import type { Machine } from './machine.ts';
import { type Baseline, FIXED_RATES, type Result } from './measure.ts';
import type { MemoryResult } from './memory.ts';
import { broken, type OverloadResult } from './overload.ts';
import type { Section } from './peers.ts';
import type { StreamResult } from './streams.ts';
import type { SinkCounts } from './telemetry-sink.ts';

export interface Report {
  date: string;
  machine: Machine;
  proxyCore: number;
  mix: string;
  quick: boolean;
  /** Why the figures should not be published; empty: the machine was quiet. */
  doubts: string[];
  skipped: string[];
  pairs?: {
    /** Generator and sinks without a proxy. */
    baseline: Baseline;
    results: Result[];
  };
  calls?: Result[];
  overload?: OverloadResult[];
  impaired?: ImpairedResult[];
  streams?: StreamResult[];
  memory?: MemoryResult[];
  checks?: ChecksResult;
  telemetry?: { pairs: Result[]; sink: SinkCounts };
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

/** The value of each reference, for "× …" columns. */
function references<R extends { peer: string }>(results: readonly R[], of: (result: R) => number) {
  return REFERENCES.flatMap(([name, label]) => {
    const reference = results.find((result) => result.peer === name);
    return reference && of(reference) > 0 ? [{ label, max: of(reference) }] : [];
  });
}

function throughput(results: readonly Result[], what: keyof typeof FIXED_RATES): string {
  const related = references(results, (result) => result.max);
  return table(
    ['', `${what}/s`, 'limit', ...FIXED_RATES[what].map((r) => `µs at ${r / 1000}k/s`), ...related.map((r) => r.label)],
    results.map((result) => [
      result.title,
      `${result.limit === 'load' ? '≥ ' : ''}${whole(result.max)}`,
      result.limit,
      ...result.cpuMicros.map((micros) => (micros === null ? '–' : micros.toFixed(1))),
      ...related.map(({ max }) => (result.max / max).toFixed(2)),
    ]),
  );
}

function latencies(results: readonly Result[], what: keyof typeof FIXED_RATES): string {
  return table(
    ['', `${what}/s`, 'p50 µs', 'p50 direct', 'p50 added', 'p99 µs', 'p99 direct', 'p99 added', 'bytes added'],
    results.flatMap(({ title, halfLoad, addedBytes }) => {
      if (halfLoad === null) return [];
      const { rate, through, direct, added } = halfLoad;
      const times = [through.p50, direct.p50, added.p50, through.p99, direct.p99, added.p99];
      return [[title, whole(rate), ...times.map(whole), whole(addedBytes)]];
    }),
  );
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

function overloads(results: readonly OverloadResult[]): string {
  return table(
    ['', 'highest calls/s', 'offered', 'established', 'refused', 'neither', 'of the established, broken', 'p99 ms'],
    results.flatMap(({ title, max, runs }) =>
      runs.map((run) => [
        title,
        whole(max),
        whole(run.rate),
        percent(run.answered / run.sent),
        percent(run.refused / run.sent),
        percent(Math.max(0, 1 - (run.answered + run.refused) / run.sent)),
        percent(broken(run)),
        whole(run.p99 / 1000),
      ]),
    ),
  );
}

function onBadNetwork(results: readonly ImpairedResult[]): string[] {
  const mebibytes = (bytes: number): string => whole(bytes / 2 ** 20);
  const milliseconds = (micros: number): string => (micros / 1000).toFixed(1);
  const network = results.map(({ title, max, network, answered, proxyDrops }) => {
    const datagrams = network.passed + network.lost;
    const half = max === null ? '' : `half of ${whole(max)} calls/s without impairment; `;
    return `- ${title}: ${half}of ${whole(datagrams)} datagrams ${whole(network.lost)} were lost on purpose, ${whole(network.doubled)} doubled, ${whole(network.delayed)} held back (the BYE of ${whole(answered.byedFirst)} calls came before the ACK, or the ACK never); ${whole(proxyDrops)} more did not fit the proxy's socket.`;
  });
  return [
    table(
      [
        '',
        'calls/s',
        'tried',
        'established',
        'ended',
        'lost',
        'p50 ms',
        'p99 ms',
        'max ms',
        'µs a call',
        'of the core',
      ],
      results.map(({ title, rate, called, cpuMicros, cpuShare, ...rest }) => [
        title,
        ...[rate, called.tried, called.established, called.ended, lost({ called, ...rest })].map(whole),
        ...[called.p50, called.p99, called.max].map(milliseconds),
        whole(cpuMicros),
        percent(cpuShare),
      ]),
    ),
    'Sent again, by the caller and by the callees, and what came again; memory of the proxy in MiB:',
    table(
      ['', 'INVITE', 'BYE', 'ACK', '2xx', '2xx without ACK', 'INVITE came again', 'before', 'quarter 1', '2', '3', '4'],
      results.map(({ title, called, answered, memory }) => [
        title,
        ...[called.invitesAgain, called.byesAgain, called.acksAgain].map(whole),
        ...[answered.answersAgain, answered.gaveUp, answered.invitesAgain].map(whole),
        ...[memory.before, ...memory.quarters].map(mebibytes),
      ]),
    ),
    network.join('\n'),
  ];
}

function overStreams(results: readonly StreamResult[]): string {
  return table(
    ['', 'TCP messages/s', 'TCP connections/s', 'TLS messages/s', 'TLS connections/s'],
    results.map(({ title, tcp, tls }) => [
      title,
      ...[tcp.messages, tcp.connections, tls.messages, tls.connections].map(whole),
    ]),
  );
}

function memories(results: readonly MemoryResult[]): string {
  return table(
    ['', 'open INVITE transaction', 'of which the request', 'idle TCP connection', 'idle TLS connection'],
    results.map(({ title, transaction, requestBytes, tcp, tls }) => [
      title,
      transaction === null ? '–' : whole(transaction),
      transaction === null ? '–' : whole(requestBytes),
      whole(tcp),
      whole(tls),
    ]),
  );
}

function ofChecks({ rows }: ChecksResult): string {
  const percent = (share: number): string => `${(share * 100).toFixed(2)} %`;
  return table(
    ['check', 'probes', 'failed', 'off schedule, p99', 'worst', 'over 5 %'],
    rows.map(({ check, probes, failed, p99, worst, late }) => [
      check,
      ...[probes, failed].map(whole),
      ...[p99, worst].map(percent),
      whole(late),
    ]),
  );
}

/** Everything on, beside everything off. */
function ofTelemetry({ pairs, sink }: NonNullable<Report['telemetry']>): string[] {
  const off = pairs.find(({ peer }) => peer === 'sipfleet-quiet');
  const on = pairs.find(({ peer }) => peer === 'sipfleet-telling');
  const share = off && on && off.max > 0 ? `Everything on keeps ${((100 * on.max) / off.max).toFixed(0)} % of it.` : '';
  // A request and its 200, each received and sent.
  const messages = 4 * (on?.runs.reduce((sum, run) => sum + run.replies, 0) ?? 0);
  const pushes = Object.entries(sink.requests).map(([path, count]) => `${count} requests to ${path}`);
  return [
    `Highest rate at < 0.1 % loss, and CPU per pair, all threads on one core. ${share}`.trim(),
    throughput(pairs, 'pairs'),
    `Told meanwhile: ${whole(sink.hep)} HEP packets of some ${whole(messages)} messages (the rest was given up for want of CPU, and counted), ${pushes.join(', ')}.`,
    configurations(pairs),
  ];
}

function circumstances(report: Report): string {
  const { machine } = report;
  return (
    `Measured ${report.date.slice(0, 10)} at revision ${machine.revision}${report.quick ? ', short run' : ''}: ${machine.cpu}, ` +
    `${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.kernel}, Node ${machine.node}, ${machine.compiler}. ` +
    `Proxy on core ${report.proxyCore}, load on the others.`
  );
}

const configurations = (results: readonly { title: string; version: string; configuration: string }[]): string =>
  results.map((r) => `- ${r.title}: ${r.version}; ${r.configuration}.`).join('\n');

/** What was measured, as Markdown by section. */
export function sections(report: Report): Partial<Record<Section, string>> {
  const blocks = (...parts: string[]): string => [circumstances(report), ...parts].join('\n\n');
  const { pairs, calls, overload, impaired, streams, memory, checks, telemetry } = report;
  return {
    ...(pairs && {
      pairs: blocks(
        `Requests: ${report.mix}. Generator and sinks alone: ${whole(pairs.baseline.max)} pairs/s.`,
        'Highest rate at < 0.1 % loss, and CPU per pair:',
        throughput(pairs.results, 'pairs'),
        'Latency at half the highest rate:',
        latencies(pairs.results, 'pairs'),
        configurations(pairs.results),
      ),
    }),
    ...(calls && {
      calls: blocks(
        'Whole calls (INVITE, 200, ACK, BYE, 200): highest rate at < 0.1 % of calls not ended, and CPU per call:',
        throughput(calls, 'calls'),
        'From INVITE to its 200, at half the highest rate:',
        latencies(calls, 'calls'),
      ),
    }),
    ...(overload && {
      overload: blocks(
        'More whole calls than the proxy can do, for five seconds; nobody sends anything twice:',
        overloads(overload),
      ),
    }),
    ...(impaired && {
      impaired: blocks(
        `Whole calls on a network that loses 2 %, doubles 1 % and holds back 20 % of all datagrams, for ${whole(impaired[0]?.called.seconds ?? 0)} s; callers and callees send again as RFC 3261 says:`,
        ...onBadNetwork(impaired),
      ),
    }),
    ...(streams && {
      streams: blocks(
        'OPTIONS and its 200 over 200 open connections, and each over a connection of its own; clients over TCP or TLS, backends over UDP:',
        overStreams(streams),
      ),
    }),
    ...(memory && { memory: blocks('Bytes:', memories(memory)) }),
    ...(telemetry && { telemetry: blocks(...ofTelemetry(telemetry)) }),
    ...(checks && {
      checks: blocks(
        `${whole(checks.backends)} backends with three checks each (OPTIONS and TCP every 5 s, a call with a second of voice every minute), by the agent's scheduler and probers in a process of their own: ` +
          `${(checks.cpu * 100).toFixed(1)} % of one core. How far probes start from their schedule, of the interval:`,
        ofChecks(checks),
      ),
    }),
  };
}

/** The report as Markdown. */
export function markdown(report: Report): string {
  const notes = [
    ...report.skipped.map((reason) => `- Not measured: ${reason}.`),
    ...report.doubts.map((doubt) => `- Not to be published: ${doubt}.`),
  ];
  return [...Object.values(sections(report)), ...notes].join('\n\n');
}

/** Puts what was measured between its section's markers in a document. */
export function record(path: string, report: Report): void {
  let document = readFileSync(path, 'utf8');
  for (const [name, text] of Object.entries(sections(report))) {
    const begin = `<!-- bench:${name}, written by \`npm run bench -- --record\` -->`;
    const end = `<!-- bench:${name}:end -->`;
    const from = document.indexOf(begin);
    const to = document.indexOf(end);
    if (from < 0 || to < from) throw new Error(`${path}: the lines "${begin}" and "${end}" are missing`);
    document = `${document.slice(0, from + begin.length)}\n${text}\n${document.slice(to)}`;
  }
  writeFileSync(path, document);
}
