import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import * as common from '@grafana/grafana-foundation-sdk/common';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import * as stat from '@grafana/grafana-foundation-sdk/stat';
import * as table from '@grafana/grafana-foundation-sdk/table';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';

export type Panel = Builder<dashboard.Panel>;

/** The data source that the variable of this name holds. */
export const PROMETHEUS = { type: 'prometheus', uid: '$datasource' };

/** A PromQL query and what its series are called. */
export type Query = readonly [expr: string, legend: string];

interface Basics {
  title: string;
  /** What an operator reads behind the small i: what is good, what is bad, where to look next. */
  description: string;
  /** Grafana's name of it: `reqps`, `s`, `percentunit`, `short`, … */
  unit?: string;
  /** Of 24 columns. */
  width: number;
  /** Where a click on a series leads. */
  link?: Link;
  /** A click on a series also leads to traces: attribute (of the span, or `resource.` of who made it) → label of the series. */
  traces?: Traces;
}

/** Spans that a series was made by, as far as their calls are kept. */
export interface Traces {
  title: string;
  attributes: Readonly<Record<string, string>>;
  /** In TraceQL, what else they must be: `status = error`. */
  more?: string;
}

/** A dashboard of ours; the series' labels fill its variables. */
export interface Link {
  title: string;
  uid: string;
  /** Variable → label of the series. */
  labels: Readonly<Record<string, string>>;
}

/** Traces of what failed at a farm or backend; the series must say which. */
export const failedAt = (title: string, labels: readonly ('farm' | 'backend' | 'check')[]): Traces => ({
  title,
  attributes: {
    'resource.sipfleet.site': 'site',
    ...Object.fromEntries(labels.map((label) => [`sip.${label}`, label])),
  },
  more: 'status = error',
});

const HEIGHT = { stat: 4, series: 8, table: 8 } as const;

export interface Series extends Basics {
  queries: readonly Query[];
  stacked?: boolean;
  /** Show the traces that stand behind a histogram's buckets. */
  exemplars?: boolean;
  max?: number;
}

export function series({ queries, stacked, exemplars, max, ...basics }: Series): Panel {
  const panel = new timeseries.PanelBuilder()
    .title(basics.title)
    .description(basics.description)
    .datasource(PROMETHEUS)
    .span(basics.width)
    .height(HEIGHT.series)
    .unit(basics.unit ?? 'short')
    .min(0)
    .fillOpacity(stacked ? 40 : 10)
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(common.LegendDisplayMode.Table)
        .placement(common.LegendPlacement.Bottom)
        .showLegend(true)
        .calcs(['lastNotNull', 'max']),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi).sort(common.SortOrder.Descending),
    );
  if (stacked) panel.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal));
  if (max !== undefined) panel.max(max);
  for (const query of targets(queries)) panel.withTarget(query.range().exemplar(exemplars ?? false));
  const links = [
    ...(basics.link ? [dataLink(basics.link)] : []),
    ...(basics.traces ? [tracesLink(basics.traces)] : []),
  ];
  if (links.length > 0) panel.dataLinks(links);
  return panel;
}

export interface Stat extends Basics {
  queries: readonly Query[];
  /** From which value on it is yellow and red; `below`: from which value down. */
  warn?: readonly [yellow: number, red: number];
  below?: readonly [yellow: number, red: number];
  /** Shown where the query has no result: what is undefined is not 0. */
  none?: string;
  /** The value of now, and by its legend whose it is: for queries of the one that stands out. */
  named?: boolean;
}

export function statistic({ queries, warn, below, none, named, ...basics }: Stat): Panel {
  const panel = new stat.PanelBuilder()
    .title(basics.title)
    .description(basics.description)
    .datasource(PROMETHEUS)
    .span(basics.width)
    .height(HEIGHT.stat)
    .unit(basics.unit ?? 'short')
    .noValue(none ?? '–')
    .graphMode(named ? common.BigValueGraphMode.None : common.BigValueGraphMode.Area)
    .textMode(named ? common.BigValueTextMode.ValueAndName : common.BigValueTextMode.Auto)
    .colorMode(common.BigValueColorMode.Value)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .thresholds(thresholds(warn, below));
  for (const query of targets(queries)) panel.withTarget(named ? query.instant() : query.range());
  if (basics.link) panel.dataLinks([dataLink(basics.link)]);
  return panel;
}

function thresholds(warn: Stat['warn'], below: Stat['below']): dashboard.ThresholdsConfigBuilder {
  const steps: dashboard.Threshold[] = below
    ? [
        { value: null as never, color: 'red' },
        { value: below[1], color: 'yellow' },
        { value: below[0], color: 'green' },
      ]
    : [{ value: null as never, color: 'green' }];
  if (warn) steps.push({ value: warn[0], color: 'yellow' }, { value: warn[1], color: 'red' });
  return new dashboard.ThresholdsConfigBuilder().mode(dashboard.ThresholdsMode.Absolute).steps(steps);
}

export interface Table extends Basics {
  /**
   * One column of values per query. Grafana's merge joins rows whose labels are alike, the name of the metric included: every query must
   * have lost it in an aggregation, or a farm has a row for each metric.
   */
  columns: readonly { title: string; expr: string; unit?: string }[];
  /** The column that begins with its highest value. */
  worst?: string;
  /** Columns that are not shown: they are there for links. */
  hidden?: readonly string[];
  /** Where else a click on a row leads; `${__data.fields.NAME:raw}` is what stands in a column. */
  urls?: readonly { title: string; url: string }[];
}

export function tabular({ columns, worst, hidden = [], urls = [], ...basics }: Table): Panel {
  const panel = new table.PanelBuilder()
    .title(basics.title)
    .description(basics.description)
    .datasource(PROMETHEUS)
    .span(basics.width)
    .height(HEIGHT.table)
    .unit(basics.unit ?? 'short')
    .withTransformation({ id: 'merge', options: {} })
    .withTransformation({
      id: 'organize',
      options: {
        excludeByName: { Time: true },
        // Grafana names the query only where there are several.
        renameByName: Object.fromEntries(
          columns.map(({ title }, i) => [columns.length === 1 ? 'Value' : `Value #${refId(i)}`, title]),
        ),
      },
    });
  if (worst) panel.withTransformation({ id: 'sortBy', options: { sort: [{ field: worst, desc: true }] } });
  for (const name of hidden) panel.overrideByName(name, [{ id: 'custom.hidden', value: true }]);
  for (const [i, { expr, title, unit }] of columns.entries()) {
    panel.withTarget(
      target(expr, '', i)
        .format('table' as never)
        .instant(),
    );
    if (unit) panel.overrideByName(title, [{ id: 'unit', value: unit }]);
  }
  // A table's label is a column, not a label of a series.
  const toPage = basics.link ? [dataLink(basics.link, (label) => `\${__data.fields.${label}}`)] : [];
  const toUrls = urls.map(({ title, url }) => new dashboard.DashboardLinkBuilder(title).url(url));
  if (toPage.length + toUrls.length > 0) panel.dataLinks([...toPage, ...toUrls]);
  return panel;
}

const refId = (index: number): string => String.fromCharCode('A'.charCodeAt(0) + index);

const target = (expr: string, legend: string, index: number): DataqueryBuilder =>
  new DataqueryBuilder().refId(refId(index)).datasource(PROMETHEUS).expr(expr).legendFormat(legend);

const targets = (queries: readonly Query[]): DataqueryBuilder[] =>
  queries.map(([expr, legend], i) => target(expr, legend, i));

function dataLink(
  { title, uid, labels }: Link,
  value = (label: string) => `\${__field.labels.${label}}`,
): dashboard.DashboardLinkBuilder {
  const variables = Object.entries(labels).map(([variable, label]) => `&var-${variable}=${value(label)}`);
  const url = `/d/${uid}?\${__url_time_range}&\${datasource:queryparam}${variables.join('')}`;
  return new dashboard.DashboardLinkBuilder(title).url(url);
}

/** To Tempo by TraceQL. Grafana puts a series' labels into the URL, percent-encoded, and what stands in braces otherwise must be left alone. */
function tracesLink({ title, attributes, more }: Traces): dashboard.DashboardLinkBuilder {
  const label = (name: string): string => `\${__field.labels.${name}}`;
  const conditions = Object.entries(attributes).map(
    ([attribute, name]) => `${attribute.startsWith('resource.') ? '' : 'span.'}${attribute} = "${label(name)}"`,
  );
  return new dashboard.DashboardLinkBuilder(title)
    .url(exploreTraces(`{ ${[...conditions, ...(more ? [more] : [])].join(' && ')} }`))
    .targetBlank(true);
}

/** Grafana's Explore with a TraceQL query, over the time that is looked at. */
export function exploreTraces(query: string): string {
  const panes = {
    sipfleet: {
      datasource: '$traces',
      queries: [{ refId: 'A', queryType: 'traceql', query }],
      range: { from: '$__from', to: '$__to' },
    },
  };
  return `/explore?schemaVersion=1&panes=${JSON.stringify(panes)}`;
}
