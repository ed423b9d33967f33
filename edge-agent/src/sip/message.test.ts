import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HEADER } from './header.ts';
import { MessageView, PARSE_ERRORS } from './message.ts';
import { METHOD } from './method.ts';

const encode = (text: string) => new Uint8Array(Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1'));
const parse = (text: string) => {
  const bytes = encode(text);
  const m = new MessageView();
  const error = PARSE_ERRORS[m.parse(bytes, 0, bytes.length)];
  const slice = (a: number, b: number) => Buffer.from(bytes.subarray(a, b)).toString('latin1');
  return {
    m,
    error,
    slice,
    value: (code: number) => slice(m.valueStart[m.first[code]!]!, m.valueEnd[m.first[code]!]!),
  };
};
const MINIMAL =
  'OPTIONS sip:a@b SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: x\nCSeq: 7 OPTIONS\n\n';

test('a request: method, Request-URI, CSeq, tags, end of headers', () => {
  const { m, error, slice } = parse(MINIMAL);
  expect(error).toBe('');
  expect(m.isRequest).toBe(true);
  expect(m.method).toBe(METHOD.OPTIONS);
  expect(slice(m.uriStart, m.uriEnd)).toBe('sip:a@b');
  expect(m.cseq).toBe(7);
  expect(slice(m.fromTagStart, m.fromTagEnd)).toBe('1');
  expect(m.hasToTag).toBe(false);
  expect(m.maxForwards).toBe(-1);
});

test('a response, with the method of its CSeq', () => {
  const { m, error } = parse(MINIMAL.replace(/^.*\n/, 'SIP/2.0 486 Busy Here\n').replace('OPTIONS', 'INVITE'));
  expect(error).toBe('');
  expect([m.isRequest, m.status, m.method]).toEqual([false, 486, METHOD.INVITE]);
});

test('compact names, odd case, blanks before the colon, folded lines', () => {
  const { error, value, m } = parse(
    'INVITE sip:a@b SIP/2.0\nv : SIP/2.0/UDP h\n  ;branch=z9hG4bK1\nF: "A; tag=no" <sip:a@b;tag=no>\n\t;x="tag=no;"\n ; TAG = yes\nt:<sip:c@d>;tag=t\nI:x\ncSEQ:\n 1\n INVITE\nL : 0\n\n',
  );
  expect(error).toBe('');
  expect(value(HEADER.via)).toBe('SIP/2.0/UDP h\r\n  ;branch=z9hG4bK1');
  expect(Buffer.from(m.bytes.subarray(m.fromTagStart, m.fromTagEnd)).toString()).toBe('yes');
  expect(m.hasToTag).toBe(true);
});

test('the body ends where Content-Length says; without one, with the datagram', () => {
  const two = parse(MINIMAL.replace('\n\n', '\nContent-Length: 2\n\nabcd'));
  expect(two.slice(two.m.bodyStart, two.m.end)).toBe('ab');
  const all = parse(`${MINIMAL}abcd`);
  expect(all.slice(all.m.bodyStart, all.m.end)).toBe('abcd');
});

test.each([
  ['nothing', '', 'Not SIP'],
  ['HTTP', 'GET / HTTP/1.1\nHost: x\n\n', 'Bad Start Line'],
  ['SIP/3.0', MINIMAL.replace('SIP/2.0\nVia', 'SIP/3.0\nVia'), 'Version Not Supported'],
  ['a space in the URI', MINIMAL.replace('sip:a@b ', 'sip:a @b '), 'Bad Request Line'],
  ['two spaces before the URI', MINIMAL.replace(' sip:a@b ', '  sip:a@b '), 'Bad Request Line'],
  ['a space behind the version', MINIMAL.replace('SIP/2.0\nVia', 'SIP/2.0 \nVia'), 'Bad Request Line'],
  ['no Request-URI', MINIMAL.replace(' sip:a@b ', ' '), 'Bad Request Line'],
  ['a Request-URI with headers', MINIMAL.replace('sip:a@b ', 'sip:a@b?Route=%3Csip:c%3E '), 'Bad Request Line'],
  ['a Request-URI of a host with headers', MINIMAL.replace('sip:a@b ', 'SIPS:b?to=c '), 'Bad Request Line'],
  ['no end of headers', MINIMAL.slice(0, -1), 'Missing End Of Headers'],
  ['a header without a colon', MINIMAL.replace('Call-ID:', 'Call-ID'), 'Bad Header Line'],
  ['a header name with a blank inside', MINIMAL.replace('Call-ID:', 'Call ID:'), 'Bad Header Line'],
  ['no Call-ID', MINIMAL.replace('Call-ID: x\n', ''), 'Missing Mandatory Header'],
  ['an empty Call-ID', MINIMAL.replace('Call-ID: x', 'Call-ID: '), 'Missing Mandatory Header'],
  ['two From', MINIMAL.replace('To:', 'f: <sip:z@z>;tag=2\nTo:'), 'Duplicate Mandatory Header'],
  ['two Content-Length', MINIMAL.replace('\n\n', '\nContent-Length: 0\nl: 0\n\n'), 'Duplicate Mandatory Header'],
  ['a CSeq without number', MINIMAL.replace('7 OPTIONS', 'OPTIONS'), 'Bad CSeq'],
  ['a CSeq of 2^31', MINIMAL.replace('7 OPTIONS', '2147483648 OPTIONS'), 'Bad CSeq'],
  ['a quote that never closes', MINIMAL.replace('<sip:a@b>;tag=1', '"a <sip:a@b>;tag=1'), 'Bad From Or To'],
  ['a comma in a display name', MINIMAL.replace('<sip:a@b>;tag=1', 'B, A <sip:a@b>;tag=1'), 'Bad From Or To'],
  ['Max-Forwards 256', MINIMAL.replace('\n\n', '\nMax-Forwards: 256\n\n'), 'Bad Max-Forwards'],
  ['a status of 99', 'SIP/2.0 099 X\n\n', 'Bad Start Line'],
  ['300 headers', MINIMAL.replace('\n\n', `\n${'X: y\n'.repeat(300)}\n`), 'Too Many Headers'],
])('%s is refused', (_name, text, error) => {
  expect(parse(text).error).toBe(error);
});

test('a bad request line does not hide the headers that its answer needs', () => {
  for (const line of ['OPTIONS  sip:a@b  SIP/2.0', 'OPTIONS sip:a@b SIP/7.0', 'OPTIONS sip:a@b;x= y SIP/2.0']) {
    const { value, m } = parse(MINIMAL.replace(/^.*\n/, `${line}\n`).replace('<sip:c@d>', '<sip:c@d>;tag=9'));
    expect(value(HEADER.via)).toBe('SIP/2.0/UDP h;branch=z9hG4bK1');
    expect([m.isRequest, m.method, m.hasToTag]).toEqual([true, METHOD.OPTIONS, true]);
  }
});

test.each([
  ['"\\\0"<sip:a@b>;tag=1', ''],
  ['"a\\\\\\\0b" "\\\0\\\0" <sip:a@b>;tag=1', ''],
  ['"a\\\\\0b" <sip:a@b>;tag=1', 'Bad Header Line'],
  ['"a" \\\0 <sip:a@b>;tag=1', 'Bad Header Line'],
  ['"\\\0" <sip:a\0@b>;tag=1', 'Bad Header Line'],
])('a NUL stands as a quoted-pair within quotes and nowhere else: %j', (from, error) => {
  expect(parse(MINIMAL.replace('<sip:a@b>;tag=1', from)).error).toBe(error);
});

test('a question mark of the user part makes no headers', () => {
  expect(parse(MINIMAL.replace('sip:a@b ', 'sip:a?b=c@d;lr ')).error).toBe('');
  expect(parse(MINIMAL.replace('sip:a@b ', 'sipx:a?b ')).error).toBe('');
});

test('a bare LF or NUL inside a header is refused, not read differently from the next hop', () => {
  for (const c of ['\x0b', '\x00']) {
    const bytes = encode(MINIMAL);
    const at = Buffer.from(bytes).indexOf('Call-ID: x') + 9;
    bytes[at] = c === '\x0b' ? 10 : 0;
    const m = new MessageView();
    expect(PARSE_ERRORS[m.parse(bytes, 0, bytes.length)]).toBe('Bad Header Line');
  }
});

test('no bytes make the parser throw or point outside of the message', () => {
  const m = new MessageView();
  const valid = encode(`${MINIMAL}body`);
  const mutated = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 8 }).map((edits) => {
    const copy = valid.slice();
    for (const [at, value] of edits) copy[at] = value;
    return copy;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), mutated), fc.nat(20), (bytes, cut) => {
      const end = Math.max(0, bytes.length - cut);
      const error = m.parse(bytes, 0, end);
      expect(m.headerCount).toBeLessThanOrEqual(256);
      for (let i = 0; i < m.headerCount; i++) {
        expect(m.lineStart[i]! < m.lineEnd[i]! && m.lineEnd[i]! <= end).toBe(true);
        expect(m.valueStart[i]! <= m.valueEnd[i]! && m.valueEnd[i]! <= m.lineEnd[i]!).toBe(true);
      }
      if (error === 0) expect(m.end).toBeLessThanOrEqual(end);
    }),
    { numRuns: 2000 },
  );
});
