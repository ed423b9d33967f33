import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readOrMake } from './secret-file.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sipfleet-secret-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('makes a file once, for its owner only, and reads it from then on', async () => {
  const file = join(directory, 'token');
  expect(await readOrMake(file, 'first')).toEqual({ text: 'first', made: true });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(await readOrMake(file, 'second')).toEqual({ text: 'first', made: false });
  expect(readFileSync(file, 'utf8')).toBe('first\n');
});

test('of several at once all have what the first one made, and nothing else is left', async () => {
  const file = join(directory, 'token');
  const all = await Promise.all(Array.from({ length: 20 }, (_, i) => readOrMake(file, `number ${i}`)));
  expect(new Set(all.map(({ text }) => text)).size).toBe(1);
  expect(all.filter(({ made }) => made)).toHaveLength(1);
  expect(readdirSync(directory)).toEqual(['token']);
});

test('one that died before it had written all leaves no file', async () => {
  writeFileSync(join(directory, 'token.4f0c'), 'fi');
  expect(await readOrMake(join(directory, 'token'), 'first')).toEqual({ text: 'first', made: true });
});

test('a directory that is not there is an error', async () => {
  await expect(readOrMake(join(directory, 'gone', 'token'), 'first')).rejects.toThrow('ENOENT');
});
