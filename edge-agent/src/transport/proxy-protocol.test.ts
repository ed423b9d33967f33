import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TRANSPORT } from '../ports.ts';
import { createEndpoint, formatEndpoint } from './endpoint.ts';
import { PROXY_HEADER, PROXY_HEADER_LONGEST, readProxyHeader } from './proxy-protocol.ts';

const SIGNATURE = '0d0a0d0a000d0a515549540a';
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const ascii = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'));
const concat = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((p) => [...p]));

function read(bytes: Uint8Array): { result: number; source: string } {
  const source = createEndpoint(TRANSPORT.tcp);
  const result = readProxyHeader(bytes, source);
  return { result, source: formatEndpoint(source) };
}
const NOTHING = '[0:0:0:0:0:0:0:0]:0';

/** Addresses of the documentation blocks: 198.51.100.7:40000 → 192.0.2.1:5061. */
const V4 = 'c6336407 c0000201 9c40 13c5';
const V6 = '20010db8000000000000000000000007 20010db8000000000000000000000001 9c40 13c5';

const headers: [what: string, bytes: Uint8Array, source: string][] = [
  ['v1 TCP4', ascii('PROXY TCP4 198.51.100.7 192.0.2.1 40000 5061\r\n'), '198.51.100.7:40000'],
  ['v1 TCP6', ascii('PROXY TCP6 2001:db8::7 2001:db8::1 40000 5061\r\n'), '[2001:db8:0:0:0:0:0:7]:40000'],
  ['v1 UNKNOWN', ascii('PROXY UNKNOWN\r\n'), NOTHING],
  ['v1 UNKNOWN with addresses', ascii(`PROXY UNKNOWN ${'f'.repeat(39)} ::1 65535 65535\r\n`), NOTHING],
  ['v2 TCP4', hex(`${SIGNATURE} 21 11 000c ${V4}`), '198.51.100.7:40000'],
  ['v2 TCP4 with TLVs', hex(`${SIGNATURE} 21 11 0010 ${V4} 04000100`), '198.51.100.7:40000'],
  ['v2 TCP6', hex(`${SIGNATURE} 21 21 0024 ${V6}`), '[2001:db8:0:0:0:0:0:7]:40000'],
  ['v2 LOCAL', hex(`${SIGNATURE} 20 00 0000`), NOTHING],
  ['v2 LOCAL with addresses to be ignored', hex(`${SIGNATURE} 20 11 000c ${V4}`), NOTHING],
  ['v2 unspecified family', hex(`${SIGNATURE} 21 00 0003 040000`), NOTHING],
  ['v2 of the greatest length', concat(hex(`${SIGNATURE} 21 00 1000`), new Uint8Array(4096)), NOTHING],
];

describe.each(headers)('%s', (_what, header, source) => {
  const whole = concat(header, ascii('REGISTER sip:a SIP/2.0\r\n'));

  test('is read up to its end, whatever follows', () => {
    expect(read(header)).toEqual({ result: header.length, source });
    expect(read(whole)).toEqual({ result: header.length, source });
  });

  test('cut at any byte it is partial, and says nothing yet', () => {
    for (let cut = 0; cut < header.length; cut += header.length > 200 ? 37 : 1)
      expect(read(whole.subarray(0, cut)), `cut at ${cut}`).toEqual({ result: PROXY_HEADER.partial, source: NOTHING });
  });
});

test.each([
  ['a SIP request', ascii('REGISTER sip:a SIP/2.0\r\n')],
  ['a TLS ClientHello', hex('160301020001')],
  ['lower case', ascii('proxy TCP4 198.51.100.7 192.0.2.1 40000 5061\r\n')],
  ['a bare LF', ascii('PROXY TCP4 198.51.100.7 192.0.2.1 40000 5061\n')],
  ['a family of its own', ascii('PROXY UDP4 198.51.100.7 192.0.2.1 40000 5061\r\n')],
  ['families mixed', ascii('PROXY TCP4 2001:db8::7 192.0.2.1 40000 5061\r\n')],
  ['a zone', ascii('PROXY TCP6 fe80::7%eth0 fe80::1 40000 5061\r\n')],
  ['a bad destination', ascii('PROXY TCP4 198.51.100.7 192.0.2.999 40000 5061\r\n')],
  ['a port too high', ascii('PROXY TCP4 198.51.100.7 192.0.2.1 65536 5061\r\n')],
  ['a port with a leading zero', ascii('PROXY TCP4 198.51.100.7 192.0.2.1 040 5061\r\n')],
  ['a field too many', ascii('PROXY TCP4 198.51.100.7 192.0.2.1 40000 5061 x\r\n')],
  ['a field too few', ascii('PROXY TCP4 198.51.100.7 192.0.2.1 40000\r\n')],
  ['two spaces', ascii('PROXY TCP4  198.51.100.7 192.0.2.1 40000 5061\r\n')],
  ['v1 that does not end', ascii(`PROXY UNKNOWN ${'x'.repeat(100)}`)],
  ['v2 of another version', hex(`${SIGNATURE} 31 11 000c ${V4}`)],
  ['v2 of another command', hex(`${SIGNATURE} 22 11 000c ${V4}`)],
  ['v2 of datagrams', hex(`${SIGNATURE} 21 12 000c ${V4}`)],
  ['v2 of Unix sockets', hex(`${SIGNATURE} 21 31 000c ${V4}`)],
  ['v2 too short for its family', hex(`${SIGNATURE} 21 21 000c ${V4}`)],
  ['v2 too long', hex(`${SIGNATURE} 21 11 1001 ${V4}`)],
  ['half a signature', hex('0d0a0d0a0d0a')],
])('%s is malformed', (_what, bytes) => {
  expect(read(bytes).result).toBe(PROXY_HEADER.malformed);
});

test('anything at all is read without an error, and decided within the longest header', () => {
  const near = fc
    .tuple(fc.constantFrom(...headers.map(([, bytes]) => bytes)), fc.nat(60), fc.uint8Array({ maxLength: 8 }))
    .map(([bytes, at, mutation]) => concat(bytes.subarray(0, at), mutation, bytes.subarray(at + mutation.length)));
  const any = fc.oneof(near, fc.uint8Array({ maxLength: 300 }));
  fc.assert(
    fc.property(any, (bytes) => {
      const { result, source } = read(bytes);
      expect(result).toBeGreaterThanOrEqual(-1);
      expect(result).toBeLessThanOrEqual(bytes.length);
      if (result === PROXY_HEADER.partial) expect(source).toBe(NOTHING);
      // The same header, and more behind it: the same answer.
      const more = read(concat(bytes, Uint8Array.of(0x50, 0x0d, 0x0a)));
      if (result > 0) expect(more).toEqual({ result, source });
      if (result === PROXY_HEADER.malformed) expect(more.result).toBe(PROXY_HEADER.malformed);
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: PROXY_HEADER_LONGEST, maxLength: PROXY_HEADER_LONGEST }), (tail) => {
      expect(read(concat(hex(`${SIGNATURE} 21 11`), tail)).result).not.toBe(PROXY_HEADER.partial);
    }),
    { numRuns: 20 },
  );
});
