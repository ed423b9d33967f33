/**
 * `npm run dashboards`: writes what is generated from `dashboards/src`. For links of alerts that can be clicked:
 * `npm run dashboards -- --out DIR --runbooks https://git.example.com/sipfleet/docs/runbooks --grafana https://grafana.example.com`
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { REPOSITORY } from './src/alert.ts';
import { generatedFiles } from './src/files.ts';

const { values } = parseArgs({
  options: {
    out: { type: 'string' },
    runbooks: { type: 'string', default: REPOSITORY.runbooks },
    grafana: { type: 'string', default: REPOSITORY.grafana },
  },
});
const withoutSlash = (url: string): string => url.replace(/\/+$/, '');
const places = { runbooks: withoutSlash(values.runbooks), grafana: withoutSlash(values.grafana) };
const root = values.out === undefined ? import.meta.dirname : join(resolve(values.out), 'dashboards');

for (const [path, content] of generatedFiles(places)) {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}
