import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Spool } from './spool.ts';

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'sipfleet-spool-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}
const batch = (text: string, samples = 1) => ({ body: Buffer.from(text), samples });

test('first in, first out, also across a restart; what a crash left half written is cleared away', async () => {
  const path = await directory();
  const spool = new Spool(join(path, 'a'), 1000, () => {});
  await spool.open();
  await spool.put(batch('one', 5));
  await spool.put(batch('two'));
  await writeFile(join(path, 'a', '000000000009-1.batch.tmp'), 'half');

  const next = new Spool(join(path, 'a'), 1000, () => {});
  await next.open();
  expect([next.length, next.bytes]).toEqual([2, 6]);
  await next.put(batch('three'));
  const seen: string[] = [];
  for (let b = await next.peek(); b; b = await next.peek()) {
    seen.push(`${Buffer.from(b.body)} ${b.samples}`);
    await next.shift();
  }
  expect(seen).toEqual(['one 5', 'two 1', 'three 1']);
  expect([next.length, next.bytes, await readdir(join(path, 'a'))]).toEqual([0, 0, []]);
});

test('it never holds more than it may: the oldest go, and are counted', async () => {
  const path = await directory();
  let dropped = 0;
  const spool = new Spool(path, 10, (samples) => {
    dropped += samples;
  });
  await spool.open();
  for (const text of ['aaaa', 'bbbb', 'cccc']) await spool.put(batch(text, 7));
  expect([dropped, spool.bytes, String((await spool.peek())?.body)]).toEqual([7, 8, 'bbbb']);
  await spool.put(batch('longer than all of it', 3));
  expect([dropped, spool.bytes]).toEqual([10, 8]);
  // A smaller limit holds from the next start on.
  const smaller = new Spool(path, 4, () => {});
  await smaller.open();
  expect(smaller.bytes).toBe(4);
});

test('a disk that does not take it rejects and counts; a file that went away is passed over', async () => {
  const path = await directory();
  let dropped = 0;
  const spool = new Spool(path, 100, (samples) => {
    dropped += samples;
  });
  await spool.open();
  await spool.put(batch('gone', 2));
  await spool.put(batch('here'));
  const [first] = (await readdir(path)).toSorted();
  await rm(join(path, first as string));
  expect([String((await spool.peek())?.body), dropped]).toEqual(['here', 2]);
  await rm(path, { recursive: true });
  await expect(spool.put(batch('nowhere', 4))).rejects.toThrow('ENOENT');
  expect(dropped).toBe(6);
});
