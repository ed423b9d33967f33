import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalIP, formatIP, isIPv4, parseCidr, parseHostPort, parseIP, parseIPv4 } from './address.ts';

const word = fc.integer({ min: 0, max: 0xffff_ffff });
const octet = fc.integer({ min: 0, max: 255 });

describe('parseIP', () => {
  test.each([
    ['0.0.0.0', [0, 0, 0xffff, 0]],
    ['192.0.2.10', [0, 0, 0xffff, 0xc000020a]],
    ['255.255.255.255', [0, 0, 0xffff, 0xffffffff]],
    ['::', [0, 0, 0, 0]],
    ['::1', [0, 0, 0, 1]],
    ['2001:db8::1', [0x20010db8, 0, 0, 1]],
    ['2001:DB8:0:0:0:0:0:1', [0x20010db8, 0, 0, 1]],
    ['1:2:3:4:5:6:7:8', [0x10002, 0x30004, 0x50006, 0x70008]],
    ['1:2:3:4:5:6:7::', [0x10002, 0x30004, 0x50006, 0x70000]],
    ['::ffff:192.0.2.10', [0, 0, 0xffff, 0xc000020a]],
    ['64:ff9b::192.0.2.10', [0x64ff9b, 0, 0, 0xc000020a]],
  ])('%s', (text, words) => {
    expect(parseIP(text)).toEqual(words);
  });

  test.each([
    '',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    '01.2.3.4',
    '1.2.3.4 ',
    '0x1.2.3.4',
    ':',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1::2::3',
    '1:2:3:4:5:6:7:8::',
    '::1:2:3:4:5:6:7:8',
    '12345::',
    'g::',
    '1.2.3.4::',
    '1.2.3.4::1',
    '::1.2.3.4:5',
    '::1.2.3',
    'fe80::1%eth0',
    '[::1]',
    'pbx.example.com',
  ])('refuses %j', (text) => {
    expect(parseIP(text)).toBeUndefined();
  });

  test('reads back every address that formatIP writes', () => {
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), (words) => {
        expect(parseIP(formatIP(words))).toEqual(words);
      }),
    );
    // Runs of zeroes are where compression goes wrong: most random words have none.
    const sparse = fc.array(fc.constantFrom(0, 1, 0x10000, 0xffff), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(sparse, (words) => {
        expect(parseIP(formatIP(words))).toEqual(words);
      }),
    );
  });

  test('IPv4 text survives as it was written', () => {
    fc.assert(
      fc.property(octet, octet, octet, octet, (...octets) => {
        const text = octets.join('.');
        const ip = parseIP(text) as number[];
        expect(isIPv4(ip)).toBe(true);
        expect(formatIP(ip)).toBe(text);
        expect(ip[3]).toBe(parseIPv4(text));
      }),
    );
  });

  test('never throws, and gives four unsigned words or nothing', () => {
    const near = fc.string({ unit: fc.constantFrom('0', '1', 'f', '9', '.', ':', '::', '255', ' '), maxLength: 20 });
    fc.assert(
      fc.property(fc.oneof(fc.string(), near), (text) => {
        const ip = parseIP(text);
        if (ip !== undefined) expect(ip.every((w) => Number.isInteger(w) && w >= 0 && w <= 0xffff_ffff)).toBe(true);
      }),
    );
  });
});

test('formatIP writes IPv6 as RFC 5952 wants it', () => {
  expect(canonicalIP('2001:0DB8:0000:0000:0000:0000:0002:0001')).toBe('2001:db8::2:1');
  // §4.2.2: a single zero group is not shortened; §4.2.3: the longest run is, the first of equals.
  expect(canonicalIP('2001:db8:0:1:1:1:1:1')).toBe('2001:db8:0:1:1:1:1:1');
  expect(canonicalIP('2001:0:0:1:0:0:0:1')).toBe('2001:0:0:1::1');
  expect(canonicalIP('2001:db8:0:0:1:0:0:1')).toBe('2001:db8::1:0:0:1');
  expect(canonicalIP('::ffff:192.0.2.1')).toBe('192.0.2.1');
  expect(canonicalIP('not an address')).toBe('not an address');
});

test('parseCidr counts the prefix in the 128-bit form', () => {
  expect(parseCidr('10.0.0.0/8')).toEqual({ ip: [0, 0, 0xffff, 0x0a000000], bits: 104 });
  expect(parseCidr('0.0.0.0/0')?.bits).toBe(96);
  expect(parseCidr('10.0.0.11')?.bits).toBe(128);
  expect(parseCidr('2001:db8::/32')?.bits).toBe(32);
  for (const text of [
    '10.0.0.0/33',
    '2001:db8::/129',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    '10.0.0/8',
    '/8',
    '',
  ])
    expect(parseCidr(text)).toBeUndefined();
});

test('parseHostPort takes brackets off IPv6 and refuses it without', () => {
  expect(parseHostPort('127.0.0.1:5060')).toEqual({ host: '127.0.0.1', port: 5060 });
  expect(parseHostPort('localhost:0')).toEqual({ host: 'localhost', port: 0 });
  expect(parseHostPort('[::1]:5060')).toEqual({ host: '::1', port: 5060 });
  for (const text of ['::1:5060', '127.0.0.1', ':5060', '127.0.0.1:', '127.0.0.1:65536', 'a:b', '[::1]', ''])
    expect(parseHostPort(text)).toBeUndefined();
});
