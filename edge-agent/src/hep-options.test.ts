import { afterEach, expect, test, vi } from 'vitest';
import { parseOptions } from './options.ts';

afterEach(() => vi.unstubAllEnvs());
const hep = (...argv: string[]) => parseOptions(['--snapshot', 'x', ...argv], '0.1.0').hep;

test('nothing is sent to a HEP server unless asked for', () => {
  expect(hep()).toBeUndefined();
});

test.each([
  ['udp://homer', { transport: 'udp', host: 'homer', port: 9060 }],
  ['tcp://homer.example.com:9061/', { transport: 'tcp', host: 'homer.example.com', port: 9061 }],
  ['tls://[2001:db8::1]:9062', { transport: 'tls', host: '2001:db8::1', port: 9062 }],
])('%s names transport, host and port', (url, address) => {
  expect(hep('--hep', url)).toEqual({ address, key: '' });
});

test('address and key may come from the environment', () => {
  vi.stubEnv('SIPFLEET_HEP_URL', 'udp://10.0.0.9');
  vi.stubEnv('SIPFLEET_HEP_KEY', 'myHep');
  expect(hep()).toEqual({ address: { transport: 'udp', host: '10.0.0.9', port: 9060 }, key: 'myHep' });
  vi.stubEnv('SIPFLEET_HEP_KEY', 'x'.repeat(257));
  expect(() => hep()).toThrow('SIPFLEET_HEP_KEY: found 257 bytes; allowed: 256');
});

test.each(['homer:9060', 'http://homer', 'udp://homer:0', 'udp://', 'udp://user@homer', 'tcp://homer/x'])(
  '%s is no HEP server',
  (url) => {
    const exit = vi.spyOn(process, 'exit').mockImplementation((code) => {
      throw new Error(`exit ${code}`);
    });
    const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    expect(() => hep('--hep', url)).toThrow('exit 1');
    expect(write.mock.calls.join()).toMatch(/Allowed: udp:\/\/HOST/);
    exit.mockRestore();
    write.mockRestore();
  },
);

test('without a tape there is nothing to send', () => {
  expect(() => hep('--hep', 'udp://homer', '--recorder-memory', '0')).toThrow(
    '--hep reads what --recorder-memory holds',
  );
});

test('users are hashed with a key, never without one', () => {
  expect(() => hep('--recorder-hash-users')).toThrow('SIPFLEET_RECORDER_KEY');
  vi.stubEnv('SIPFLEET_RECORDER_KEY', 'k');
  expect(parseOptions(['--snapshot', 'x', '--recorder-hash-users'], '0.1.0').recorder).toMatchObject({
    recorderHashUsers: true,
    recorderKey: 'k',
  });
});
