import { CATALOGUE as CONTROL_PLANE } from '../../control-plane/src/telemetry/catalogue.ts';
import { CATALOGUE, type MetricEntry, PROCESS_METRICS } from '../../edge-agent/src/telemetry/catalogue.ts';
import { RECORDING } from './recording.ts';

/** docs/metrics.md: every metric, as the catalogues and the recording rules have it. */
export function metricsReference(): string {
  return `# Metrics

Made of the catalogues in the code (\`npm run dashboards\`); a test holds it to them. Every series of an agent carries \`agent\`, and \`site\` where there is a control plane,
whether it is scraped (\`/metrics\`) or pushed (OTLP/HTTP, Prometheus remote write).

- What is not known is absent, never 0. Ratios stand in recording rules alone, so that sums over agents and time come first.
- Counters begin with the process; what a new configuration no longer names ends.
- **Pushes** leave in the order in which they were read, one request at a time, so nothing arrives out of order. What a receiver does not take waits on disk (\`--push-spool\`, 64 MiB for each
  receiver; beyond it the oldest go, counted) and follows when it is back: \`npm run soak -- --minutes 75 --exporter-down 60\` shows it with calls going on.
- **A backlog after an outage** is older than what other agents have sent since. Prometheus refuses what is more than an hour behind its newest sample, unless \`out_of_order_time_window\`
  (\`storage.tsdb\`) allows it: give it as many hours as outages may last. Burn rates and ratios of that time are not made anew: recording rules look at now.
- **Interval.** Dashboards and rules work with scrapes and pushes at most a minute apart (\`--push-interval\`): rates look back five minutes, changes three. Between two samples further apart
  nothing is seen to change.
- **Budgets.** A label whose values come from traffic or may be many has a budget per farm: values beyond it count under \`_other\`, so sums stay right and what is beyond can be
  seen. States and disagreements of backends are told for all of them: alerts need each.
- **Buckets, not native histograms.** The client library has no native histograms, Prometheus 2.42 (Debian's) takes them behind a feature flag only, and an alert on
  "within 10 s" needs that very bound. Delays of requests have SIP's own steps: T1 is 0.5 s and doubles (RFC 3261 §17), so one lost packet more is one bucket more. Setup times
  have the means and 95th percentiles of ITU-T E.721; calls of a few seconds, the sign of missing audio, have buckets of their own. A histogram per farm, none per backend: 13 to 15 series each.

## Agent

${table(Object.values(CATALOGUE))}

Of the process, by prom-client (among others): ${PROCESS_METRICS.map((name) => `\`${name}\``).join(', ')}.

## Control plane

${table(Object.values(CONTROL_PLANE))}

## Recording rules

From \`dashboards/rules/recording.yaml\`. Level and window stand in the name: \`farm:…:ratio_rate5m\`.

${rows(
  ['rule', 'expression'],
  RECORDING.flatMap(({ rules }) => rules).map(({ record, expr }) => [`\`${record}\``, `\`${oneLine(expr)}\``]),
)}
`;
}

const table = (entries: readonly MetricEntry[]): string =>
  rows(
    ['metric', 'type', 'labels', 'meaning'],
    entries.map(({ name, type, labels, help, buckets, budget }) => [
      `\`${name}\``,
      type,
      labels.map((label) => `\`${label}\`${budgetOf(budget, label)}`).join(', '),
      help + (buckets ? ` Buckets: ${buckets.join(', ')}.` : ''),
    ]),
  );

function budgetOf(budget: MetricEntry['budget'], label: string): string {
  const most = Object.entries(budget ?? {}).find(([name]) => name === label)?.[1];
  return most === undefined ? '' : ` (${most})`;
}

const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').trim();
const cell = (text: string): string => text.replaceAll('|', '\\|');
const rows = (head: readonly string[], body: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...body].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
