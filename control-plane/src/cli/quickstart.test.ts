import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Farm } from '@sipfleet/contract';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { PHONES } from '../../../test/demo-pbx/users.ts';
import { parseDocuments } from './documents.ts';
import type { Io } from './io.ts';
import { DEMO_USERS, placeQuickstart, readQuickstart } from './quickstart.ts';

test('the quickstart gets the address that was asked for and the PBXs that run', async () => {
  const documents = await readQuickstart({ cwd: '/' } as Io);
  const placed = placeQuickstart(documents, { host: '::1', port: 5070 }, [
    { host: '::1', port: 1001 },
    { host: '::1', port: 1002 },
  ]);
  const farm = placed.find((d) => d.resource.kind === 'Farm')?.resource as Farm;
  expect(farm.listeners.map((l) => `${l.transport} ${l.address} ${l.port}`)).toEqual(['udp ::1 5070', 'tcp ::1 5070']);
  expect(farm.backends.map((b) => `${b.address} ${b.port}`)).toEqual(['::1 1001', '::1 1002']);
  // What a new user should see at once: a check that hears.
  expect(farm.checks.map((check) => [check.name, check.type])).toContainEqual(['audio', 'call']);
});

test('the users that are shown are those that the demo PBXs know', () => {
  expect(Object.fromEntries(DEMO_USERS.map((u) => [u.user, u.password]))).toEqual(PHONES);
});

test('the commented example is valid and shows every field', async () => {
  const file = fileURLToPath(new URL('../../../infra/examples/farm.yaml', import.meta.url));
  const text = await readFile(file, 'utf8');
  const documents = parseDocuments([{ file: 'farm.yaml', text }]);
  const farm = documents[1]?.resource as Farm;
  // Defaults fill in what is not written, so what stands in the file itself is compared.
  const written = parse(text.split('\n---\n')[1]!) as Record<string, Record<string, unknown>[]>;
  const pending = ['vip', 'security', 'nat'];
  expect(Object.keys(written).sort()).toEqual(
    Object.keys(Farm.shape)
      .filter((k) => !pending.includes(k))
      .sort(),
  );
  expect(Object.keys(written.backends![0]!).sort()).toEqual(Object.keys(farm.backends[0]!).sort());
  expect(Object.keys(written.checks![0]!).sort()).toEqual(Object.keys(farm.checks[0]!).sort());
  expect(Object.keys(written.listeners![0]!).sort()).toEqual(['address', 'advertise', 'port', 'transport']);
});
