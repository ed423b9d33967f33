import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { METHOD } from '../sip/method.ts';
import { type CallEvent, createEventRing, EVENT, EventRings, EventWriter, FLAG, LEG, monotonic } from './events.ts';

/** Waits until the monotonic clock has moved, so that what was written lies in the past. */
function pass(): void {
  for (const before = monotonic(); monotonic() <= before; );
}

function drained(rings: EventRings): CallEvent[] {
  pass();
  const events: CallEvent[] = [];
  rings.drain((event) => events.push({ ...event }));
  return events;
}

const WATCHED = {
  ...{
    method: METHOD.INVITE,
    call: 3,
    plan: 40_000,
    farm: 300,
    leg: LEG.toClient,
    flags: FLAG.credentials,
    backend: 2,
  },
  ...{ source: -1, dialogStart: 77, binding: -5, began: 0, provisional: 0, sent: 9, attempts: 3, failovers: 2 },
};

test('what a data thread writes is what the control thread reads, field by field', () => {
  const ring = createEventRing(8);
  const writer = new EventWriter(ring);
  writer.plan = 65_535;
  const call = 2 ** 51 - 1;
  const key = 2 ** 53 - 1;
  writer.request(METHOD.INVITE, call, key, -7, 300, LEG.between, FLAG.inDialog | FLAG.credentials, 2, 1, 0xffffff, 0);
  writer.response(METHOD.REGISTER, call, key, 200, 3600);
  writer.answered(METHOD.BYE, call, 9, 1, FLAG.inDialog, 503);
  const began = performance.now() - 10;
  writer.transaction({ ...WATCHED, call, began, provisional: began + 4.25 }, 487, 30);
  writer.transaction({ ...WATCHED, began }, 0, 0);
  const [request, response, answered, whole, silent] = drained(new EventRings([ring]));
  expect(request).toMatchObject({ kind: EVENT.request, method: METHOD.INVITE, call, key, transaction: -7, farm: 300 });
  expect(request).toMatchObject({ leg: 2, flags: 3, backend: 2, source: 1, start: 0xffffff, plan: 65_535 });
  expect(response).toMatchObject({ kind: EVENT.response, method: METHOD.REGISTER, key, status: 200, value: 3600 });
  expect(answered).toMatchObject({ kind: EVENT.answered, method: METHOD.BYE, transaction: 9, status: 503, flags: 1 });
  const { began: _, provisional, dialogStart: start, ...same } = WATCHED;
  expect(whole).toMatchObject({ kind: EVENT.transaction, ...same, call, start, status: 487, value: 30 });
  expect(whole!.time - whole!.began).toBeGreaterThanOrEqual(10);
  expect(whole!.provisional - whole!.began).toBeCloseTo(4.25);
  expect(silent).toMatchObject({ kind: EVENT.transaction, status: 0, provisional });
});

test('a full ring counts what it loses and goes on when it was drained', () => {
  const ring = createEventRing(4);
  const writer = new EventWriter(ring);
  const rings = new EventRings([ring]);
  const write = (n: number) => writer.response(0, n, 0, 0, 0);
  for (let n = 0; n < 6; n++) write(n);
  expect(drained(rings).map((e) => e.call)).toEqual([0, 1, 2, 3]);
  expect(rings.lost).toBe(2);
  for (let round = 0; round < 5; round++) {
    for (let n = 0; n < 3; n++) write(n);
    expect(drained(rings).map((e) => e.call)).toEqual([0, 1, 2]);
  }
  expect(rings.lost).toBe(2);
});

test('the thread that takes the place of a dead one goes on where it stopped', () => {
  const ring = createEventRing(4);
  const rings = new EventRings([ring]);
  new EventWriter(ring).response(0, 1, 0, 0, 0);
  new EventWriter(ring).response(0, 2, 0, 0, 0);
  expect(drained(rings).map((e) => e.call)).toEqual([1, 2]);
});

test('events of several threads come in the order of time', () => {
  const all = [createEventRing(64), createEventRing(64)];
  const writers = all.map((ring) => new EventWriter(ring));
  for (let n = 0; n < 40; n++) {
    writers[(n >> 1) & 1]?.response(0, n, 0, 0, 0);
    pass();
  }
  expect(drained(new EventRings(all)).map((e) => e.call)).toEqual(Array.from({ length: 40 }, (_, n) => n));
});

test('two threads: nothing is torn, nothing comes twice, and what is missing was counted', async () => {
  const ring = createEventRing(256);
  const count = 200_000;
  const source = `
    const { workerData, parentPort } = require('node:worker_threads');
    import(workerData.url).then(({ EventWriter }) => {
      const writer = new EventWriter(workerData.ring);
      for (let n = 0; n < ${count}; n++) writer.request(0, n, n, n, 1, 0, 0, n, n, n, n);
      parentPort.postMessage('done');
    });`;
  const url = new URL('./events.ts', import.meta.url).href;
  const worker = new Worker(source, { eval: true, workerData: { ring, url } });
  const rings = new EventRings([ring]);
  let done = false;
  worker.once('message', () => {
    done = true;
  });
  let seen = 0;
  let last = -1;
  const take = (e: CallEvent) => {
    if (e.key !== e.call || e.backend !== e.call || e.binding !== e.call || e.call <= last) throw new Error('torn');
    last = e.call;
    seen++;
  };
  while (!done) {
    rings.drain(take);
    await new Promise((resolve) => setImmediate(resolve));
  }
  pass();
  rings.drain(take);
  expect(seen).toBeGreaterThan(0);
  expect(seen + rings.lost).toBe(count);
  await worker.terminate();
});
