import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Site } from '@sipfleet/contract';
import { afterAll, describe, expect, test } from 'vitest';
import { storeContract } from './contract.suite.ts';
import { openSqliteStore } from './sqlite.ts';
import { SCHEMA } from './sqlite-schema.ts';

const dir = mkdtempSync(join(tmpdir(), 'sipfleet-store-'));
afterAll(() => rmSync(dir, { recursive: true }));
let files = 0;
const file = () => join(dir, `${files++}.db`);

describe('SQLite in memory', () => storeContract(async () => openSqliteStore(':memory:')));
describe('SQLite in a file', () => storeContract(async () => openSqliteStore(file())));

const write = (name: string, base: number) =>
  ({
    action: 'put',
    spec: Site.parse({ kind: 'Site', name }),
    tokenKeys: [],
    base,
    expected: null,
    actor: 'tester',
    at: '2099-01-02T03:04:05.000Z',
    affects: [],
  }) as const;

test('what was written is there after a restart', async () => {
  const path = file();
  const first = openSqliteStore(path);
  await first.write(write('milan', 0));
  await first.close();
  const second = openSqliteStore(path);
  expect(await second.revision()).toBe(1);
  expect((await second.get('Site', 'milan'))?.spec.name).toBe('milan');
  await second.close();
});

test('two processes on one file see each other and cannot overtake', async () => {
  const path = file();
  const [a, b] = [openSqliteStore(path), openSqliteStore(path)];
  expect((await a.write(write('milan', 0))).status).toBe('written');
  expect(await b.revision()).toBe(1);
  expect((await b.write(write('turin', 0))).status).toBe('moved');
  await a.close();
  await b.close();
});

test('a file of the first version is taken over with what it holds', async () => {
  const path = file();
  const db = new DatabaseSync(path);
  db.exec(SCHEMA);
  db.exec("INSERT INTO agent VALUES ('agt_1', 1, 'edge-1', 'milan', 'x', '1', '2099-01-01T00:00:00.000Z', NULL, NULL)");
  db.exec('PRAGMA user_version = 1');
  db.close();
  const store = openSqliteStore(path);
  expect(await store.agent('agt_1')).toMatchObject({ name: 'edge-1', sealKey: null });
  expect(await store.setSealKey('agt_1', 'k')).toBe(true);
  await store.close();
  const again = openSqliteStore(path);
  expect((await again.agent('agt_1'))?.sealKey).toBe('k');
  await again.close();
});

test('a file of a newer version is refused by name, and left as it is', () => {
  const path = file();
  const db = new DatabaseSync(path);
  db.exec('PRAGMA user_version = 99');
  db.close();
  expect(() => openSqliteStore(path)).toThrow(`cannot open the store ${path}: it was written by a newer version`);
});

test('a path that cannot be opened is named', () => {
  expect(() => openSqliteStore(join(dir, 'absent', 'x.db'))).toThrow(join(dir, 'absent', 'x.db'));
});
