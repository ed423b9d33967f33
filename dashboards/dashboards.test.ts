import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { CATALOGUE as CONTROL_PLANE } from '../control-plane/src/telemetry/catalogue.ts';
import { CATALOGUE, PROCESS_METRICS } from '../edge-agent/src/telemetry/catalogue.ts';
import { ALERTS, runbookOf } from './src/alerts.ts';
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
    expect(metricsIn(query), query).not.toEqual([]);
    expect(
      metricsIn(query).filter((name) => !known.has(name)),
      query,
    ).toEqual([]);
  }
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
      .filter((n) => n !== 'datasource' && n !== 'traces');
    expect([...used].toSorted(), uid).toEqual(defined.toSorted());
  }
});

const linksOf = () =>
  panels.flatMap(({ uid, title, fieldConfig }) =>
    (fieldConfig?.defaults.links ?? []).map(({ url }) => ({ where: `${uid}: ${title}`, url })),
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
  const sources = ['call-spans.ts', 'check-traces.ts', 'span.ts'].map((name) =>
    readFileSync(join(ROOT, 'edge-agent/src/telemetry/traces', name), 'utf8'),
  );
  for (const { where, url } of links) {
    const { sipfleet } = JSON.parse(url.split('panes=')[1] as string);
    const { query } = sipfleet.queries[0];
    for (const [, attribute] of query.matchAll(/span\.([\w.]+)/g))
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
  for (const { alert, annotations } of alerts) {
    expect(annotations.runbook).toBe(runbookOf(alert));
    books.add(annotations.runbook.replace('docs/runbooks/', ''));
    const file = join(ROOT, annotations.runbook);
    expect(existsSync(file), annotations.runbook).toBe(true);
    const text = readFileSync(file, 'utf8');
    expect(text, annotations.runbook).toContain(alert);
    for (const section of ['## What it means', '## What to look at', '## What to do']) expect(text).toContain(section);
    const uid = /^\/d\/([\w-]+)/.exec(annotations.dashboard)?.[1];
    expect(Object.values(UID) as string[]).toContain(uid);
  }
  const present = readdirSync(join(ROOT, 'docs/runbooks')).filter((name) => name !== 'README.md');
  expect(new Set(present)).toEqual(books);
});

test('provisioning files name the folders and the data sources that dashboards ask for', () => {
  const read = (path: string) => parse(readFileSync(join(ROOT, 'infra/observability', path), 'utf8'));
  const sources = read('grafana/provisioning/datasources/sipfleet.yaml').datasources as { type: string }[];
  expect(sources.map(({ type }) => type).toSorted()).toEqual(['prometheus', 'tempo']);
  const [provider] = read('grafana/provisioning/dashboards/sipfleet.yaml').providers;
  const compose = read('compose.yaml');
  const mounts = compose.services.grafana.volumes as string[];
  expect(mounts).toContain(`../../dashboards/grafana:${provider.options.path}:ro`);
  for (const { image } of Object.values<{ image: string }>(compose.services))
    expect(image).toMatch(/:v?\d+\.\d+\.\d+$/);
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
