import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SnapshotKeeper } from './snapshot-keeper.ts';

/** A disk that refuses while `broken`, and answers when the test says so. */
const disk = { broken: false, saved: [] as number[], slow: undefined as Promise<void> | undefined };
const logged: string[] = [];
const line = (_fields: unknown, text?: string) => void logged.push(text ?? '');
let keeper: SnapshotKeeper;

beforeEach(() => {
  vi.useFakeTimers();
  Object.assign(disk, { broken: false, saved: [], slow: undefined });
  logged.length = 0;
  keeper = new SnapshotKeeper({
    store: {
      async save(_etag, generation) {
        await disk.slow;
        if (disk.broken) throw new Error('ENOSPC');
        disk.saved.push(generation);
      },
    },
    log: { info: line, error: line } as never,
    random: () => 1,
  });
});
afterEach(() => {
  keeper.close();
  vi.useRealTimers();
});
const keep = (generation: number) =>
  keeper.keep(`etag-${generation}`, generation, { snapshot: '{}', signature: null, secrets: undefined });

test('what was saved is not saved again', async () => {
  await keep(1);
  await vi.advanceTimersByTimeAsync(600_000);
  expect([disk.saved, keeper.status, logged]).toEqual([[1], { failures: 0, unsaved: false }, []]);
});

test('a save that fails is tried again, ever later, until it succeeds; the log says so once each', async () => {
  disk.broken = true;
  await keep(1);
  expect(keeper.status).toEqual({ failures: 1, unsaved: true });
  // After 1, 2, 4, 8, 16 and then every 30 s.
  await vi.advanceTimersByTimeAsync(31_000);
  expect(keeper.status.failures).toBe(6);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(keeper.status.failures).toBe(8);
  disk.broken = false;
  await vi.advanceTimersByTimeAsync(30_000);
  expect([disk.saved, keeper.status]).toEqual([[1], { failures: 8, unsaved: false }]);
  expect(logged).toEqual([
    'snapshot runs, but a restart would not find it: trying again',
    'the snapshot that runs is on disk now',
  ]);
});

test('what something newer has replaced is not saved any more', async () => {
  disk.broken = true;
  await keep(1);
  disk.broken = false;
  await keep(2);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(disk.saved).toEqual([2]);
});

test('a newer one waits until an older one is written, and is the last', async () => {
  let go = (): void => {};
  disk.slow = new Promise((resolve) => (go = resolve));
  const both = [keep(1), keep(2)];
  go();
  await Promise.all(both);
  expect([disk.saved.at(-1), keeper.status.unsaved]).toEqual([2, false]);
});

test('closed is closed', async () => {
  disk.broken = true;
  await keep(1);
  keeper.close();
  disk.broken = false;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(disk.saved).toEqual([]);
});
