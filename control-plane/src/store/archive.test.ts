import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sha256 } from '../audit-chain.ts';
import { type ArchiveDeps, createArchive } from './archive.ts';
import { objectDirectory } from './object-directory.ts';
import { openSqliteStore } from './sqlite.ts';
import type { Store, StoredSnapshot } from './store.ts';

const DAY = 86_400_000;
let dir: string;
let store: Store;
let written: StoredSnapshot[];
let clock: number;
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'sipfleet-archive-')), 'snapshots');
  store = openSqliteStore(':memory:');
  written = [];
  clock = Date.parse('2026-01-02T03:04:05.000Z');
});
afterEach(async () => {
  await store.close();
  rmSync(join(dir, '..'), { recursive: true });
});

const watched: ArchiveDeps['store'] = {
  putSnapshot: async (snapshot) => {
    written.push(snapshot);
    await store.putSnapshot(snapshot);
  },
  snapshot: (etag, at) => store.snapshot(etag, at),
};
const open = (objects = true) =>
  createArchive({ store: watched, now: () => clock, ...(objects ? { objects: objectDirectory(dir) } : {}) });
const snapshotOf = (body: string) => ({ site: 'milan', generation: 3, etag: sha256(body), body });
const small = snapshotOf('{"small":true}');
/** Does not compress. */
const large = snapshotOf(JSON.stringify(Array.from({ length: 30_000 }, (_, i) => sha256(String(i)).slice(0, 30))));

test('a small snapshot is kept in the store, a large one as a file that its owner alone may read', async () => {
  const archive = open();
  for (const snapshot of [small, large]) {
    await archive.keep(snapshot);
    expect(await archive.find(snapshot.etag)).toEqual(snapshot);
  }
  expect(written.map(({ body }) => body === null)).toEqual([false, true]);
  expect(readdirSync(dir)).toEqual([large.etag]);
  expect([statSync(dir).mode & 0o777, statSync(join(dir, large.etag)).mode & 0o777]).toEqual([0o700, 0o600]);
  expect(await archive.find('0'.repeat(64))).toBeUndefined();
});

test('what is kept is written once, by whatever process, and renewed while it is given out', async () => {
  const archive = open();
  await archive.keep(small);
  await archive.keep(small);
  await open().keep(small);
  expect(written.length).toBe(1);
  clock += 16 * DAY;
  await archive.keep(small);
  expect(written.length).toBe(2);
  clock += 29 * DAY;
  expect(await archive.find(small.etag)).toBeDefined();
  clock += 2 * DAY;
  expect(await archive.find(small.etag)).toBeUndefined();
});

test('the sweep removes what has expired, drafts of the dead too, and nothing else', async () => {
  const archive = open();
  await archive.sweep();
  await archive.keep(large);
  const old = (name: string) => {
    writeFileSync(join(dir, name), 'x');
    utimesSync(join(dir, name), new Date(clock - 32 * DAY), new Date(clock - 32 * DAY));
  };
  old('1'.repeat(64));
  old(`${'2'.repeat(64)}.draft`);
  utimesSync(join(dir, large.etag), new Date(clock), new Date(clock));
  await archive.sweep();
  expect(readdirSync(dir)).toEqual([large.etag]);
});

test('without an object store what is too large is not kept; a file that was changed is found out', async () => {
  const without = open(false);
  await without.keep(large);
  expect(await without.find(large.etag)).toBeUndefined();
  const archive = open();
  await archive.keep(large);
  const { gzipSync } = await import('node:zlib');
  writeFileSync(join(dir, large.etag), gzipSync('{"farms":[]}'));
  await expect(archive.find(large.etag)).rejects.toThrow(`the archive holds something else as snapshot ${large.etag}`);
});
