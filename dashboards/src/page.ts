import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import { REPOSITORY } from './alert.ts';
import { exploreTraces, type Link, type Panel, PROMETHEUS } from './panels.ts';

/** Uids of our dashboards: links are made of them. */
export const UID = {
  fleet: 'sipfleet-fleet',
  site: 'sipfleet-site',
  farm: 'sipfleet-farm',
  backend: 'sipfleet-backend',
  calls: 'sipfleet-calls',
  agent: 'sipfleet-agent',
  security: 'sipfleet-security',
  controlPlane: 'sipfleet-control-plane',
} as const;

/** Variables, each filled from the labels of a metric that every agent has from its first minute on. */
const VARIABLES = {
  site: 'label_values(sipfleet_backend_state, site)',
  farm: 'label_values(sipfleet_backend_state{site=~"$site"}, farm)',
  backend: 'label_values(sipfleet_backend_state{site=~"$site",farm=~"$farm"}, backend)',
  agent: 'label_values(sipfleet_build_info{site=~"$site"}, agent)',
} as const;
export type Variable = keyof typeof VARIABLES;

/** `{site=~"$site",farm=~"$farm"}`, with more matchers behind. */
export const where = (variables: readonly Variable[], ...more: string[]): string =>
  `{${[...variables.map((name) => `${name}=~"$${name}"`), ...more].join(',')}}`;

const SITE = { site: 'site' } as const;
const FARM = { ...SITE, farm: 'farm' } as const;
/** Links that a click on a row or line follows: its labels choose what the next dashboard shows. */
export const LINKS = {
  site: { title: 'This site', uid: UID.site, labels: SITE },
  siteFarm: { title: 'This farm at its site', uid: UID.site, labels: FARM },
  farm: { title: 'This farm', uid: UID.farm, labels: FARM },
  calls: { title: 'Calls of this farm', uid: UID.calls, labels: FARM },
  backend: { title: 'This backend', uid: UID.backend, labels: { ...FARM, backend: 'backend' } },
  agent: { title: 'This agent', uid: UID.agent, labels: { ...SITE, agent: 'agent' } },
} as const satisfies Record<string, Link>;

/** Panels under a heading. */
export interface Row {
  title: string;
  panels: readonly Panel[];
}

export interface Page {
  uid: string;
  title: string;
  description: string;
  variables: readonly Variable[];
  rows: readonly Row[];
}

/** The dashboard as Grafana imports it. Panels are numbered in order, so that the same definition gives the same JSON. */
export function build(
  { uid, title, description, variables, rows }: Page,
  runbooks = REPOSITORY.runbooks,
): dashboard.Dashboard {
  const builder = new dashboard.DashboardBuilder(`Sipfleet / ${title}`)
    .uid(uid)
    .description(description)
    .tags(['sipfleet'])
    .timezone('browser')
    .time({ from: 'now-1h', to: 'now' })
    .refresh('30s')
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .withVariable(new dashboard.DatasourceVariableBuilder('datasource').label('Prometheus').type('prometheus'))
    .withVariable(new dashboard.DatasourceVariableBuilder('traces').label('Traces').type('tempo'))
    .annotations(annotations(variables))
    .links(links());
  if (uid === UID.fleet)
    builder.withVariable(
      new dashboard.TextBoxVariableBuilder('runbooks')
        .label('Runbooks')
        .defaultValue(runbooks)
        .current({ text: runbooks, value: runbooks }),
    );
  for (const name of variables) builder.withVariable(variable(name));
  for (const row of rows) {
    builder.withRow(new dashboard.RowBuilder(row.title));
    for (const panel of row.panels) builder.withPanel(panel);
  }
  const built = builder.build();
  for (const [i, panel] of (built.panels ?? []).entries()) panel.id = i + 1;
  return built;
}

const variable = (name: Variable): Builder<dashboard.VariableModel> =>
  new dashboard.QueryVariableBuilder(name)
    .label(name[0]?.toUpperCase() + name.slice(1))
    .datasource(PROMETHEUS)
    .query({ query: VARIABLES[name], refId: name })
    .definition(VARIABLES[name])
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .sort(dashboard.VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    // Agents that run from a file belong to no site.
    .allValue('.*')
    .current({ selected: true, text: 'All', value: '$__all' });

/** Two samples at least, also where they are a minute apart: from one alone nobody sees a change. */
const LOOKBACK = '3m';

const running = (sites: readonly Variable[], offset = ''): string =>
  `count_values by (site) ("generation", sipfleet_snapshot_generation${where(sites)}${offset})`;

/** What changed when: a curve that bends at one of these lines has its cause. */
function annotations(variables: readonly Variable[]): Builder<dashboard.AnnotationQuery>[] {
  const sites = variables.filter((name) => name === 'site');
  const farms = variables.filter((name) => name === 'site' || name === 'farm');
  return [
    annotation(
      'Configuration',
      'blue',
      // The number becomes a label, which a title can show. Those that nobody ran a moment ago are new.
      `${running(sites)} unless ${running(sites, ` offset ${LOOKBACK}`)}`,
      'generation {{generation}} applied in {{site}}',
    ),
    annotation(
      'Backend state',
      'red',
      `max by (site, farm, backend) (changes(sipfleet_backend_state${where(farms, 'state="down"')}[${LOOKBACK}])) > 0`,
      '{{farm}} {{backend}} went down or came back',
    ),
    annotation(
      'Failovers',
      'orange',
      `sum by (site, farm, backend) (increase(sipfleet_failovers_total${where(farms)}[${LOOKBACK}])) > 0`,
      'away from {{farm}} {{backend}}',
    ),
  ];
}

const annotation = (name: string, color: string, expr: string, title: string): Builder<dashboard.AnnotationQuery> =>
  new dashboard.AnnotationQueryBuilder()
    .name(name)
    .datasource(PROMETHEUS)
    .enable(true)
    .iconColor(color)
    .expr(expr)
    .step('60s')
    .titleFormat(title)
    .target(new DataqueryBuilder().refId('Anno').datasource(PROMETHEUS).expr(expr).legendFormat(title));

/** From everywhere to everywhere, with what is chosen; and to the traces of calls that failed. */
function links(): Builder<dashboard.DashboardLink>[] {
  return [
    new dashboard.DashboardLinkBuilder('Sipfleet')
      .type(dashboard.DashboardLinkType.Dashboards)
      .tags(['sipfleet'])
      .asDropdown(true)
      .includeVars(true)
      .keepTime(true),
    new dashboard.DashboardLinkBuilder('Traces of failed calls')
      .type(dashboard.DashboardLinkType.Link)
      .icon('external link')
      .tooltip('What happened to single calls: attempts, decisions, times')
      .url(exploreTraces('{ status = error }')),
  ];
}
