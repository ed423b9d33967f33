import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TRANSPORT } from '../ports.ts';
import { copyEndpoint, createEndpoint, formatAddress, formatEndpoint, sameEndpoint, setAddress } from './endpoint.ts';

const words = (text: string) => {
  const e = createEndpoint(TRANSPORT.udp);
  return setAddress(e, text) ? [e.ip0, e.ip1, e.ip2, e.ip3] : undefined;
};

test.each([
  ['127.0.0.1', [0, 0, 0xffff, 0x7f000001]],
  ['255.255.255.255', [0, 0, 0xffff, 0xffffffff]],
  ['::', [0, 0, 0, 0]],
  ['::1', [0, 0, 0, 1]],
  ['2001:DB8::8:800:200c:417a', [0x20010db8, 0, 0x00080800, 0x200c417a]],
  ['2001:db8::', [0x20010db8, 0, 0, 0]],
  ['1:2:3:4:5:6:7:8', [0x10002, 0x30004, 0x50006, 0x70008]],
  ['1:2:3:4:5:6:7::', [0x10002, 0x30004, 0x50006, 0x70000]],
  ['::ffff:10.0.0.7', [0, 0, 0xffff, 0x0a000007]],
  ['fe80::1%eth0', [0xfe800000, 0, 0, 1]],
])('%s is read into four words', (text, expected) => {
  expect(words(text)).toEqual(expected);
});

test.each([
  '',
  '1.2.3',
  '1.2.3.4.5',
  '256.1.1.1',
  '1..2.3',
  ':::',
  '1::2::3',
  '1:2:3:4:5:6:7:8:9',
  '12345::',
  '1:',
  'x',
])('%j is no address, and nothing is written', (text) => {
  expect(words(text)).toBeUndefined();
});

test('what is formatted is read back to the same words, and Node takes it for an address', () => {
  const word = fc.integer({ min: 0, max: 0xffffffff });
  fc.assert(
    fc.property(word, word, word, word, (ip0, ip1, ip2, ip3) => {
      const text = formatAddress({ ...createEndpoint(TRANSPORT.tcp), ip0, ip1, ip2, ip3 });
      expect(words(text)).toEqual([ip0, ip1, ip2, ip3]);
      expect(text.includes('.') || isIPv6(text)).toBe(true);
    }),
  );
});

test('endpoints are the same by transport, address and port, whatever the connection', () => {
  const a = createEndpoint(TRANSPORT.tcp);
  setAddress(a, '192.0.2.1');
  a.port = 5060;
  const b = copyEndpoint(createEndpoint(TRANSPORT.udp), a);
  expect(sameEndpoint(a, b)).toBe(true);
  b.connection = 7;
  expect(sameEndpoint(a, b)).toBe(true);
  b.port = 5061;
  expect(sameEndpoint(a, b)).toBe(false);
  expect(formatEndpoint(b)).toBe('192.0.2.1:5061');
  setAddress(b, '::1');
  expect(formatEndpoint(b)).toBe('[0:0:0:0:0:0:0:1]:5061');
});
