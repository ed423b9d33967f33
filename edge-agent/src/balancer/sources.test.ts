import { expect, test } from 'vitest';
import { agent, endpoint } from '../proxy/proxy.fixture.ts';

const find = (backends: object[], from: string): number =>
  agent({ backends: backends as never }).runtime.farms[0]!.sources.find(endpoint(from));

test('a backend is known by its address, whatever port it sends from', () => {
  const backends = [
    { name: 'a', address: '10.0.0.11' },
    { name: 'b', address: '10.0.0.12' },
  ];
  expect(find(backends, 'udp 10.0.0.12:5060')).toBe(1);
  expect(find(backends, 'tcp 10.0.0.11:49152')).toBe(0);
  expect(find(backends, 'udp 10.0.0.13:5060')).toBe(-1);
});

test('on loopback, which phones and PBXs of one host share, the port counts too', () => {
  const backends = [{ name: 'a', address: '127.0.0.1', port: 5071 }];
  expect(find(backends, 'udp 127.0.0.1:5071')).toBe(0);
  expect(find(backends, 'udp 127.0.0.1:5072')).toBe(-1);
});

test('sources: blocks of both families', () => {
  const backends = [{ name: 'a', address: '10.0.0.11', sources: ['10.1.0.0/16', '2001:db8:1::/48'] }];
  expect(find(backends, 'udp 10.1.255.3:1')).toBe(0);
  expect(find(backends, 'udp 10.2.0.1:1')).toBe(-1);
  expect(find(backends, 'udp [2001:db8:1::9]:1')).toBe(0);
  expect(find(backends, 'udp [2001:db8:2::9]:1')).toBe(-1);
  expect(find(backends, 'udp 10.0.0.11:5060')).toBe(-1);
});
