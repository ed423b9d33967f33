import { expect, test } from 'vitest';
import { nameOf, parseOptions } from './options.ts';

const parse = (...argv: string[]) => parseOptions(argv, '0.1.0');

test('a snapshot file runs without a control plane, under a number that its name decides', () => {
  const { source, admin, workers, data } = parse('--snapshot', 'farm.json', '--name', 'edge-1');
  const other = parse('--snapshot', 'farm.json', '--name', 'edge-2').source;
  expect(source).toMatchObject({ kind: 'file', path: 'farm.json', number: expect.any(Number) });
  expect(parse('--snapshot', 'farm.json', '--name', 'edge-1').source).toEqual(source);
  expect(other).not.toEqual(source);
  expect(admin).toEqual({ host: '127.0.0.1', port: 8081 });
  expect(workers).toBeGreaterThanOrEqual(1);
  expect(data).toBe('./var/agent');
  expect(parse('--snapshot', 'farm.json', '--number', '9').source).toMatchObject({ number: 9 });
});

test('a control plane is a URL, the join token may come from the environment', () => {
  process.env.SIPFLEET_JOIN_TOKEN = 'jt_from_env';
  const { source } = parse('--control-plane', 'https://api.example.com/prod');
  delete process.env.SIPFLEET_JOIN_TOKEN;
  expect(source).toMatchObject({ kind: 'control-plane', joinToken: 'jt_from_env' });
  expect(source.kind === 'control-plane' && source.base.href).toBe('https://api.example.com/prod/');
});

test('calls are played before it serves, unless it is told not to', () => {
  expect(parse('--snapshot', 'x').warmUp).toBe(true);
  expect(parse('--snapshot', 'x', '--no-warm-up').warmUp).toBe(false);
});

test('addresses of both families are taken', () => {
  const { admin, address } = parse('--snapshot', 'x', '--admin', '[::1]:0', '--address', '2001:db8::1');
  expect([admin, address]).toEqual([{ host: '::1', port: 0 }, '2001:db8::1']);
});

test('secrets go with a snapshot file and not with a control plane', () => {
  expect(parse('--snapshot', 'x', '--secrets', 's.json').source).toMatchObject({ secrets: 's.json' });
  expect(() => parse('--control-plane', 'http://localhost', '--secrets', 's.json')).toThrow('--secrets goes with');
});

test('the other agents of a site go with a snapshot file and not with a control plane', () => {
  const argv = ['--peer', '2=10.0.0.22', '--peer', '3=2001:db8::3'];
  const peers = [
    { number: 2, address: '10.0.0.22' },
    { number: 3, address: '2001:db8::3' },
  ];
  expect(parse('--snapshot', 'x', ...argv).source).toMatchObject({ peers });
  expect(parse('--snapshot', 'x').source).toMatchObject({ peers: [] });
  expect(() => parse('--control-plane', 'http://localhost', ...argv)).toThrow('--peer goes with');
});

test('what does not go together is refused', () => {
  expect(() => parse()).toThrow('nothing to run: give --control-plane URL or --snapshot FILE');
  expect(() => parse('--snapshot', 'x', '--control-plane', 'http://localhost')).toThrow('exclude each other');
});

test('any host name makes a resource name', () => {
  expect(nameOf('Edge_1.example.com')).toBe('edge-1-example-com');
  expect(nameOf('-_-')).toBe('agent');
  expect(nameOf(`${'a'.repeat(62)}.${'b'.repeat(9)}`)).toBe('a'.repeat(62));
});
