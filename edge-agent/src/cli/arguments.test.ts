import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHECK_SIP_OPTIONS } from '@sipfleet/contract';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseCommand, USAGE } from './arguments.ts';

let directory: string;
const at = (name: string) => join(directory, name);
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'sipfleet-arguments-'));
  for (const name of ['welcome.data', 'announce.data', 'holy.data']) writeFileSync(at(name), name);
  writeFileSync(at('secret'), 'from-file\n');
});
afterAll(() => rmSync(directory, { recursive: true }));

const optionsOf = (argv: string[], env = {}) => {
  const command = parseCommand(argv, env);
  if (command.kind !== 'call') throw new Error('no call');
  return command.options;
};
const texts = (files: readonly Uint8Array[] = []) => files.map((f) => Buffer.from(f).toString());

test('the three commands of the article', () => {
  const [welcome, announce] = [at('welcome.data'), at('announce.data')];
  const first = optionsOf(['-T', '10', '-S', welcome, '-S', announce, 'sip:30@192.168.178.4', 'sip:31@192.168.178.1']);
  expect(first).toMatchObject({ from: 'sip:30@192.168.178.4', to: 'sip:31@192.168.178.1', timeoutMs: 10_000 });
  expect(texts(first.send)).toEqual(['welcome.data', 'announce.data']);
  const second = optionsOf([
    '--username',
    '30',
    '--password',
    'secret',
    '--proxy=192.168.178.3',
    '-S',
    at('holy.data'),
    'sip:30@example.com',
    '31',
  ]);
  expect(second).toMatchObject({
    to: '31',
    proxy: '192.168.178.3',
    credentials: { username: '30', password: 'secret' },
  });
  const third = optionsOf([
    '-T',
    '9',
    '-S',
    welcome,
    '-S',
    announce,
    'sip:Bonnie@192.168.56.201',
    'sip:Clyde@192.0.2.1',
  ]);
  expect([third.timeoutMs, third.proxy, third.credentials]).toEqual([9000, undefined, undefined]);
});

test('the password comes from the command line, else a file, else the environment', () => {
  const password = (...rest: string[]) =>
    optionsOf(['--username', '30', ...rest, 'sip:30@h', '31'], { SIPFLEET_PASSWORD: 'from-environment' }).credentials
      ?.password;
  expect([
    password('--password', 'x', '--password-file', at('secret')),
    password('--password-file', at('secret')),
    password(),
  ]).toEqual(['x', 'from-file', 'from-environment']);
});

test('everything else, long and short', () => {
  expect(
    optionsOf([
      ...['-P', 'p:1', '-R', '-', '-L', '192.0.2.1', '--deadline', '5', '--min-level=-50', '--max-loss', '5'],
      ...['--transport', 'tls', '--tls-insecure', '--dns', '192.0.2.53', 'sip:30@h', '31'],
    ]),
  ).toEqual({
    ...{ from: 'sip:30@h', to: '31', send: [], proxy: 'p:1', registrar: false, leg: '192.0.2.1', deadlineMs: 5000 },
    ...{ expectAudio: { minLevelDb: -50, maxLoss: 0.05 }, transport: 'tls', tls: { insecure: true } },
    nameServers: ['192.0.2.53'],
  });
  // 0 is a bound like any other.
  expect(optionsOf(['--max-loss', '0', 'sip:30@h', '31']).expectAudio).toEqual({ maxLoss: 0 });
  expect(parseCommand(['-h'], {})).toEqual({ kind: 'help' });
  expect(parseCommand(['-d', '--json', 'sip:30@h', '31'], {})).toMatchObject({ debug: true, json: true });
});

test('the usage names every option, and no other', () => {
  const known = new Set([...USAGE.matchAll(/--[a-z-]+/g)].map((match) => match[0]));
  expect([...known].sort()).toEqual([...CHECK_SIP_OPTIONS].sort());
});
