import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { FarmInput } from '@sipfleet/contract';
import { describe, expect, test, vi } from 'vitest';
import { createAuthority } from '../../edge-agent/src/transport/certificates.fixture.ts';
import { Agent, type SecretValues } from '../interop/agent.ts';
import { type Host, loopback } from '../netns/host.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { keep } from './check-sip.fixture.ts';
import { bound, freePort } from './loopback.ts';
import { AudioPeer, deaf, echo, type Script, ScriptedUas, sdp } from './scripted-uas.ts';
import { useStage } from './stage.ts';

/** The faults of check-sip-faults.test.ts once more, as an agent meets them that checks its backends: what it then says of each, and leaves behind. */

vi.setConfig({ testTimeout: 120_000 });

const SECRETS: SecretValues = { login: { username: 'bonnie', password: 'not-hers' } };
const RULES = { interval: '12s', timeout: '8s', rise: 1, fall: 1, agents: 1 };
const CALL = {
  ...{ ...RULES, name: 'dummy', type: 'call' as const, credentials: 'login' },
  command: 'check_sip -T 2 --expect-audio sip:bonnie@HOST sip:clyde@HOST',
};

type Backends = FarmInput['backends'];

interface Setting {
  host?: Host;
  secrets?: SecretValues;
  /** Beside the one for UDP. */
  listeners?: FarmInput['listeners'];
}

/** An agent that makes one check of each of these backends. */
async function agentThat(
  check: NonNullable<FarmInput['checks']>[number],
  backends: Backends,
  { host = loopback('127.0.0.81'), secrets = SECRETS, listeners = [] }: Setting = {},
): Promise<Agent> {
  const farm: FarmInput = {
    ...{ kind: 'Farm', name: 'pbx', sites: ['milan'], backends, checks: [check], health: { maxConcurrentCalls: 100 } },
    listeners: [{ transport: 'udp', address: host.ipv4, port: await freePort('127.0.0.1') }, ...listeners],
  };
  return keep(await Agent.start({ host, workers: 1, farm, secrets }));
}

/** What an agent holds of its backends, once it knows about every one. */
async function verdicts(agent: Agent): Promise<Record<string, string>> {
  let found: { backend: string; state: string; reason: string }[] = [];
  const unknown = async (): Promise<string[]> => {
    found = JSON.parse(await agent.get('/v1/status')).backends;
    return found.filter((b) => b.state === 'unknown').map((b) => b.backend);
  };
  await expect.poll(unknown, { timeout: 60_000, interval: 500 }).toEqual([]);
  return Object.fromEntries(found.map(({ backend, state, reason }) => [backend, `${state}, ${reason}`]));
}

const at = (name: string, port: number): Backends[number] => ({ name, address: '127.0.0.1', port });

test('every fault has its verdict, healthy peers beside them are up, and no dialog is left behind', async () => {
  const peers = new Map<string, ScriptedUas>();
  const peer = async (name: string, scripts: (p: () => ScriptedUas) => Record<string, Script>): Promise<void> => {
    const uas: ScriptedUas = keep(await ScriptedUas.start(scripts(() => uas)));
    peers.set(name, uas);
  };
  /** Answers the call as told. */
  const answers = (name: string, script: (p: ScriptedUas) => Script, more: Record<string, Script> = {}) =>
    peer(name, (p) => ({ INVITE: (r, from) => script(p())(r, from), ...more }));
  const refuses = (name: string, status: string) => answers(name, (p) => (r, from) => p.reply(r, from, status));
  const talks = async (packet: typeof echo | typeof deaf) => keep(await AudioPeer.start(packet));
  const echoing = (await talks(echo)).port;
  const listening = await talks(deaf);

  await answers('healthy', (p) => (r, from) => p.reply(r, from, '200 OK', { sdp: echoing }));
  await peer('silent', () => ({}));
  await answers('rings-for-ever', (p) => (r, from) => p.reply(r, from, '180 Ringing'));
  await refuses('busy', '486 Busy Here');
  await refuses('overloaded', '503 Service Unavailable');
  await refuses('terminated-unasked', '487 Request Terminated');
  let nonce = 0;
  await answers('wrong-password', (p) => (r, from) => {
    const challenge = `Digest realm="x", nonce="${nonce++}", qop="auth"`;
    p.reply(r, from, '401 Unauthorized', { headers: [['WWW-Authenticate', challenge]] });
  });
  await answers('one-way', (p) => (r, from) => p.reply(r, from, '200 OK', { sdp: listening.port }));
  await answers('no-audio', (p) => (r, from) => p.reply(r, from, '200 OK', { sdp: sdp(listening.port, 'sendonly') }));
  await answers('bye-unanswered', (p) => (r, from) => p.reply(r, from, '200 OK', { sdp: echoing }), { BYE: () => {} });
  const floods = new Map<string, NodeJS.Timeout>();
  await answers('flood', (p) => (r, from) => {
    const call = r.get('call-id')!;
    let tag = 0;
    const more = () => {
      for (let i = 0; i < 20; i++) p.reply(r, from, '183 Session Progress', { tag: `t${tag++}` });
    };
    if (floods.has(call)) return;
    more();
    floods.set(call, setInterval(more, 10));
  });
  keep({
    close: () => {
      for (const flood of floods.values()) clearInterval(flood);
    },
  });
  await answers('early-media-only', (p) => (r, from) => {
    p.reply(r, from, '183 Session Progress', { sdp: listening.port });
    listening.play(20, r);
    setTimeout(() => p.reply(r, from, '200 OK'), 300);
  });
  await answers('forked', (p) => (r, from) => {
    for (const tag of ['one', 'two', 'three']) p.reply(r, from, '200 OK', { tag, sdp: echoing });
  });
  const closed = await bound('127.0.0.1');
  const { port } = closed.address();
  closed.close();

  const backends = [...[...peers].map(([name, uas]) => at(name, uas.port)), at('closed', port)];
  const agent = await agentThat(CALL, backends);
  expect(await verdicts(agent)).toEqual({
    healthy: expect.stringMatching(/^up, check dummy: .* answered, 50 packets sent, [1-9]\d* received$/),
    silent: 'down, check dummy: no answer to INVITE in 2 s',
    'rings-for-ever': 'down, check dummy: rings, but is not answered in 2 s',
    busy: 'down, check dummy: INVITE refused: 486 Busy Here',
    overloaded: 'down, check dummy: INVITE refused: 503 Service Unavailable',
    'terminated-unasked': 'down, check dummy: INVITE refused: 487 Request Terminated',
    'wrong-password': 'down, check dummy: 401 to INVITE: password of bonnie refused (realm x)',
    'one-way': 'down, check dummy: one-way audio: 50 packets sent, none received',
    'no-audio': 'down, check dummy: no audio in either direction',
    // The call was proven: a warning, and the phase has its own metric.
    'bye-unanswered': 'up, check dummy: BYE not answered in 4 s',
    flood: 'down, check dummy: flood: more than 200 provisional responses',
    'early-media-only': 'down, check dummy: one-way audio: 50 packets sent, none received',
    forked: expect.stringMatching(/^up, check dummy: .* answered, 50 packets sent, [1-9]\d* received$/),
    closed: `down, check dummy: 127.0.0.1:${port}: connection refused`,
  });
  const failed = (phase: string) =>
    agent.metric('sipfleet_check_phase_results_total', `phase="${phase}"`, 'result="failure"');
  expect(await failed('bye')).toBeGreaterThan(0);
  expect(await failed('media')).toBeGreaterThan(0);
  expect(agent.process.output).not.toContain('not-hers');

  // Ended in the midst of its next calls, it hangs up what was answered, and cancels what only rang.
  await agent.close();
  for (const [name, uas] of peers) {
    const callsOf = (method: string) => new Set(uas.distinct(method).map((r) => r.get('call-id')));
    const acknowledged = uas.distinct('ACK').map((r) => `${r.get('call-id')} ${r.tag('to')}`);
    const hungUp = uas.distinct('BYE').map((r) => `${r.get('call-id')} ${r.tag('to')}`);
    const answered = ['healthy', 'one-way', 'no-audio', 'bye-unanswered', 'early-media-only', 'forked'].includes(name);
    if (answered) expect([name, new Set(hungUp)]).toEqual([name, new Set(acknowledged)]);
    if (name === 'rings-for-ever' || name === 'flood')
      expect([name, callsOf('CANCEL')]).toEqual([name, callsOf('INVITE')]);
  }
});

test('register: a wrong password and a silent registrar; what was bound is taken back', async () => {
  const registrar = async (script: (p: ScriptedUas) => Script): Promise<ScriptedUas> => {
    const uas: ScriptedUas = keep(await ScriptedUas.start({ REGISTER: (r, from) => script(uas)(r, from) }));
    return uas;
  };
  const good = await registrar(
    (p) => (r, from) => p.reply(r, from, '200 OK', { headers: [['Contact', r.get('contact') ?? '']] }),
  );
  const wrong = await registrar((p) => (r, from) => {
    const challenge = `Digest realm="x", nonce="${p.requests.length}", qop="auth"`;
    p.reply(r, from, '401 Unauthorized', { headers: [['WWW-Authenticate', challenge]] });
  });
  const silent = await registrar(() => () => {});
  const check = { ...RULES, timeout: '2s', name: 'login', type: 'register' as const, credentials: 'login' };
  const agent = await agentThat(check, [at('good', good.port), at('wrong', wrong.port), at('silent', silent.port)]);
  expect(await verdicts(agent)).toEqual({
    good: 'up, check login: bonnie registered',
    wrong: 'down, check login: 401 to REGISTER: password of bonnie refused (realm x)',
    silent: 'down, check login: deadline of 2 s passed: no final answer to REGISTER',
  });
  await agent.close();
  const expires = good.distinct('REGISTER').map((r) => Number(r.get('expires')) > 0);
  expect(expires.length).toBeGreaterThan(1);
  expect(expires.filter(Boolean)).toHaveLength(expires.length / 2);
});

test('TLS: a backend whose certificate has expired completes no call', async () => {
  const { certificate, issue } = createAuthority('Test CA', -1);
  const { certificate: cert, privateKey: key } = issue('127.0.0.1');
  const server = keep(createTlsServer({ key, cert }, (socket) => socket.on('error', () => {})));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const backend = {
    ...at('old', (server.address() as AddressInfo).port),
    transport: 'tls',
    tls: { ca: 'ca' },
  } as const;
  const own = {
    transport: 'tls',
    address: '127.0.0.81',
    port: await freePort('127.0.0.81'),
    certificate: 'own',
  } as const;
  const pair = createAuthority().issue('127.0.0.81');
  const secrets = { ...SECRETS, ca: { ca: certificate }, own: { ...pair } };
  const agent = await agentThat(CALL, [backend], { secrets, listeners: [own] });
  expect(await verdicts(agent)).toEqual({
    old: expect.stringMatching(/^down, check dummy: .*TLS certificate has expired$/),
  });
});

describe.skipIf(!canUseNamespaces())('a name server that never answers', () => {
  const stage = useStage();

  test('fails the check that needs it, in its time', async () => {
    const { agentA, pbx1 } = stage().net;
    // `ip netns exec` puts it over the machine's own.
    const directory = `/etc/netns/${agentA.name}`;
    mkdirSync(directory, { recursive: true });
    keep({ close: () => rmSync(directory, { recursive: true, force: true }) });
    writeFileSync(`${directory}/resolv.conf`, 'nameserver 127.0.0.1\n');
    const hung =
      "require('node:dgram').createSocket('udp4').on('message', () => console.log('asked')).bind(53, '127.0.0.1')";
    const server = agentA.spawn(process.execPath, ['-e', hung]);
    keep({ close: () => server.end('SIGKILL') });
    const { credentials: _, ...call } = CALL;
    const check = { ...call, command: 'check_sip -P sbc.example.test -T 2 sip:bonnie@HOST sip:clyde@HOST' };
    const agent = await agentThat(check, [{ name: 'far', address: pbx1.ipv4 }], { host: agentA });
    expect(await verdicts(agent)).toEqual({ far: 'down, check dummy: name not resolved in 2 s' });
    await server.sees(/asked/);
  });
});
