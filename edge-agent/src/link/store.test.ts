import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canonicalJson } from '@sipfleet/contract';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sha256 } from './client.ts';
import { snapshotOf } from './control-plane.fixture.ts';
import { type SnapshotRecord, SnapshotStore } from './store.ts';

let data: string;
let store: SnapshotStore;
/** Why the signature of what is loaded is not accepted. */
let refused: string | undefined;
const trust = {
  checkStored: () => {
    if (refused !== undefined) throw new Error(refused);
  },
};
beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'sipfleet-'));
  refused = undefined;
  store = new SnapshotStore(data, trust);
});
afterEach(() => rm(data, { recursive: true }));

const recordOf = (body: Buffer): SnapshotRecord => ({
  snapshot: body.toString(),
  signature: 'signed',
  secrets: { bundle: 'sealed', signature: null },
});
const file = (generation: number, backends?: string[]) => {
  const body = Buffer.from(canonicalJson(snapshotOf(generation, backends)));
  return { generation, body, etag: sha256(body), name: `${generation}-${sha256(body)}.json` };
};
const save = async (generation: number, backends?: string[]) => {
  const f = file(generation, backends);
  await store.save(f.etag, f.generation, recordOf(f.body));
  return f;
};
const names = async () => (await readdir(join(data, 'snapshots'))).sort();

test('an empty store has nothing to load', async () => {
  expect(await store.load()).toBeUndefined();
});

test('what was saved is loaded, readable by its owner only, and the newest three are kept', async () => {
  const saved = [];
  for (const generation of [8, 9, 10, 11]) saved.push(await save(generation));
  expect(await names()).toEqual(
    saved
      .slice(1)
      .map((f) => f.name)
      .sort(),
  );
  expect((await stat(join(data, 'snapshots', saved[3]!.name))).mode & 0o777).toBe(0o600);
  expect(await store.load()).toMatchObject({ etag: saved[3]!.etag, snapshot: { generation: 11 }, skipped: [] });
});

test.for([
  ['changed', (stored: string) => stored.replace('pbx1', 'pbx9'), 'SHA-256'],
  ['truncated', (stored: string) => stored.slice(0, 100), 'JSON'],
  ['empty', () => '', 'JSON'],
  ['foreign', () => '{"format":1}', 'SHA-256'],
] as const)('a %s file is passed over for the one before, and named', async ([_what, damage, why]) => {
  const [before, last] = [await save(1), await save(2)];
  const path = join(data, 'snapshots', last.name);
  await writeFile(path, damage(await readFile(path, 'utf8')));
  const loaded = await store.load();
  expect(loaded?.etag).toBe(before.etag);
  expect(loaded?.skipped).toEqual([expect.stringMatching(new RegExp(`${last.name}: .*${why}`))]);
});

test('a file that is whole and not signed by whom we trust is no snapshot; its Secrets come with one that is', async () => {
  await save(1);
  expect((await store.load())?.secrets).toEqual({ bundle: 'sealed', signature: null });
  refused = 'the snapshot is not signed';
  expect(await store.load()).toBeUndefined();
});

test('a file that is whole but not of this contract is passed over', async () => {
  const before = await save(1);
  const body = Buffer.from('{"format":2}');
  await writeFile(join(data, 'snapshots', `2-${sha256(body)}.json`), JSON.stringify(recordOf(body)));
  expect(await store.load()).toMatchObject({ etag: before.etag, skipped: [expect.stringContaining('format')] });
});

test('what a crash left half written is no snapshot', async () => {
  const saved = await save(1);
  await writeFile(join(data, 'snapshots', `2-${'a'.repeat(64)}.json.tmp`), '{');
  expect((await store.load())?.etag).toBe(saved.etag);
});

test('a control plane that started over counts low again: the last applied is loaded, not the greatest number', async () => {
  await save(40);
  await save(41);
  const fresh = await save(2);
  expect((await store.load())?.etag).toBe(fresh.etag);
  expect(await names()).toEqual([fresh.name]);
});

test('the same generation with other content replaces it; the same content stays', async () => {
  await save(5, ['a']);
  const other = await save(5, ['b']);
  await save(5, ['b']);
  expect(await names()).toEqual([other.name]);
});

test('a store that cannot be written says where', async () => {
  await writeFile(join(data, 'snapshots'), 'a file where the directory should be');
  await expect(save(1)).rejects.toMatchObject({
    code: 'STORE',
    message: expect.stringContaining(join(data, 'snapshots')),
  });
});
