import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { CATALOGUE as CONTROL_PLANE } from '../control-plane/src/telemetry/catalogue.ts';
import { CATALOGUE, type MetricEntry, PROCESS_METRICS } from '../edge-agent/src/telemetry/catalogue.ts';
import { HEP_LOSSES } from '../edge-agent/src/telemetry/hep/counts.ts';
import { DROP_REASONS, REFUSALS } from '../edge-agent/src/telemetry/slab.ts';
import { runbookOf } from './src/alert.ts';
import { ALERTS, alertsAt } from './src/alerts.ts';
import { generatedFiles } from './src/files.ts';
import { build, UID } from './src/page.ts';
import { PAGES } from './src/pages.ts';
import { RECORDING } from './src/recording.ts';

const ROOT = join(import.meta.dirname, '..');

interface Target {
  expr?: string;
  refId?: string;
  datasource?: unknown;
}
interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: Target[];
  transformations?: {
    id: string;
    options: { renameByName?: Record<string, string>; sort?: { field: string }[] };
  }[];
  fieldConfig?: { defaults: { links?: { url: string }[] } };
}
interface Dashboard {
  uid: string;
  panels: Panel[];
  templating: { list: { name: string }[] };
  annotations: { list: { expr: string }[] };
}
const dashboards = PAGES.map((page) => JSON.parse(JSON.stringify(build(page))) as Dashboard);
const panels = dashboards.flatMap(({ uid, panels: all }) => all.map((panel) => ({ uid, ...panel })));
const data = panels.filter(({ type }) => type !== 'row');

/** Every metric that PromQL names. */
const metricsIn = (expr: string): string[] =>
  expr.match(/\b(?:(?:farm|backend)(?:_origin)?:)?(?:sipfleet|process|nodejs)_[a-z0-9_:]+/g) ?? [];

test('what is committed is what the definitions give', () => {
  const files = generatedFiles();
  for (const [path, content] of files)
    expect(readFileSync(join(import.meta.dirname, path), 'utf8'), `${path}: run npm run dashboards`).toBe(content);
  for (const folder of ['grafana', 'rules'])
    for (const name of readdirSync(join(import.meta.dirname, folder)))
      expect([...files.keys()], 'a generated file that is generated no more').toContain(`${folder}/${name}`);
});

test('every metric that a query or rule names is in a catalogue or recorded by a rule', () => {
  const entries = [...Object.values(CATALOGUE), ...Object.values(CONTROL_PLANE)];
  const known = new Set<string>([
    ...PROCESS_METRICS,
    ...entries.flatMap(({ name, type }) =>
      type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    ),
  ]);
  const recorded = RECORDING.flatMap(({ rules }) => rules);
  for (const { record, expr } of recorded) {
    expect(metricsIn(expr).filter((name) => !known.has(name))).toEqual([]);
    expect(metricsIn(expr).length).toBeGreaterThanOrEqual(2);
    known.add(record);
  }
  const queries = [
    ...data.flatMap(({ targets = [] }) => targets.map(({ expr = '' }) => expr)),
    ...ALERTS.flatMap(({ rules }) => rules.map(({ expr }) => expr)),
    ...dashboards.flatMap((d) => d.annotations.list.map((a) => a.expr)),
  ];
  expect(queries.length).toBeGreaterThan(100);
  for (const query of queries) {
    if (!query.includes('ALERTS{')) expect(metricsIn(query), query).not.toEqual([]);
    expect(
      metricsIn(query).filter((name) => !known.has(name)),
      query,
    ).toEqual([]);
  }
});

const STATES = ['unknown', 'up', 'down'];

/** Every value that a label of a metric can have, as the code lists them. */
const VALUES: Record<string, readonly string[]> = {
  'sipfleet_dropped_messages_total reason': DROP_REASONS,
  'sipfleet_refused_requests_total reason': REFUSALS,
  'sipfleet_hep_messages_lost_total reason': HEP_LOSSES,
  'sipfleet_backend_state state': STATES,
  'sipfleet_check_phase_results_total result': ['success', 'failure'],
  'sipfleet_session_request_delay_seconds_bucket result': ['success', 'failure'],
};

test('every value that a query or rule asks a label for is one that the code gives it', () => {
  const queries = [
    ...data.flatMap(({ targets = [] }) => targets.map(({ expr = '' }) => expr)),
    ...ALERTS.flatMap(({ rules }) => rules.map(({ expr }) => expr)),
    ...dashboards.flatMap((d) => d.annotations.list.map((a) => a.expr)),
  ];
  const asked = new Set<string>();
  for (const query of queries)
    for (const [, metric = '', matchers = ''] of query.matchAll(/(sipfleet_\w+)\{([^}]*)\}/g))
      for (const [, label = '', value = ''] of matchers.matchAll(/(\w+)!?=~?"([^"]*)"/g)) {
        const known = VALUES[`${metric} ${label}`];
        if (known === undefined) {
          // Free text, or a status.
          expect(['site', 'farm', 'backend', 'agent', 'code', 'code_class', 'transport', 'le'], query).toContain(label);
          continue;
        }
        asked.add(`${metric} ${label}`);
        expect(
          value.split('|').filter((one) => !known.includes(one)),
          query,
        ).toEqual([]);
      }
  expect(asked.size).toBeGreaterThan(3);
});

test('what drops.md and the panel of drops explain are reasons that exist, and what is alerted on is explained', () => {
  const book = readFileSync(join(ROOT, 'docs/runbooks/drops.md'), 'utf8');
  const explained = [...book.matchAll(/`([a-z_]+)`/g)].map(([, reason]) => reason as string);
  expect(explained.filter((reason) => !(DROP_REASONS as readonly string[]).includes(reason))).toEqual([]);
  const alerted = /reason=~"([^"]+)"/.exec(
    ALERTS.flatMap(({ rules }) => rules).find(({ alert }) => alert === 'SipfleetDrops')?.expr ?? '',
  )?.[1];
  expect(explained.toSorted()).toEqual(alerted?.split('|').toSorted());
  const panel = data.find(({ uid, title }) => uid === UID.agent && title === 'Dropped, by reason')?.description ?? '';
  const named = panel.match(/\b[a-z]+_[a-z]+\b/g) ?? [];
  expect(named.filter((reason) => !(DROP_REASONS as readonly string[]).includes(reason))).toEqual([]);
  expect(named.length).toBeGreaterThan(2);
});

/** Labels that a query's series carry: those of its first aggregation, or of the one recorded or plain metric. */
function labelsOf(expr: string): readonly string[] {
  const by = /by \(([^)]*)\)/.exec(expr)?.[1];
  if (by !== undefined) return by.split(', ');
  const [name = ''] = metricsIn(expr);
  const level = /^(farm|backend)(_origin)?:/.exec(name);
  if (level) return ['site', 'farm', ...(level[1] === 'backend' ? ['backend'] : []), ...(level[2] ? ['origin'] : [])];
  const entry = (Object.values(CATALOGUE) as MetricEntry[]).find((e) => e.name === name);
  return ['site', 'agent', ...(entry?.labels ?? [])];
}

test('every row and line from the fleet down to the backend is a link, and its series carry the labels that it needs', () => {
  const down: string[] = [UID.fleet, UID.site, UID.farm, UID.calls, UID.backend, UID.security];
  let links = 0;
  for (const { uid, type, title, targets = [], fieldConfig } of data) {
    const urls = (fieldConfig?.defaults.links ?? []).map(({ url }) => url);
    if (down.includes(uid) && type !== 'stat') expect(urls.length, `${uid}: ${title}`).toBeGreaterThan(0);
    for (const url of urls)
      for (const [, label = ''] of url.matchAll(/\$\{__(?:field\.labels|data\.fields)\.(\w+)/g))
        for (const { expr = '' } of targets) {
          expect(labelsOf(expr), `${uid}: ${title}: ${expr}`).toContain(label);
          links++;
        }
  }
  expect(links).toBeGreaterThan(100);
});

test('tables: no query keeps the name of its metric, which would keep rows apart, and values are called as Grafana calls them', () => {
  const tables = data.filter(({ type }) => type === 'table');
  expect(tables.length).toBeGreaterThan(4);
  for (const { title, targets = [], transformations = [] } of tables) {
    for (const { expr = '' } of targets)
      expect(expr, title).toMatch(/^(time\(\) - |round\()?(sum|max|min|avg|count) by \(/);
    const organize = transformations.find(({ id }) => id === 'organize');
    // @grafana/prometheus, transformDFToTable: `Value #A` where more than one query answers, else `Value`.
    expect(Object.keys(organize?.options.renameByName ?? {}), title).toEqual(
      targets.length === 1 ? ['Value'] : targets.map(({ refId }) => `Value #${refId}`),
    );
    for (const { options } of transformations.filter(({ id }) => id === 'sortBy'))
      expect(Object.values(organize?.options.renameByName ?? {}), title).toContain(options.sort?.[0]?.field);
  }
});

test('links of alerts can be led to wherever runbooks and Grafana are', () => {
  const [rule] = alertsAt({ runbooks: 'https://git.example.com/books', grafana: 'https://grafana.example.com' })
    .flatMap(({ rules }) => rules)
    .filter(({ alert }) => alert === 'SipfleetBackendDown');
  expect(rule?.annotations.runbook_url).toBe('https://git.example.com/books/backend-down.md');
  expect(rule?.annotations.dashboard_url).toMatch(/^https:\/\/grafana\.example\.com\/d\/sipfleet-backend\?/);
});

test('RFC 6076 ratios are made by recording rules alone, and none of them turns what is undefined into 0', () => {
  const parts = /sipfleet_(session|registration)(s_established|s_completed|_[a-z]+)_total/;
  const divided = data.flatMap(({ title, targets = [] }) =>
    targets.filter(({ expr = '' }) => expr.includes('/') && parts.test(expr)).map(() => title),
  );
  expect(divided).toEqual([]);
  for (const { expr } of RECORDING.flatMap(({ rules }) => rules)) {
    expect(expr).toMatch(/\/ \(\(.*\) > 0\)$/);
    expect(expr).not.toMatch(/vector\(|\bor\b/);
  }
});

test('panels: known kinds, an explanation each, numbered, side by side without overlap, on the chosen data source', () => {
  for (const { uid, panels: all } of dashboards) {
    expect(all.map(({ id }) => id)).toEqual(all.map((_, i) => i + 1));
    for (const [i, a] of all.entries()) {
      expect(a.gridPos.x + a.gridPos.w, `${uid}: ${a.title}`).toBeLessThanOrEqual(24);
      for (const b of all.slice(i + 1)) {
        const apart =
          a.gridPos.x + a.gridPos.w <= b.gridPos.x ||
          b.gridPos.x + b.gridPos.w <= a.gridPos.x ||
          a.gridPos.y + a.gridPos.h <= b.gridPos.y ||
          b.gridPos.y + b.gridPos.h <= a.gridPos.y;
        expect(apart, `${uid}: ${a.title} and ${b.title}`).toBe(true);
      }
    }
  }
  for (const { uid, type, title, description, targets = [] } of data) {
    expect(['timeseries', 'stat', 'table'], title).toContain(type);
    expect(description, `${uid}: ${title}`).toMatch(/\.$/);
    expect(targets.length).toBeGreaterThan(0);
    expect(new Set(targets.map((t) => t.refId)).size).toBe(targets.length);
    for (const t of targets) expect(t.datasource).toEqual({ type: 'prometheus', uid: '$datasource' });
  }
});

test('variables: every one that a query uses is defined, every one that is defined is used', () => {
  for (const { uid, panels: all, templating, annotations } of dashboards) {
    const queries = [
      ...all.flatMap(({ targets = [] }) => targets.map((t) => t.expr ?? '')),
      ...annotations.list.map((a) => a.expr),
    ];
    const used = new Set(queries.flatMap((q) => [...q.matchAll(/\$(\w+)/g)].map(([, name]) => name)));
    const defined = (templating?.list ?? [])
      .map(({ name }) => name)
      .filter((n) => !['datasource', 'traces', 'runbooks'].includes(n));
    expect([...used].toSorted(), uid).toEqual(defined.toSorted());
  }
});

const linksOf = () =>
  panels.flatMap(({ uid, title, fieldConfig }) =>
    (fieldConfig?.defaults.links ?? [])
      .filter(({ url }) => !url.startsWith('${'))
      .map(({ url }) => ({ where: `${uid}: ${title}`, url })),
  );

test('links lead to dashboards that exist, with variables that these have', () => {
  const links = linksOf().filter(({ url }) => !url.startsWith('/explore?'));
  expect(links.length).toBeGreaterThan(20);
  for (const { where, url } of links) {
    const target = dashboards.find(({ uid }) => url.startsWith(`/d/${uid}?`));
    const variables = [...url.matchAll(/var-(\w+)=/g)].map(([, name]) => name);
    const has = (target?.templating.list ?? []).map(({ name }) => name);
    expect(
      variables.filter((name) => !has.includes(name as string)),
      where,
    ).toEqual([]);
    expect(target, where).toBeDefined();
  }
  expect(new Set(dashboards.map(({ uid }) => uid))).toEqual(new Set(Object.values(UID)));
});

test('links to traces ask by labels for attributes that spans have', () => {
  const links = linksOf().filter(({ url }) => url.startsWith('/explore?'));
  expect(links.length).toBeGreaterThan(2);
  const sources = ['traces/call-spans.ts', 'traces/check-traces.ts', 'traces/span.ts', 'push/pushes.ts'].map((name) =>
    readFileSync(join(ROOT, 'edge-agent/src/telemetry', name), 'utf8'),
  );
  for (const { where, url } of links) {
    const { sipfleet } = JSON.parse(url.split('panes=')[1] as string);
    const { query } = sipfleet.queries[0];
    for (const [, attribute] of query.matchAll(/(?:span|resource)\.([\w.]+)/g))
      expect(
        sources.some((text) => text.includes(`'${attribute}'`)),
        `${where}: ${attribute}`,
      ).toBe(true);
    expect(query, where).toMatch(/^\{ .* && .* \}$/);
  }
});

test('every alert has a runbook that names it and a dashboard that exists; every runbook has an alert', () => {
  const alerts = ALERTS.flatMap(({ rules }) => rules);
  const books = new Set<string>();
  for (const { alert, labels, annotations } of alerts) {
    expect(labels.runbook).toBe(runbookOf(alert));
    expect(annotations.runbook_url).toBe(`docs/runbooks/${labels.runbook}.md`);
    expect(annotations.dashboard_url).toBe(labels.dashboard);
    books.add(`${labels.runbook}.md`);
    const file = join(ROOT, annotations.runbook_url);
    expect(existsSync(file), annotations.runbook_url).toBe(true);
    const text = readFileSync(file, 'utf8');
    expect(text, annotations.runbook_url).toContain(alert);
    for (const section of ['## What it means', '## What to look at', '## What to do']) expect(text).toContain(section);
    const uid = /^\/d\/([\w-]+)/.exec(labels.dashboard)?.[1];
    expect(Object.values(UID) as string[]).toContain(uid);
  }
  const present = readdirSync(join(ROOT, 'docs/runbooks')).filter((name) => name !== 'README.md');
  expect(new Set(present)).toEqual(books);
});

test('provisioning files name the folders and the data sources that dashboards ask for', () => {
  const read = (path: string) => parse(readFileSync(join(ROOT, 'infra/observability', path), 'utf8'));
  const sources = read('grafana/provisioning/datasources/sipfleet.yaml').datasources as {
    type: string;
    uid: string;
    jsonData?: { exemplarTraceIdDestinations: { name: string; datasourceUid: string }[] };
  }[];
  expect(sources.map(({ type }) => type).toSorted()).toEqual(['prometheus', 'tempo']);
  const [provider] = read('grafana/provisioning/dashboards/sipfleet.yaml').providers;
  const compose = read('compose.yaml');
  const mounts = compose.services.grafana.volumes as string[];
  expect(mounts).toContain(`../../dashboards/grafana:${provider.options.path}:ro`);
  for (const { image } of Object.values<{ image: string }>(compose.services))
    expect(image).toMatch(/:v?\d+\.\d+\.\d+$/);
  // A click on an exemplar leads to its trace: Prometheus keeps them, and Grafana knows by which label, and where.
  expect(compose.services.prometheus.command).toContain('--enable-feature=exemplar-storage');
  const of = (type: string) => sources.find((source) => source.type === type);
  expect(of('prometheus')?.jsonData?.exemplarTraceIdDestinations).toEqual([
    { name: 'trace_id', datasourceUid: of('tempo')?.uid },
  ]);
  expect(read('prometheus.yaml').storage.tsdb.out_of_order_time_window).toMatch(/^\d+h$/);
});

test('every panel that docs/troubleshooting.md sends somebody to is there, and so is the dashboard', () => {
  const text = readFileSync(join(ROOT, 'docs/troubleshooting.md'), 'utf8');
  let named = 0;
  for (const [, title = '', rest = ''] of text.matchAll(/\*\*([A-Z][^*]+)\*\*((?:,? (?:and )?"[^"]+")*)/g)) {
    const uid = PAGES.find((page) => page.title === title)?.uid;
    expect(uid, `docs/troubleshooting.md: dashboard ${title}`).toBeDefined();
    const there = data.filter((panel) => panel.uid === uid).map((panel) => panel.title);
    for (const [, panel = ''] of rest.matchAll(/"([^"]+)"/g)) {
      expect(there, `docs/troubleshooting.md: ${title}`).toContain(panel);
      named++;
    }
  }
  expect(named).toBeGreaterThan(12);
});
