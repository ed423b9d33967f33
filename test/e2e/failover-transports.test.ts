import { once } from 'node:events';
import { createServer } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createAuthority } from '../../edge-agent/src/transport/certificates.fixture.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { type BridgeOptions, startBridge } from './bridge.ts';
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
