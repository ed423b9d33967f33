import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Farm, secretReferences } from '@sipfleet/contract';
import { expect, onTestFinished, test } from 'vitest';
import { parseDocuments } from './documents.ts';

test('the TLS example is valid and names no Secret that it does not hold', async () => {
  const text = await readFile(join(import.meta.dirname, '..', '..', '..', 'infra', 'examples', 'tls.yaml'), 'utf8');
  const directory = await mkdtemp(join(tmpdir(), 'sipfleet-example-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  for (const [, file] of text.matchAll(/\{ file: (\S+) \}/g)) await writeFile(join(directory, file!), `PEM of ${file}`);

  const resources = parseDocuments([{ file: 'tls.yaml', text, directory }]).map((d) => d.resource);
  const secrets = resources.flatMap((r) => (r.kind === 'Secret' ? [r] : []));
  const farm = resources.find((r) => r.kind === 'Farm') as Farm;
  const named = new Set(secretReferences(farm).map(({ name }) => name));
  expect([...named].sort()).toEqual(secrets.map(({ name }) => name).sort());
  expect(secrets[0]?.data).toMatchObject({ privateKey: 'PEM of pbx.example.com.key' });
  expect(farm.listeners.map(({ transport }) => transport)).toEqual(['udp', 'tls', 'wss']);
});
