import { Worker } from 'node:worker_threads';
import { expect, test, vi } from 'vitest';
import { type Endpoint, type Segments, TRANSPORT } from '../ports.ts';
import { createTape, DIRECTION, TapeReader, type TapeRecord, TapeWriter } from './tape.ts';

const PHONE: Endpoint = {
  transport: TRANSPORT.wss,
  ip0: 0x20010db8,
  ip1: 0,
  ip2: 0xffffffff,
  ip3: 7,
  port: 65_535,
  connection: 3,
};
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
/** Pieces of several buffers, as the proxy sends them. */
function segments(...parts: string[]): Segments {
  const bytes = parts.map((part) => bytesOf(`xx${part}y`));
  const start = Int32Array.from(parts, () => 2);
  const end = Int32Array.from(bytes, (b) => b.length - 1);
  return { count: parts.length, bytes, start, end, length: parts.join('').length };
}
const all = () => true;
function scanned(reader: TapeReader, since?: number, wanted: (call: number) => boolean = all) {
  const found: (TapeRecord & { text: string })[] = [];
  const next = reader.scan(since, reader.head, wanted, (record, bytes) =>
    found.push({ ...record, text: textOf(bytes) }),
  );
  return { found, next };
}

test('what came and went stands on the tape, byte for byte, with where and when', () => {
  let now = 1.5;
  const tape = createTape(4096);
  const writer = new TapeWriter(tape, () => now);
  writer.plan = 9;
  writer.received(77, bytesOf('..INVITE..'), 2, 8, PHONE, 300);
  now = 2.5;
  writer.sent({ ...PHONE, transport: TRANSPORT.udp }, segments('IN', '', 'VITE!'), 1);
  writer.sentWhole({ ...PHONE, transport: TRANSPORT.udp }, bytesOf('..ACK.'), 2, 5, 2);
  const { found } = scanned(new TapeReader(tape));
  const { transport: _t, connection: _c, ...address } = PHONE;
  expect(found).toEqual([
    { text: 'INVITE', time: 1.5, call: 77, listener: 300, plan: 9, direction: 0, transport: 4, length: 6, ...address },
    { text: 'INVITE!', time: 2.5, call: 77, listener: 1, plan: 9, direction: 1, transport: 0, length: 7, ...address },
    { text: 'ACK', time: 2.5, call: 77, listener: 2, plan: 9, direction: 1, transport: 0, length: 3, ...address },
  ]);
  expect(DIRECTION).toEqual({ received: 0, sent: 1 });
});

test('the newest take the place of the oldest; a reader goes on where it stopped, and gets only what it wants', () => {
  const tape = createTape(1024);
  const writer = new TapeWriter(tape, () => 0);
  const reader = new TapeReader(tape);
  let since: number | undefined;
  let expected = 0;
  for (let round = 0; round < 500; round++) {
    for (let i = 0; i < 3; i++) {
      const n = round * 3 + i;
      const text = `${n}${'.'.repeat(n % 57)}`;
      writer.received(n, bytesOf(text), 0, text.length, PHONE, 0);
    }
    const { found, next } = scanned(reader, since, (call) => call % 2 === 0);
    since = next;
    for (; expected <= round * 3 + 2; expected++) if (expected % 2 === 0) expect(found.shift()?.call).toBe(expected);
    expect(found).toEqual([]);
  }
  const { found } = scanned(reader);
  expect(found.at(-1)?.call).toBe(1499);
  expect(found.map((f) => f.call)).toEqual(found.map((_, i) => 1500 - found.length + i));
  for (const { call, text } of found) expect(text).toBe(`${call}${'.'.repeat(call % 57)}`);
  // Some 90 bytes each: the tape is used to its end.
  expect(found.length).toBeGreaterThan(7);
});

test('a message that is longer than half of the tape is left out, and the rest stays', () => {
  const tape = createTape(1024);
  const writer = new TapeWriter(tape, () => 0);
  writer.received(1, bytesOf('a'), 0, 1, PHONE, 0);
  writer.received(2, new Uint8Array(2000), 0, 2000, PHONE, 0);
  writer.received(3, bytesOf('b'), 0, 1, PHONE, 0);
  expect(scanned(new TapeReader(tape)).found.map((f) => f.call)).toEqual([1, 3]);
});

test('the thread that takes the place of a dead one starts the tape anew, and its reader with it', () => {
  const tape = createTape(1024);
  const reader = new TapeReader(tape);
  const before = new TapeWriter(tape, () => 0);
  for (let i = 0; i < 5; i++) before.received(1, bytesOf('old'), 0, 3, PHONE, 0);
  const { next } = scanned(reader);
  new TapeWriter(tape, () => 0).received(2, bytesOf('new'), 0, 3, PHONE, 0);
  expect(scanned(reader, next).found.map((f) => f.text)).toEqual(['new']);
});

test('what the writer overtakes is not copied: where its length stood is anything by then', () => {
  const tape = createTape(1 << 16);
  const writer = new TapeWriter(tape, () => 0);
  const reader = new TapeReader(tape);
  const bytes = new Uint8Array(1000).fill(0x7f);
  const slice = vi.spyOn(Uint8Array.prototype, 'slice');
  try {
    for (let n = 1; n <= 50; n++) writer.received(n, bytes, 0, 1000, PHONE, 0);
    // Other lengths, so that the old places lie within messages now.
    const overtake = (call: number) => {
      if (call === 20) for (let n = 100; n < 400; n++) writer.received(n, bytes, 0, 900 + (n % 90), PHONE, 0);
      return true;
    };
    const taken: number[] = [];
    reader.scan(undefined, reader.head, overtake, ({ call }) => taken.push(call));
    expect(taken).toEqual(Array.from({ length: 19 }, (_, i) => i + 1));
    expect(Math.max(...slice.mock.calls.map(([start, end]) => (end as number) - (start as number)))).toBe(1000);
  } finally {
    slice.mockRestore();
  }
});

test('a writer at full speed: what the reader gets is whole', async () => {
  const tape = createTape(1 << 16);
  const source = `
    const { workerData, parentPort } = require('node:worker_threads');
    import(workerData.url).then(({ TapeWriter }) => {
      const writer = new TapeWriter(workerData.tape, () => 0);
      const remote = { transport: 0, ip0: 0, ip1: 0, ip2: 0, ip3: 0, port: 0, connection: 0 };
      for (let n = 1; n <= 300000; n++) {
        const length = 8 + (n % 300);
        writer.received(n, new Uint8Array(length).fill(n), 0, length, remote, 0);
      }
      parentPort.postMessage('done');
    });`;
  const url = new URL('./tape.ts', import.meta.url).href;
  const worker = new Worker(source, { eval: true, workerData: { tape, url } });
  const reader = new TapeReader(tape);
  let done = false;
  worker.once('message', () => {
    done = true;
  });
  let since: number | undefined;
  let last = 0;
  let torn = 0;
  let taken = 0;
  while (!done || last < 300_000) {
    since = reader.scan(since, reader.head, all, ({ call, length }, bytes) => {
      if (call <= last || length !== 8 + (call % 300) || bytes.some((b) => b !== (call & 255))) torn++;
      last = call;
      taken++;
    });
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(torn).toBe(0);
  expect(taken).toBeGreaterThan(100);
  await worker.terminate();
});
