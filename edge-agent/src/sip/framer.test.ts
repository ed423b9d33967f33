import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { FRAME, type FrameResult, StreamFramer } from './framer.ts';

const LIMITS = { header: 2048, body: 4096 };
afterEach(() => vi.restoreAllMocks());

/** What a stream came to: messages as text, `(ping)`, and the result unless ok. */
function frame(chunks: Uint8Array[], limits = LIMITS): string[] {
  const out: string[] = [];
  const framer = new StreamFramer(
    {
      message: (bytes, start, end) => out.push(Buffer.from(bytes.subarray(start, end)).toString('latin1')),
      ping: () => out.push('(ping)'),
    },
    limits,
  );
  let result: FrameResult = FRAME.ok;
  for (const chunk of chunks) result = framer.feed(chunk);
  if (result !== FRAME.ok) out.push(`(${Object.entries(FRAME).find(([, code]) => code === result)?.[0]})`);
  return out;
}
const bytes = (text: string) => Uint8Array.from(Buffer.from(text, 'latin1'));
const frameText = (text: string, limits = LIMITS) => frame([bytes(text)], limits);

const message = (headers: string, body = '') => `OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n${headers}\r\n${body}`;

test.each([
  ['Content-Length: 5\r\n'],
  ['content-LENGTH:5\r\n'],
  ['Content-Length \t :  5 \t\r\n'],
  ['l: 5\r\n'],
  ['L:5\r\n'],
  ['Content-Length:\r\n 5\r\n'],
  ['Content-Length: 5\r\n\t\r\n'],
  ['Content-Length: 0005\r\n'],
  ['Content-Length: 5\r\nl: 5\r\n'],
  ['Subject: x\r\n Content-Length: 9\r\nl: 5\r\n'],
  ['Content-Lengthy: 9\r\nContent-Type: a/b\r\nContact: <sip:c>\r\nlx: 7\r\nl: 5\r\n'],
  ['Content-Length-X: 9\r\nl: 5\r\nCall-ID: l\r\n'],
])('%j: a body of five bytes', (headers) => {
  const text = message(headers, 'hello');
  expect(frameText(`${text}${text}`)).toEqual([text, text]);
});

test.each([
  ['Content-Length: -1\r\n', 'malformed'],
  ['Content-Length: +1\r\n', 'malformed'],
  ['Content-Length: 1x\r\n', 'malformed'],
  ['Content-Length: 0x10\r\n', 'malformed'],
  ['Content-Length: 1 0\r\n', 'malformed'],
  ['Content-Length: 1\r\n 0\r\n', 'malformed'],
  ['Content-Length: 5, 5\r\n', 'malformed'],
  ['Content-Length:\r\n', 'malformed'],
  ['Content-Length\r\n', 'malformed'],
  ['Content\rLength: 5\r\n', 'malformed'],
  ['Content-Length\r\n : 5\r\n', 'malformed'],
  ['Content-Length 5\r\n', 'malformed'],
  ['Content-Length: 5\r\nContent-Length: 6\r\n', 'malformed'],
  ['l: 0\r\nContent-Length: 5\r\n', 'malformed'],
  ['Content-Length: 4294967301\r\n', 'bodyTooLong'],
  ['Content-Length: 18446744073709551621\r\n', 'bodyTooLong'],
  [`Content-Length: ${'9'.repeat(400)}\r\n`, 'bodyTooLong'],
  ['Content-Length: 4097\r\n', 'bodyTooLong'],
  ['Subject: none\r\n', 'noContentLength'],
  ['Subject: bare\nContent-Length: 5\r\n', 'malformed'],
  ['Subject: bare\rContent-Length: 5\r\n', 'malformed'],
  ['Content-Length: 5\nX: y\r\n', 'malformed'],
  [': 5\r\n', 'malformed'],
  [`X: ${'y'.repeat(2048)}\r\nl: 5\r\n`, 'headerTooLong'],
])('%j ends the stream: %s', (headers, result) => {
  const good = message('l: 0\r\n');
  expect(frameText(`${good}${message(headers, 'hello')}${good}`)).toEqual([good, `(${result})`]);
});

test('a folded start line and text before a message end the stream', () => {
  expect(frameText('OPTIONS sip:a SIP/2.0\r\n l: 5\r\n\r\nhello')).toEqual(['(malformed)']);
  expect(frameText('\rOPTIONS sip:a SIP/2.0\r\nl: 0\r\n\r\n')).toEqual(['(malformed)']);
  expect(frameText('\nOPTIONS sip:a SIP/2.0\r\nl: 0\r\n\r\n')).toEqual(['(malformed)']);
});

test('limits hold to the byte, for one chunk and for many', () => {
  const head = message('l: 10\r\n');
  for (const cut of [(b: Uint8Array) => [b], (b: Uint8Array) => [...b].map((c) => Uint8Array.of(c))]) {
    const text = bytes(`${head}0123456789`);
    expect(frame(cut(text), { header: head.length, body: 10 })).toEqual([`${head}0123456789`]);
    expect(frame(cut(text), { header: head.length - 1, body: 10 })).toEqual(['(headerTooLong)']);
    expect(frame(cut(text), { header: head.length, body: 9 })).toEqual(['(bodyTooLong)']);
  }
});

test('a double CRLF is a ping, single ones are skipped', () => {
  const m = message('l: 0\r\n');
  expect(frameText(`\r\n${m}`)).toEqual([m]);
  expect(frameText(`\r\n\r\n${m}`)).toEqual(['(ping)', m]);
  expect(frameText(`\r\n\r\n\r\n${m}\r\n${m}\r\n\r\n\r\n\r\n`)).toEqual(['(ping)', m, m, '(ping)', '(ping)']);
});

test('a message inside one chunk is handed on without a copy', () => {
  const m = message('l: 3\r\n', 'abc');
  const chunk = bytes(`\r\n${m}${m}${m.slice(0, 20)}`);
  const seen: [boolean, number, number][] = [];
  const framer = new StreamFramer(
    { message: (b, start, end) => seen.push([b === chunk, start, end]), ping: () => {} },
    LIMITS,
  );
  framer.feed(chunk);
  expect(seen).toEqual([
    [true, 2, 2 + m.length],
    [true, 2 + m.length, 2 + 2 * m.length],
  ]);
  expect(framer.partial).toBe(true);
  framer.feed(bytes(m.slice(20)));
  expect(seen[2]).toEqual([false, 0, m.length]);
  expect(framer.partial).toBe(false);
});

test('a sink that stops the framer gets nothing more, nor does a result change after a failure', () => {
  const m = message('l: 0\r\n');
  let count = 0;
  const framer: StreamFramer = new StreamFramer(
    {
      message: () => {
        count++;
        framer.stop();
      },
      ping: () => {},
    },
    LIMITS,
  );
  expect(framer.feed(bytes(m + m))).toBe(FRAME.ok);
  expect(framer.feed(bytes(m))).toBe(FRAME.ok);
  expect(count).toBe(1);
  const failing = new StreamFramer({ message: () => count++, ping: () => {} }, LIMITS);
  expect(failing.feed(bytes('\n'))).toBe(FRAME.malformed);
  expect(failing.feed(bytes(m))).toBe(FRAME.malformed);
  expect(count).toBe(1);
});

const stream = [
  '\r\n\r\n',
  message('Content-Length:\r\n  5\r\n', 'hello'),
  message('l : 0\r\n'),
  '\r\n',
  message('Content-Type: text/plain\r\ncontent-length: 4\r\n', '\r\n\r\n'),
  '\r\n\r\n\r\n\r\n',
  message(`X: ${'long '.repeat(300)}\r\n folded\r\nL: 300\r\n`, 'SIP/2.0 200 OK\r\n'.repeat(20).slice(0, 300)),
  message('Content-Length: 3\r\nl: 3\r\n', '\0\xff\n'),
  'OPTIONS sip:unfinished',
].join('');

test('split anywhere: cut at every position, the same bytes give the same messages', () => {
  const text = bytes(stream);
  const expected = frame([text]);
  expect(expected.filter((m) => m === '(ping)')).toHaveLength(3);
  expect(expected).toHaveLength(8);
  for (let cut = 0; cut <= text.length; cut++)
    expect(frame([text.slice(0, cut), text.slice(cut)]), `cut at ${cut}`).toEqual(expected);
});

/** Bytes of a text, cut at many places. */
const cutStream = (source: fc.Arbitrary<string>) =>
  source.chain((text) =>
    fc.array(fc.nat(text.length), { maxLength: 30 }).map((cuts) => {
      const b = bytes(text);
      const at = [0, ...cuts.sort((x, y) => x - y), b.length];
      return { b, chunks: at.slice(1).map((to, i) => b.slice(at[i] as number, to)) };
    }),
  );

test('split anywhere: cut at many positions, good and bad streams alike', () => {
  const broken = fc
    .tuple(fc.nat(stream.length - 1), fc.constantFrom('\r', '\n', ' ', ':', 'l', '9', '\0'))
    .map(([at, c]) => stream.slice(0, at) + c + stream.slice(at + 1));
  fc.assert(
    fc.property(cutStream(fc.oneof(fc.constant(stream), broken)), ({ b, chunks }) => {
      expect(frame(chunks)).toEqual(frame([b]));
    }),
    { numRuns: 500 },
  );
});

test('arbitrary bytes never throw, and give the same however they are cut', () => {
  const piece = fc.constantFrom(
    '\r\n',
    '\r',
    '\n',
    ' ',
    '\t',
    ':',
    'l',
    'Content-Length',
    '0',
    '5',
    '99999',
    'x',
    'A b C',
  );
  fc.assert(
    fc.property(cutStream(fc.array(piece, { maxLength: 60 }).map((p) => p.join(''))), ({ b, chunks }) => {
      expect(frame(chunks)).toEqual(frame([b]));
    }),
    { numRuns: 1000 },
  );
});

test('slow drip: work grows with the bytes, not with their square', () => {
  const text = bytes(message('Content-Length: 4000\r\n', 'z'.repeat(4000)));
  let looked = 0;
  /** A chunk that counts each look at one of its bytes. */
  const watched = (chunk: Uint8Array) =>
    new Proxy(chunk, {
      get(target, key) {
        if (typeof key === 'string' && /^\d+$/.test(key)) looked++;
        const value = Reflect.get(target, key, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  let copied = 0;
  const set = Uint8Array.prototype.set;
  vi.spyOn(Uint8Array.prototype, 'set').mockImplementation(function (this: Uint8Array, from, at) {
    copied += from.length;
    set.call(this, Array.from(from as ArrayLike<number>), at);
  });
  let messages = 0;
  const framer = new StreamFramer({ message: () => messages++, ping: () => {} }, LIMITS);
  for (const c of text) framer.feed(watched(Uint8Array.of(c)));
  expect(messages).toBe(1);
  // Each byte is read at most twice by `Array.from` and the copy, and once by the framer.
  expect(looked).toBeLessThanOrEqual(3 * text.length);
  expect(copied).toBeLessThanOrEqual(4 * text.length);
});
