import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ExchangeResult, exchange } from './mailbox.fixture.ts';
import { createMailboxes, openMailbox } from './mailbox.ts';

const segments = (text: string) => {
  const bytes = Buffer.from(text);
  return { count: 1, bytes: [bytes], start: Int32Array.of(0), end: Int32Array.of(bytes.length), length: bytes.length };
};

/** Two ends in one thread, with what the second has taken. */
function pair(ringBytes?: number) {
  const shared = createMailboxes(2, ringBytes);
  const sender = openMailbox(shared, 2, 0, () => {});
  const receiver = openMailbox(shared, 2, 1, () => {});
  const drain = () => {
    const got: [number, string][] = [];
    receiver.drain((connection, bytes, start, end) =>
      got.push([connection, Buffer.from(bytes.subarray(start, end)).toString()]),
    );
    return got;
  };
  const close = () => {
    sender.close();
    receiver.close();
  };
  return { sender, receiver, drain, close };
}

test('messages arrive with their connection, in order, once', () => {
  const { sender, drain, close } = pair();
  expect(sender.post(1, 7, segments('one'))).toBe(true);
  expect(sender.post(1, 0xffffff, segments(''))).toBe(true);
  expect(drain()).toEqual([
    [7, 'one'],
    [0xffffff, ''],
  ]);
  expect(drain()).toEqual([]);
  close();
});

test('a full box refuses, and takes again once it is drained', () => {
  const { sender, drain, close } = pair(1024);
  let taken = 0;
  while (sender.post(1, taken, segments('x'.repeat(92)))) taken++;
  // 100 bytes a record with its header; the last byte of a ring stays free.
  expect(taken).toBe(10);
  expect(drain().map(([connection]) => connection)).toEqual(Array.from({ length: 10 }, (_, i) => i));
  expect(sender.post(1, 99, segments('again'))).toBe(true);
  expect(drain()).toEqual([[99, 'again']]);
  expect(sender.post(1, 0, segments('y'.repeat(1017)))).toBe(false);
  expect(sender.post(5, 0, segments('no such worker'))).toBe(false);
  close();
});

test('records that would fill a ring to its last byte leave one out: full must not look empty', () => {
  const { sender, drain, close } = pair(1024);
  let taken = 0;
  while (sender.post(1, taken, segments('x'.repeat(120)))) taken++;
  expect(taken).toBe(7);
  expect(drain()).toHaveLength(7);
  close();
});

test('any mix of posts and drains gives what a queue gives, over many wraps', () => {
  const step = fc.oneof({ weight: 3, arbitrary: fc.nat(300) }, { weight: 1, arbitrary: fc.constant('drain' as const) });
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 200 }), (steps) => {
      const { sender, drain, close } = pair(1024);
      let queue: [number, string][] = [];
      for (const [i, s] of steps.entries()) {
        if (s === 'drain') {
          expect(drain()).toEqual(queue);
          queue = [];
          continue;
        }
        const text = String.fromCharCode(97 + (i % 26)).repeat(s);
        if (sender.post(1, i, segments(text))) queue.push([i, text]);
        else expect(queue.length).toBeGreaterThan(0);
      }
      expect(drain()).toEqual(queue);
      close();
    }),
  );
});

test('a sleeping receiver is woken, each time', async () => {
  const shared = createMailboxes(2);
  let wake = () => {};
  const sender = openMailbox(shared, 2, 0, () => {});
  const receiver = openMailbox(shared, 2, 1, () => wake());
  for (let i = 0; i < 3; i++) {
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    // waitAsync alone keeps no event loop alive; in a worker the sockets do.
    const alive = setInterval(() => {}, 1000);
    sender.post(1, i, segments('knock'));
    await woken;
    clearInterval(alive);
    let connections: number[] = [];
    receiver.drain((connection) => {
      connections = [...connections, connection];
    });
    expect(connections).toEqual([i]);
  }
  sender.close();
  receiver.close();
});

test.each([
  ['room enough', undefined, 2000, 10_000],
  ['a ring that is full all the time', 4096, 1500, 2000],
])(
  'two threads exchange messages both ways: %s',
  async (_name, ringBytes, longest, messages) => {
    const shared = createMailboxes(3, ringBytes);
    const start = { shared, workers: 3, messages, longest };
    const worker = new Worker(new URL('./mailbox-thread.fixture.ts', import.meta.url), {
      workerData: { ...start, self: 2, peer: 0 },
    });
    const theirs = once(worker, 'message') as Promise<[ExchangeResult]>;
    const ours = await exchange({ ...start, self: 0, peer: 2 });
    expect(ours.wrong).toEqual([]);
    expect(ours.received).toBe(messages);
    const [there] = await theirs;
    expect(there.wrong).toEqual([]);
    expect(there.received).toBe(messages);
    if (ringBytes) expect(ours.refused + there.refused).toBeGreaterThan(0);
    await worker.terminate();
  },
  30_000,
);
