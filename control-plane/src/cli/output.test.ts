import { readFileSync, statSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { farm, site, testCli } from './cli.fixture.ts';
import { cliReference } from './program.ts';

/** What every command that changes something says to programs: one document on standard output, nothing else. */
async function setUp() {
  const cli = await testCli();
  await cli.file('a.yaml', `${site('milan')}---\n${farm('pbx')}`);
  await cli.sipfleet('apply -f a.yaml');
  const read = async (command: string, as: 'json' | 'yaml' = 'json') => {
    const { code, out, err } = await cli.sipfleet(`${command} -o ${as}`);
    expect([code, err]).toEqual([0, '']);
    return as === 'json' ? JSON.parse(out) : parse(out);
  };
  return { ...cli, read };
}
test('drain, undrain', async () => {
  const { read } = await setUp();
  const drained = { farm: 'pbx', backend: 'pbx1', drain: true, changed: true, revision: expect.any(Number) };
  const first = await read('drain pbx/pbx1');
  expect(first).toEqual(drained);
  expect(await read('drain pbx/pbx1', 'yaml')).toEqual({ ...first, changed: false });
  expect(await read('undrain pbx/pbx1')).toMatchObject({ drain: false, changed: true });
});

test('delete, agent revoke, token revoke', async () => {
  const { control, read, sipfleet } = await setUp();
  const { agentId } = await control.enrol();
  expect(await read('agent revoke edge-1')).toEqual({ kind: 'Agent', name: 'edge-1', agentId });
  expect(await read('delete farm pbx', 'yaml')).toEqual({ kind: 'Farm', name: 'pbx', revision: expect.any(Number) });
  await sipfleet('token create ci --role viewer');
  expect(await read('token revoke ci')).toEqual({ kind: 'Token', name: 'ci' });
});

test('rollout pause, resume, abort', async () => {
  const { control, file, read, sipfleet } = await setUp();
  await control.enrol();
  await file('b.yaml', `${site('milan')}---\n${farm('pbx', 5060, '[{ name: pbx2, address: 10.0.0.12 }]')}`);
  await sipfleet('apply -f b.yaml --rollout canary');
  await control.look();
  expect(await read('rollout pause')).toMatchObject({ number: 2, state: 'paused' });
  expect(await read('rollout resume', 'yaml')).toMatchObject({ number: 2, state: 'running' });
  expect(await read('rollout abort 2')).toMatchObject({ number: 2, state: 'rolled-back' });
});

test('rotate-signing-key', async () => {
  const { read } = await setUp();
  expect(await read('rotate-signing-key')).toMatchObject({ sequence: expect.any(Number) });
});

test('context add, use, remove, without the token', async () => {
  const { sipfleet } = await setUp();
  const io = { env: { SIPFLEET_CONFIG: 'contexts.yaml' } };
  const read = async (command: string) => JSON.parse((await sipfleet(`${command} -o json`, io)).out);
  const prod = { name: 'prod', url: 'https://prod.example.com', current: true };
  expect(await read('--url https://prod.example.com --token sft_secret context add prod')).toEqual(prod);
  expect(await read('context use prod')).toEqual(prod);
  expect(await read('context remove prod')).toEqual(prod);
});

/** An agent's local HTTP with one kept call. */
const AGENT = { name: 'edge-1', site: 'milan', version: '1', uptimeSeconds: 7 };
const TRAFFIC = {
  ...{ farm: 'pbx', sessionAttempts: 4, sessionsEstablished: 4, sessionFailures: 0, activeSessions: 2 },
  ...{ registrationAttempts: 9, registrationFailures: 0, activeRegistrations: 5 },
};
const agentFetch = (async (url: string | URL | Request) => {
  const { pathname } = new URL(String(url));
  if (pathname === '/v1/calls/a%40b') return Response.json({ callId: 'a@b', log: [{ text: 'INVITE' }] });
  if (pathname === '/v1/calls/a%40b/pcap') return new Response(new Uint8Array([1, 2, 3]));
  if (pathname === '/v1/calls/a%40b/hep') return new Response(Buffer.from('HEP3 a@b'));
  if (pathname === '/v1/traffic') return Response.json([TRAFFIC]);
  const quiet = { snapshot: null, backends: [], workers: { running: 1, restarts: 0 }, link: null };
  return Response.json({ agent: AGENT, ...quiet });
}) as typeof fetch;

const noSuchCall = (async () => Response.json({ error: 'no such call is kept' }, { status: 404 })) as typeof fetch;

test('ladder gives the call with its messages, or names the files that it wrote', async () => {
  const { sipfleet } = await setUp();
  const io = { fetch: agentFetch };
  const contentOf = (file: string) => readFileSync(file, 'latin1');
  expect(JSON.parse((await sipfleet('ladder a@b -o json', io)).out)).toEqual({
    callId: 'a@b',
    log: [{ text: 'INVITE' }],
  });
  expect(parse((await sipfleet('ladder a@b --pcap call.pcap -o yaml', io)).out)).toEqual({
    pcap: expect.stringMatching(/\/call\.pcap$/),
  });
  const packets = await sipfleet('ladder a@b --hep call.hep', io);
  expect(packets).toMatchObject({ code: 0, out: expect.stringMatching(/^\S+\/call\.hep\n$/) });
  expect(contentOf(packets.out.trim())).toBe('HEP3 a@b');
  // Nobody else reads what people said.
  expect(statSync(packets.out.trim()).mode & 0o777).toBe(0o600);
  const both = JSON.parse((await sipfleet('ladder a@b --pcap both.pcap --hep both.hep -o json', io)).out);
  expect([contentOf(both.pcap), contentOf(both.hep)]).toEqual(['\x01\x02\x03', 'HEP3 a@b']);
  const missing = await sipfleet('ladder gone@b --hep gone.hep', { fetch: noSuchCall });
  expect([missing.code, missing.err]).toEqual([1, expect.stringContaining('no such call is kept')]);
});

test('top gives one view with --once, and says so without', async () => {
  const { sipfleet } = await setUp();
  const io = { fetch: agentFetch };
  const once = JSON.parse((await sipfleet('top --once --interval 200ms -o json', io)).out);
  expect(once).toMatchObject({
    agent: AGENT,
    traffic: [{ farm: 'pbx', perSecond: { sessions: 0, registrations: 0 } }],
  });
  const { code, err } = await sipfleet('top -o json', io);
  expect([code, err]).toEqual([1, expect.stringContaining('with --once')]);
});

test('every command has -o but those that run something, print one text, or only hold others', () => {
  const without = cliReference()
    .split(/^## /m)
    .slice(1)
    .filter((section) => section.startsWith('sipfleet ') && !section.includes('--output <format>'))
    .map((section) => section.slice('sipfleet '.length, section.indexOf('\n')).trim());
  const launchers = ['up', 'agent', 'control-plane'];
  const texts = ['version', 'completion', 'schema'];
  expect(without.sort()).toEqual([...launchers, ...texts, 'rollout', 'token', 'context'].sort());
});
