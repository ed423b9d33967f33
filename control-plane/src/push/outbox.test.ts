import { expect, test } from 'vitest';
import { createDrain } from './outbox.ts';

/** An outbox in memory that can be made to fail. */
function outboxOf(entries: { revision: number; affects: string[] }[]) {
  const box = {
    entries,
    failures: 0,
    async outbox(limit: number) {
      if (box.failures-- > 0) throw new Error('the store is away');
      return box.entries.slice(0, limit);
    },
    async settle(revision: number) {
      box.entries = box.entries.filter((entry) => entry.revision !== revision);
    },
  };
  return box;
}

const entry = (revision: number) => ({ revision, affects: [`site-${revision}`] });
const collect = (wanted: number) => {
  const hints: number[] = [];
  const all = Promise.withResolvers<void>();
  const hint = (_sites: readonly string[], generation: number) => {
    hints.push(generation);
    if (hints.length === wanted) all.resolve();
  };
  return { hints, hint, all: all.promise };
};

test('sends what is pending in order, more than one batch of it, then empties the outbox', async () => {
  const outbox = outboxOf(Array.from({ length: 250 }, (_, i) => entry(i + 1)));
  const { hints, hint, all } = collect(250);
  const drain = createDrain({ outbox, hint, log: console });
  drain.wake();
  await all;
  await drain.close();
  expect(hints).toEqual(Array.from({ length: 250 }, (_, i) => i + 1));
});

test('a wake while it drains is not lost', async () => {
  const outbox = outboxOf([entry(1)]);
  const { hints, hint, all } = collect(2);
  const drain = createDrain({
    outbox,
    log: console,
    hint: (sites, generation) => {
      hint(sites, generation);
      if (generation === 1) {
        // Committed after the batch was read.
        outbox.entries.push(entry(2));
        drain.wake();
      }
    },
  });
  drain.wake();
  await all;
  await drain.close();
  expect(hints).toEqual([1, 2]);
});

test('an entry stays until its hint is out: a store that fails is asked again', async () => {
  const outbox = outboxOf([entry(1)]);
  outbox.failures = 3;
  const errors: string[] = [];
  const { hint, all } = collect(1);
  const drain = createDrain({
    outbox,
    hint,
    retryMs: 1,
    log: { error: (_fields, message) => errors.push(message) },
  });
  drain.wake();
  await all;
  await drain.close();
  expect(errors.length).toBe(3);
});

test('a closed drain stops retrying and stays asleep', async () => {
  const outbox = outboxOf([entry(1)]);
  outbox.failures = Number.POSITIVE_INFINITY;
  const failed = Promise.withResolvers<void>();
  const drain = createDrain({
    outbox,
    hint: () => expect.unreachable(),
    retryMs: 3_600_000,
    log: { error: () => failed.resolve() },
  });
  drain.wake();
  await failed.promise;
  await drain.close();
  await drain.close();
  drain.wake();
  expect(outbox.entries).toEqual([entry(1)]);
});
