import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Site } from '@sipfleet/contract';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { verifyChain } from '../audit-chain.ts';
import { putNow, putOf, setOf } from './change-set.fixture.ts';
import { changesContract } from './changes.suite.ts';
import { storeContract } from './contract.suite.ts';
import { rolloutsContract } from './rollouts.suite.ts';
import { openSqliteStore } from './sqlite.ts';
import { SCHEMA } from './sqlite-schema.ts';

const dir = mkdtempSync(join(tmpdir(), 'sipfleet-store-'));
afterAll(() => rmSync(dir, { recursive: true }));
let files = 0;
const file = () => join(dir, `${files++}.db`);

describe('SQLite in memory', () => storeContract(async () => openSqliteStore(':memory:')));
describe('SQLite in a file', () => {
  storeContract(async () => openSqliteStore(file()));
  rolloutsContract(async () => openSqliteStore(file()));
  changesContract(async () => openSqliteStore(file()));
});

const write = (name: string, base: number) => setOf(base, [putOf(Site.parse({ kind: 'Site', name }), null)]);

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
  db.exec(
    `INSERT INTO resource VALUES ('Site', 'milan', 2, '2099-01-01T00:00:00.000Z', '{"kind":"Site","name":"milan"}', '[]')`,
  );
  for (const [revision, action] of [
    [1, 'create'],
    [2, 'update'],
  ] as const)
    db.exec(`INSERT INTO audit VALUES (${revision}, '2099-01-01T00:00:00.000Z', 'me', '${action}', 'Site', 'milan')`);
  db.exec('UPDATE global SET revision = 2');
  db.exec('PRAGMA user_version = 1');
  db.close();
  const store = openSqliteStore(path);
  expect(await store.version('Site', 'milan', 2)).toMatchObject({ action: 'update', spec: { name: 'milan' } });
  expect(await putNow(store, { kind: 'Site', name: 'turin' })).toEqual({ status: 'written', revision: 3 });
  const verifier = verifyChain();
  for (const entry of (await store.audit({ limit: 10 })).items) verifier.take(entry);
  expect(verifier.end(await store.auditHead())).toMatchObject({ entries: 3, faults: [] });
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

test('a full disk refuses a write whole, and takes it when there is room again', async () => {
  const path = file();
  const store = openSqliteStore(path);
  await putNow(store, Site.parse({ kind: 'Site', name: 'milan' }));
  const before = await store.configuration();
  const db = new DatabaseSync(path);
  const { page_count: pages } = db.prepare('PRAGMA page_count').get() as { page_count: number };
  db.close();
  // As many pages as there are, for this connection: like a disk without another block.
  const exec = DatabaseSync.prototype.exec;
  const opening = vi.spyOn(DatabaseSync.prototype, 'exec').mockImplementation(function (this: DatabaseSync, sql) {
    exec.call(this, sql);
    if (sql.startsWith('PRAGMA journal_mode')) exec.call(this, `PRAGMA max_page_count = ${pages}`);
  });
  const full = openSqliteStore(path);
  opening.mockRestore();
  const many = Array.from({ length: 31 }, (_, i) =>
    putOf(Site.parse({ kind: 'Site', name: `s${i}`, description: 'x'.repeat(200) }), null),
  );
  await expect(full.write(setOf(1, many))).rejects.toThrow(/full/);
  expect(await full.configuration()).toEqual(before);
  expect((await full.audit({ limit: 10 })).items.length).toBe(1);
  await full.close();
  expect(await store.write(setOf(1, many))).toEqual({ status: 'written', revision: 2 });
  await store.close();
});
