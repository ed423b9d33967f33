import { describe, expect, test } from 'vitest';
import { Phone } from '../interop/phone.ts';
import type { LineTransport } from '../interop/phone-line.ts';
import { hostPort } from '../netns/host.ts';
import { Process } from '../netns/process.ts';
import { value, values } from '../netns/wire.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { AGENT, authority, type Bridge, DOMAIN, startBridge, USERS } from './bridge.ts';
import { DOMAIN as STAGE_DOMAIN, useStage } from './stage.ts';

/** host:port;transport of every Record-Route that names the agent, top first. */
const ownRoutes = (bridge: Bridge, message: Parameters<typeof values>[0]): string[] =>
  values(message, 'record-route')
    .map((route) => /@([^>]+?)(?:;lr)?>/.exec(route)?.[1] ?? '')
    .filter((uri) => bridge.farm.listeners.some((l) => uri.startsWith(`${AGENT}:${l.port}`)));

const uri = (bridge: Bridge, transport: LineTransport): string => {
  const { port } = bridge.target(transport);
  return `${AGENT}:${port}${transport === 'udp' ? '' : `;transport=${transport}`}`;
};

/** The text of each Record-Route; that calls stand over every two transports, transport-pairs.test.ts shows. */
describe.skipIf(!canUseNamespaces())('TLS outside, UDP inside', () => {
  test.each<[LineTransport, LineTransport, number]>([
    ['tls', 'tls', 3],
    ['tls', 'udp', 1],
    ['tcp', 'tls', 3],
  ])('REGISTER, INVITE and BYE in both directions, %s and %s, %i workers', async (bonnies, clydes, workers) => {
    const bridge = await startBridge({ workers });
    const bonnie = await bridge.phone('bonnie', bonnies);
    const clyde = await bridge.phone('clyde', clydes);

    const call = await bonnie.call('clyde');
    const called = await clyde.called();
    // Into the farm by the caller's transport, out by UDP, in by UDP, out by the callee's: two entries for each passage that changes transport.
    const passage = (transport: LineTransport) =>
      (transport === 'udp' ? ['udp'] : ['udp', transport]) as LineTransport[];
    const expected = [...passage(clydes).reverse(), ...passage(bonnies)].map((t) => uri(bridge, t));
    expect(ownRoutes(bridge, called.first)).toEqual(expected);
    expect(ownRoutes(bridge, call.first)).toEqual(expected);
    expect(value(called.first, 'via')).toContain(
      `SIP/2.0/${clydes.toUpperCase()} ${AGENT}:${bridge.target(clydes).port}`,
    );
    expect((await call.hangUp()).status).toBe(200);
    await called.ended();

    const back = await clyde.call('bonnie');
    const answered = await bonnie.called();
    expect((await answered.hangUp()).status).toBe(200);
    await back.ended();
  });
});

describe.skipIf(!canUseNamespaces())('TLS to the PBX', () => {
  test.each<[LineTransport, LineTransport, number]>([
    ['udp', 'tls', 1],
    ['tls', 'udp', 3],
  ])('its certificate is verified, and calls go both ways, %s and %s, %i workers', async (bonnies, clydes, workers) => {
    const bridge = await startBridge({ workers, towards: 'tls' });
    await bridge.agent.backendBecomes('kamailio', 'up');
    const bonnie = await bridge.phone('bonnie', bonnies);
    const clyde = await bridge.phone('clyde', clydes);
    const call = await bonnie.call('clyde');
    const called = await clyde.called();
    expect((await called.hangUp()).status).toBe(200);
    await call.ended();
    const back = await clyde.call('bonnie');
    const answered = await bonnie.called();
    expect((await back.hangUp()).status).toBe(200);
    await answered.ended();
  });
});

describe.skipIf(!canUseNamespaces()).each([1, 3])(
  'behind a load balancer with PROXY protocol, %i workers',
  (workers) => {
    const V1 = 'PROXY TCP4 198.51.100.7 192.0.2.1 40000 5060\r\n';
    const V2 = Buffer.from('0d0a0d0a000d0a515549540a2111000cc6336408c00002019c4113c5', 'hex');
    test('phones are known by the announced address, and called back through their connection', async () => {
      const bridge = await startBridge({ workers, streams: { proxyProtocol: { from: ['127.0.0.0/8'] } } });
      const bonnie = await bridge.phone('bonnie', 'tcp', { header: V1 });
      const clyde = await bridge.phone('clyde', 'tls', { header: V2 });
      const call = await bonnie.call('clyde');
      const called = await clyde.called();
      const bonnies = values(called.first, 'via').at(-1);
      expect(bonnies).toContain(';received=198.51.100.7');
      expect(bonnies).toContain(';rport=40000');
      const expected = (['tls', 'udp', 'udp', 'tcp'] as const).map((t) => uri(bridge, t));
      expect(ownRoutes(bridge, called.first)).toEqual(expected);
      expect((await called.hangUp()).status).toBe(200);
      await call.ended();
      // Without the header from where it is required: no connection.
      const liar = await bridge.line('tcp');
      liar.send('OPTIONS sip:x SIP/2.0\r\n\r\n');
      await liar.closed;
      // Counters reach the control thread a tick later.
      while ((await bridge.agent.metric('sipfleet_handshakes_failed_total', 'transport="tcp"')) < 1);
      expect(await bridge.agent.metric('sipfleet_connections', 'transport="tls"')).toBe(1);
    });
  },
);

test.skipIf(!canUseNamespaces())(
  'openssl finds the certificate for the name it asks for, verified, and TLS 1.2 at least',
  async () => {
    const bridge = await startBridge({ workers: 1 });
    const subjectFor = async (...args: string[]): Promise<string> => {
      const { host, port } = bridge.target('tls');
      const client = new Process('openssl', ['s_client', '-connect', `${host}:${port}`, '-brief', ...args]);
      client.closeInput();
      await client.exited;
      return client.output;
    };
    expect(await subjectFor('-servername', 'second.example.test')).toMatch(
      /Peer certificate: CN = second\.example\.test/,
    );
    expect(await subjectFor('-noservername')).toMatch(/Peer certificate: CN = first\.example\.test/);
    expect(await subjectFor('-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0')).toMatch(/alert protocol version/);
  },
);

describe.skipIf(!canUseNamespaces()).each([1, 3])('baresip, %i workers', (workers) => {
  const stage = useStage();

  test('registers over TLS, calls and is called, and nothing of it can be read on the way to the agent', async () => {
    const s = stage();
    const { vip, nat, client1, client2, agentA } = s.net;
    const pbxs = await s.startPbxs({ challengeCalls: true });
    const secrets = { shown: { ...authority.issue('sip.example.test', vip.ipv4) } };
    const listeners = [
      { transport: 'udp' as const, address: vip.ipv4, port: 5060 },
      { transport: 'tls' as const, address: vip.ipv4, port: 5061, certificate: 'shown' },
    ];
    const agent = await s.startAgent({ workers, secrets, farm: s.farm({ listeners }) });
    const capture = await s.capture(agentA);
    const over = { transport: 'tls', outbound: hostPort(vip.ipv4, 5061), answers: true } as const;
    const bonnie = await s.baresip('bonnie', client1, over);
    const clyde = await s.baresip('clyde', client2, over);
    for (const [caller, callee, user] of [
      [bonnie, clyde, 'clyde'],
      [clyde, bonnie, 'bonnie'],
    ] as const) {
      caller.dial(`sip:${user}@${STAGE_DOMAIN}`);
      await Promise.all([caller.sees('CALL_ESTABLISHED'), callee.sees('CALL_ESTABLISHED')]);
      // Once the caller ends it, once the callee does.
      (user === 'clyde' ? caller : callee).hangUp();
      await Promise.all([caller.sees('CALL_CLOSED'), callee.sees('CALL_CLOSED')]);
    }
    // One connection each, from its registration to its last call: being called opened no other.
    expect(await agent.metric('sipfleet_connections_accepted_total', 'transport="tls"')).toBe(2);
    expect(await agent.metric('sipfleet_handshakes_failed_total')).toBe(0);
    const wire = await capture.stop();
    const ends = [...new Set(wire.flatMap((m) => [m.source.address, m.destination.address]))];
    for (const phone of [nat, client1, client2]) expect(ends).not.toContain(phone.ipv4);
    // On the other side of the agent they are all there.
    expect(ends.sort()).toEqual([vip.ipv4, ...pbxs.map((pbx) => pbx.address)].sort());
    expect(wire.filter((m) => m.method === 'BYE').length).toBeGreaterThanOrEqual(4);
  });
});

describe.skipIf(!canUseNamespaces()).each([1, 3])('certificates are replaced under load, %i workers', (workers) => {
  test('no handshake and no call fails, on connections of before and on new ones, which are shown the new one at once', async () => {
    const bridge = await startBridge({ workers });
    const bonnie = await bridge.phone('bonnie', 'tls');
    const clyde = await bridge.phone('clyde', 'tls');
    const standing = await bonnie.call('clyde');
    const called = await clyde.called();

    // Calls all the while: on the two connections above, and on new ones, each verified, of TLS and WSS.
    let stop = false;
    const done = { before: 0, new: 0 };
    const callsOnOld = async (from: Phone, to: string): Promise<void> => {
      for (; !stop; done.before++) expect((await (await from.call(to)).hangUp()).status).toBe(200);
    };
    const callsOnNew = async (transport: 'tls' | 'wss'): Promise<void> => {
      for (; !stop; done.new++) await callsOverNewConnection(bridge, transport, 'clyde');
    };
    const load = Promise.all([
      ...[callsOnOld(bonnie, 'clyde'), callsOnOld(bonnie, 'clyde'), callsOnOld(clyde, 'bonnie')],
      ...(['tls', 'tls', 'tls', 'wss', 'wss', 'wss'] as const).map(callsOnNew),
    ]);
    const goOn = async (): Promise<void> => {
      const { before, new: opened } = done;
      await expect.poll(() => done.before - before, { timeout: 30_000 }).toBeGreaterThan(10);
      await expect.poll(() => done.new - opened, { timeout: 30_000 }).toBeGreaterThan(20);
    };
    const subject = async (): Promise<string> => {
      const { port } = bridge.target('tls');
      const args = ['s_client', '-connect', `${AGENT}:${port}`, '-brief', '-noservername'];
      const client = new Process('openssl', args);
      client.closeInput();
      await client.exited;
      return client.output;
    };
    let renewed = authority.issue('x');
    for (const name of ['once', 'twice', 'thrice']) {
      renewed = authority.issue(`${name}.example.test`, AGENT);
      await bridge.agent.reload(bridge.farm, { ...bridge.secrets, first: { ...renewed } });
      expect(await subject()).toMatch(new RegExp(`Peer certificate: CN = ${name}\\.example\\.test`));
      // They went on through it, and with the new one. What fails ends the wait.
      await Promise.race([load, goOn()]);
    }
    stop = true;
    await load;
    expect(await bridge.agent.metric('sipfleet_handshakes_failed_total')).toBe(0);
    // A phone of this test has one connection for life: it is the one of before.
    expect((await standing.hangUp()).status).toBe(200);
    await called.ended();

    // One that cannot be used changes nothing.
    const from = bridge.agent.process.output.length;
    const broken = { ...bridge.secrets, first: { ...renewed, privateKey: authority.issue('x').privateKey } };
    bridge.agent.writeFiles(bridge.farm, broken);
    bridge.agent.process.signal('SIGHUP');
    await bridge.agent.process.sees(/Secret first: privateKey does not belong to certificate/, { from });
    await bridge.line('tls');
  });
});

/** Handshake, one call from INVITE to BYE, and the end. */
async function callsOverNewConnection(bridge: Bridge, transport: 'tls' | 'wss', callee: string): Promise<void> {
  const line = await bridge.line(transport);
  const user = `caller-${transport}`;
  const call = await new Phone(line, { user, password: USERS[user] as string, domain: DOMAIN }).call(callee);
  expect((await call.hangUp()).status).toBe(200);
  line.close();
}
