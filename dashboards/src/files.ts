import { stringify } from 'yaml';
import { type Places, REPOSITORY } from './alert.ts';
import { alertsAt } from './alerts.ts';
import { build } from './page.ts';
import { PAGES } from './pages.ts';
import { RECORDING } from './recording.ts';
import { metricsReference } from './reference.ts';

const GENERATED = '# Generated from dashboards/src by npm run dashboards: change it there.\n';

/** Every generated file: path below `dashboards/` → content. */
export function generatedFiles(places: Places = REPOSITORY): Map<string, string> {
  const rules = (groups: unknown) => GENERATED + stringify({ groups }, { lineWidth: 0 });
  return new Map([
    ...PAGES.map((page): [string, string] => [
      `grafana/${page.uid}.json`,
      `${JSON.stringify(build(page, places.runbooks), null, 2)}\n`,
    ]),
    ['rules/recording.yaml', rules(RECORDING)],
    ['rules/alerts.yaml', rules(alertsAt(places))],
    ['../docs/metrics.md', metricsReference()],
  ]);
}
