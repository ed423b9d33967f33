import { expect, test } from 'vitest';
import { TRANSPORT } from '../ports.ts';
import { joinSegments } from '../sip/splice.ts';
import { createMailboxes, openMailbox } from './mailbox.ts';
import { Post } from './post.ts';

const phone = {
  transport: TRANSPORT.tls,
  ip0: 0x20010db8,
  ip1: 0,
  ip2: 0xffff,
  ip3: 0xfffffffe,
  port: 65_535,
  connection: 0xffffff,
};
const bytes = (text: string) => new Uint8Array(Buffer.from(text));

/** Two threads' posts in one thread, and what the second has found in its box. */
function two(ringBytes?: number) {
  const shared = createMailboxes(2, ringBytes);
  const boxes = [0, 1].map((self) => openMailbox(shared, 2, self, () => {}));
  const [first, second] = boxes.map((box) => new Post(box)) as [Post, Post];
  const drain = () => {
    const found: unknown[] = [];
    second.drain({
      send: (to, message) => found.push(['send', { ...to }, Buffer.from(joinSegments(message)).toString()]),
      receive: (text, start, end, from, mark) =>
        found.push(['receive', { ...from }, Buffer.from(text.subarray(start, end)).toString(), mark]),
    });
    return found;
  };
  return { first, drain, close: () => boxes.map((box) => box.close()) };
}

test('a message to be sent and a message received arrive as what they are, with the whole remote end', () => {
  const { first, drain, close } = two();
  const text = bytes('xxSIP/2.0 200 OK');
  first.send(1, phone, { count: 1, bytes: [text], start: Int32Array.of(2), end: Int32Array.of(9), length: 7 });
  first.handOver(1, { ...phone, transport: TRANSPORT.udp, connection: 0 }, 0xdeadbeef, text, 2, text.length);
  expect(drain()).toEqual([
    ['send', phone, 'SIP/2.0'],
    ['receive', { ...phone, transport: TRANSPORT.udp, connection: 0 }, 'SIP/2.0 200 OK', 0xdeadbeef],
  ]);
  expect(drain()).toEqual([]);
  close();
});

test('a full box and a worker that is none refuse', () => {
  const { first, drain, close } = two(1024);
  const text = bytes('x'.repeat(900));
  expect(first.handOver(1, phone, 1, text, 0, text.length)).toBe(true);
  expect(first.handOver(1, phone, 1, text, 0, text.length)).toBe(false);
  expect(first.handOver(2, phone, 1, text, 0, text.length)).toBe(false);
  expect(drain()).toHaveLength(1);
  close();
});
