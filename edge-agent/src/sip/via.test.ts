import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatWords, wordsOf } from './host.ts';
import { address, nextAddress, SCHEME, UriView } from './uri.ts';
import { ViaView } from './via.ts';

const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));
const via = (text: string) => {
  const bytes = bytesOf(`xx${text}`);
  const v = new ViaView();
  const ok = v.parse(bytes, 2, bytes.length);
  const cut = (a: number, b: number) => Buffer.from(bytes.subarray(a, b)).toString();
  return { v, ok, cut };
};

test('sent-by, branch, received, rport and our flow of a Via', () => {
  const { v, ok, cut } = via(
    'SIP / 2.0 / UDP host.example:5070 ;branch=z9hG4bKx;rport;received=192.0.2.1;w=abc , SIP/2.0/UDP next',
  );
  expect(ok).toBe(true);
  expect(cut(v.hostStart, v.hostEnd)).toBe('host.example');
  expect(v.port).toBe(5070);
  expect(cut(v.branchStart, v.branchEnd)).toBe('z9hG4bKx');
  expect(cut(v.rportAt, v.rportEnd)).toBe(';rport');
  expect(cut(v.receivedStart, v.receivedEnd)).toBe('192.0.2.1');
  expect(cut(v.flowStart, v.flowEnd)).toBe('abc');
  expect(cut(v.end, v.end + 1)).toBe(',');
});

test('IPv6 in brackets, quoted parameters, a filled rport', () => {
  const { v, ok, cut } = via('SIP/2.0/TCP [2001:db8::1];x="a;rport=1,b";rport=4711;received=[::1]');
  expect(ok).toBe(true);
  expect(cut(v.hostStart, v.hostEnd)).toBe('2001:db8::1');
  expect(v.rport).toBe(4711);
  expect(cut(v.receivedStart, v.receivedEnd)).toBe('::1');
});

test.each([
  '',
  'SIP/2.0',
  'SIP/2.0/UDP',
  'SIP/2.0/UDP ;branch=x',
  'SIP/2.0/UDP h:0',
  'SIP/2.0/UDP h:99999',
  'SIP/2.0/UDP [::1',
  'SIP/2.0/UDP h;rport=1;rport=2',
  'SIP/2.0/UDP h;branch=a;branch=b',
  'SIP/2.0/UDP h;x="',
])('refused: %s', (text) => {
  expect(via(text).ok).toBe(false);
});

test('no bytes make the Via, URI or address readers throw', () => {
  const v = new ViaView();
  const u = new UriView();
  const soup = fc.string({
    unit: fc.constantFrom(...'SIP/2.0UDP sip:@;,<>"\\[]=brancheport:5060rx%\r\n\t'),
    maxLength: 80,
  });
  fc.assert(
    fc.property(soup, (text) => {
      const bytes = bytesOf(text);
      if (v.parse(bytes, 0, bytes.length)) expect(v.end).toBeLessThanOrEqual(bytes.length);
      if (u.parse(bytes, 0, bytes.length)) expect(u.paramsStart).toBeLessThanOrEqual(bytes.length);
      if (nextAddress(bytes, 0, bytes.length)) expect(address.end).toBeLessThanOrEqual(bytes.length);
    }),
    { numRuns: 3000 },
  );
});

test.each([
  ['sip:a@b.example:5070;lr?x=y', SCHEME.sip, 'a', 'b.example', 5070],
  ['SIPS:a:secret@[2001:db8::1]', SCHEME.sips, 'a', '2001:db8::1', 0],
  ['sip:b.example', SCHEME.sip, '', 'b.example', 0],
  ['sip:a;b=c?d@host', SCHEME.sip, 'a;b=c?d', 'host', 0],
  ['tel:+1-555;phone-context=x', SCHEME.tel, '+1-555', '', 0],
] as const)('%s', (text, scheme, user, host, port) => {
  const bytes = bytesOf(text);
  const u = new UriView();
  expect(u.parse(bytes, 0, bytes.length)).toBe(true);
  const cut = (a: number, b: number) => Buffer.from(bytes.subarray(a, b)).toString();
  expect([u.scheme, cut(u.userStart, u.userEnd), cut(u.hostStart, u.hostEnd), u.port]).toEqual([
    scheme,
    user,
    host,
    port,
  ]);
});

test.each(['mailto:a@b', 'sip:', 'sip:a@', 'sip:a@b:0', 'sip:a@b:70000', 'sip:a@b x', 'tel:'])(
  'no URI for us: %s',
  (text) => {
    const bytes = bytesOf(text);
    expect(new UriView().parse(bytes, 0, bytes.length)).toBe(false);
  },
);

test.each([
  ['mailto:a@b', SCHEME.other],
  ['soap.beep://a:3', SCHEME.other],
  ['a:', SCHEME.other],
  ['<sip:a@b>', SCHEME.malformed],
  ['1a:b', SCHEME.malformed],
  ['sip', SCHEME.malformed],
  [':', SCHEME.malformed],
] as const)('%s has scheme %i: one of others is told from none', (text, scheme) => {
  const bytes = bytesOf(text);
  const u = new UriView();
  expect(u.parse(bytes, 0, bytes.length)).toBe(false);
  expect(u.scheme).toBe(scheme);
});

test('address words go to text and back', () => {
  const words = fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 0, max: 0xffffffff }))) as fc.Arbitrary<
    number[]
  >;
  fc.assert(
    fc.property(
      fc.oneof(
        words,
        words.map((w) => [0, 0, 0xffff, w[3]!]),
      ),
      (w) => {
        expect([...wordsOf(formatWords(w[0]!, w[1]!, w[2]!, w[3]!))!]).toEqual(w);
      },
    ),
  );
  for (const bad of ['1.2.3', '1.2.3.4.5', '256.1.1.1', '1::2::3', 'example.com', 'cafe', '1:2:3', ':::'])
    expect(wordsOf(bad)).toBeUndefined();
  expect(formatWords(...([...wordsOf('::ffff:192.0.2.1')!] as [number, number, number, number]))).toBe('192.0.2.1');
});
