import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { snapshotOf } from './link/control-plane.fixture.ts';
import { readSnapshotFile } from './snapshot-file.ts';

const CANARY = 'canary-in-a-coal-mine';
let dir: string;
let snapshot: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sipfleet-'));
  snapshot = join(dir, 'snapshot.json');
  await writeFile(snapshot, JSON.stringify(snapshotOf(1)));
});
afterEach(() => rm(dir, { recursive: true }));

async function read(secrets: string) {
  const path = join(dir, 'secrets.json');
  await writeFile(path, secrets);
  return readSnapshotFile(snapshot, path);
}

test('Secrets stand in a file of their own', async () => {
  expect((await readSnapshotFile(snapshot)).secrets).toEqual(new Map());
  const { secrets } = await read(JSON.stringify({ tls: { privateKey: CANARY } }));
  expect(secrets).toEqual(new Map([['tls', { privateKey: CANARY }]]));
});

test.each([
  `{"tls":{"privateKey":["${CANARY}"]}}`,
  `{"tls":"${CANARY}"}`,
  `["${CANARY}"]`,
  `{"tls":{"privateKey":"${CANARY}`,
  `{"Not A Name":{"privateKey":"${CANARY}"}}`,
])('a file of Secrets that is wrong is named, and no value with it: %#', async (text) => {
  const error = await read(text).catch((e: Error) => e);
  expect(error).toMatchObject({ code: 'USAGE', message: expect.stringContaining(join(dir, 'secrets.json')) });
  expect((error as Error).message).not.toContain(CANARY);
});

test('a file that is not there is named', async () => {
  await expect(readSnapshotFile(snapshot, join(dir, 'none.json'))).rejects.toThrow('none.json: no such file');
});
