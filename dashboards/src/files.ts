import { stringify } from 'yaml';
import { ALERTS } from './alerts.ts';
import { build } from './page.ts';
import { PAGES } from './pages.ts';
import { RECORDING } from './recording.ts';
import { metricsReference } from './reference.ts';

const GENERATED = '# Generated from dashboards/src by npm run dashboards: change it there.\n';

/** Every generated file: path below `dashboards/` → content. */
export function generatedFiles(): Map<string, string> {
  const rules = (groups: unknown) => GENERATED + stringify({ groups }, { lineWidth: 0 });
  return new Map([
    ...PAGES.map((page): [string, string] => [`grafana/${page.uid}.json`, `${JSON.stringify(build(page), null, 2)}\n`]),
    ['rules/recording.yaml', rules(RECORDING)],
    ['rules/alerts.yaml', rules(ALERTS)],
    ['../docs/metrics.md', metricsReference()],
  ]);
}
