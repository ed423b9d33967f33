import { once } from 'node:events';
import { createServer } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createAuthority } from '../../edge-agent/src/transport/certificates.fixture.ts';
import { Kamailio } from '../interop/kamailio.ts';
import { Phone } from '../interop/phone.ts';
import { openLine } from '../interop/phone-line.ts';
import { loopback } from '../netns/host.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { type BridgeOptions, DOMAIN, LINES, PBX, startBridge, USERS } from './bridge.ts';
import { freePort } from './loopback.ts';
import { ScriptedUas } from './scripted-uas.ts';

const HOST = '127.0.0.1';

/** Ways in which the PBX that a farm prefers can fail each request at once. */
const FAULTS = {
  'answers 503': async () => {
    const uas = await ScriptedUas.start({});
    for (const method of ['REGISTER', 'INVITE'])
      uas.scripts[method] = (request, from) => uas.reply(request, from, '503 Service Unavailable');
    onTestFinished(() => uas.close());
    return { port: uas.port, transport: 'udp' };
  },
  'is not there (ICMP)': async () => ({ port: await freePort(HOST), transport: 'udp' }),
  'refuses TCP': async () => ({ port: await freePort(HOST), transport: 'tcp' }),
  'shows a certificate that nobody vouches for': async () => {
    const { certificate, privateKey } = createAuthority('Nobody').issue(HOST);
    const server = createServer({ cert: certificate, key: privateKey }).listen(0, HOST);
    server.on('tlsClientError', () => {});
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    return { port: (server.address() as { port: number }).port, transport: 'tls', tls: { ca: 'ca' } };
  },
} satisfies Record<string, () => Promise<Omit<NonNullable<BridgeOptions['preferred']>, 'name' | 'address'>>>;

/** UDP and TCP phones: pbx-faults.test.ts. */
describe.skipIf(!canUseNamespaces())('phones on TLS and WebSocket, and a PBX that', () => {
  test.each([
    ['answers 503', 1],
    ['is not there (ICMP)', 3],
    ['refuses TCP', 3],
    ['shows a certificate that nobody vouches for', 1],
  ] as const)('%s: every request goes to the next one, %i workers', async (fault, workers) => {
    const preferred = { name: 'failing', address: HOST, ...(await FAULTS[fault]()) };
    const bridge = await startBridge({ workers, preferred });
    const bonnie = await bridge.phone('bonnie', 'tls');
    const clyde = await bridge.phone('clyde', 'wss');
    for (const [caller, callee, name] of [
      [bonnie, clyde, 'clyde'],
      [clyde, bonnie, 'bonnie'],
    ] as const) {
      const call = await caller.call(name);
      const called = await callee.called();
      expect((await call.ask('INVITE')).status).toBe(200);
      expect((await called.hangUp()).status).toBe(200);
      await call.ended();
    }
    // Both REGISTERs at least: what is refused may then count as down.
    expect(await bridge.agent.metric('sipfleet_failovers_total', 'backend="failing"')).toBeGreaterThanOrEqual(2);
    expect(await bridge.agent.metric('sipfleet_failovers_total', 'backend="kamailio"')).toBe(0);
  });
});

/** A PBX that the farm prefers: what it is, and what becomes of it once it has been asked by so many callers. */
interface Failing {
  port: number;
  address?: string;
  rest: NonNullable<BridgeOptions['rest']>;
  fails(callers: number): Promise<void>;
}
const SECOND_PBX = '127.7.0.13';
const CALLEE = '127.7.0.30';

const silent = async () => {
  const uas = await ScriptedUas.start();
  onTestFinished(() => uas.close());
  return uas;
};
const asked = async (uas: ScriptedUas, callers: number) => {
  for (let i = 0; i < callers; i++) await uas.sees('INVITE', (r) => uas.distinct('INVITE').indexOf(r) === i);
};

const FAILING = {
  'answers 503': async () => {
    const uas = await silent();
    const fails = async (callers: number) => {
      await asked(uas, callers);
      uas.scripts.INVITE = (request, from) => uas.reply(request, from, '503 Service Unavailable');
    };
    return { port: uas.port, rest: { checks: [], failover: { timeout: '30s', codes: [503] } }, fails };
  },
  'is silent': async () => {
    const uas = await silent();
    return { port: uas.port, rest: { checks: [], failover: { timeout: '1s' } }, fails: (n) => asked(uas, n) };
  },
  'is killed after INVITE and 100': async () => {
    const mute = await silent();
    const host = loopback(SECOND_PBX);
    const port = await freePort(SECOND_PBX);
    // Nobody is registered here, so that it asks somebody who does not answer.
    const pbx = await Kamailio.start({ host, port, users: USERS, relayTo: `sip:${HOST}:${mute.port}` });
    onTestFinished(() => pbx.close());
    const fails = (callers: number) => asked(mute, callers).then(() => pbx.kill());
    const checks = [{ name: 'ping', type: 'options' as const, interval: '300ms', timeout: '300ms', rise: 1, fall: 2 }];
    return { port, address: SECOND_PBX, rest: { checks, failover: { timeout: '30s' } }, fails };
  },
} satisfies Record<string, () => Promise<Failing>>;

describe.skipIf(!canUseNamespaces())('phones on every transport call at once, and the PBX', () => {
  test.each(
    [1, 3].flatMap((workers) => Object.keys(FAILING).map((fault) => [fault as keyof typeof FAILING, workers] as const)),
  )('%s: they hear the next one ring, and no error, %i workers', async (fault, workers) => {
    const { port, address = HOST, rest, fails } = (await FAILING[fault]()) as Failing;
    const preferred = { name: 'failing', address, port };
    const bridge = await startBridge({ workers, preferred, rest, challengeCalls: false });
    const password = (user: string) => ({ user, domain: DOMAIN, password: USERS[user]! });
    // Straight at the PBX that goes on.
    const line = await openLine('udp', { host: PBX, port: bridge.pbx.port, from: CALLEE });
    onTestFinished(() => line.close());
    const clyde = new Phone(line, password('clyde'));
    expect(await clyde.register()).toEqual([401, 200]);

    const callers = await Promise.all(
      LINES.map(async (transport) => new Phone(await bridge.line(transport), password(`caller-${transport}`))),
    );
    const calling = Promise.all(callers.map((caller) => caller.call('clyde')));
    await Promise.all([calling, fails(callers.length)]);
    for (const caller of callers) expect(caller.received.map((m) => m.status)).toEqual([100, 180, 200]);
    for (const call of await calling) expect((await call.hangUp()).status).toBe(200);
    expect(await bridge.agent.metric('sipfleet_failovers_total', 'backend="failing"')).toBe(callers.length);
  });
});
