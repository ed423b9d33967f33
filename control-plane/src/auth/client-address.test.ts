import { expect, test } from 'vitest';
import { clientAddress } from './client-address.ts';

const from = clientAddress(['10.0.0.0/8', '2001:db8::/32', '192.0.2.9']);

test.each([
  ['a stranger says what it likes', '198.51.100.7', '1.2.3.4', '198.51.100.7'],
  ['a proxy is believed', '10.1.2.3', '198.51.100.7', '198.51.100.7'],
  ['of several, the last that is no proxy', '10.1.2.3', '1.1.1.1, 198.51.100.7, 192.0.2.9', '198.51.100.7'],
  ['a proxy that says nothing', '10.1.2.3', undefined, '10.1.2.3'],
  ['a proxy that says nonsense', '10.1.2.3', 'unknown', '10.1.2.3'],
  ['proxies alone', '10.1.2.3', '10.9.9.9', '10.9.9.9'],
  ['IPv6', '2001:db8::5', '2001:db9::7', '2001:db9::7'],
])('%s', (_what, remote, forwarded, found) => {
  expect(from(remote, forwarded)).toBe(found);
});

test('without proxies of one’s own nobody is believed; without a connection nothing is known', () => {
  expect(clientAddress([])('10.1.2.3', '198.51.100.7')).toBe('10.1.2.3');
  expect(from(undefined, '198.51.100.7')).toBeUndefined();
  expect(() => clientAddress(['10.0.0.0/40'])).toThrow('10.0.0.0/40 is no address');
});
