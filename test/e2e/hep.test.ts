import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { HepServer } from '../interop/hep-server.ts';
import { loopback } from '../netns/host.ts';
import { Process } from '../netns/process.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { AGENT, type Bridge, PBX, startBridge } from './bridge.ts';
import { bound, freePort, request } from './loopback.ts';

const HOMER = '127.7.0.30';
const SOON = { timeout: 20_000, interval: 200 };
/** The agent's, which Kamailio stores as `homer01:7`. */
const NUMBER = 7;

/** bonnie on TLS calls clyde on a secure WebSocket, and hangs up. */
async function callThrough(bridge: Bridge): Promise<void> {
  const bonnie = await bridge.phone('bonnie', 'tls');
  const clyde = await bridge.phone('clyde', 'wss');
  const call = await bonnie.call('clyde');
  const called = await clyde.called();
  expect((await call.hangUp()).status).toBe(200);
  await called.ended();
}

describe.skipIf(!canUseNamespaces())('HEP', () => {
  test('a real HEP server stores every leg of a call in the clear, the probes, and what was dropped; no credentials', async () => {
    const homer = await HepServer.start(loopback(HOMER), await freePort(HOMER));
    onTestFinished(() => homer.close());
    const bridge = await startBridge({
      workers: 2,
      more: ['--number', String(NUMBER), '--hep', `udp://${HOMER}:${homer.port}`],
    });
    await callThrough(bridge);
    const stranger = await bound(AGENT);
    onTestFinished(() => void stranger.close());
    // A response to a request that the agent never sent goes nowhere.
    const stray = request('INVITE', 'eve', 'dropped@phone', stranger.address()).replace(/^.*/, 'SIP/2.0 200 OK');
    stranger.send(stray, bridge.target('udp').port, AGENT);

    await expect.poll(() => homer.count(/ BYE$/), SOON).toBe(8);
    await expect.poll(() => homer.count(/dropped@phone/), SOON).toBe(1);
    expect(await bridge.agent.metric('sipfleet_hep_messages_lost_total')).toBe(0);
    expect(await bridge.agent.metric('sipfleet_hep_connected')).toBe(1);
    const stored = await homer.stored();
    expect(await bridge.agent.metric('sipfleet_hep_messages_sent_total')).toBeGreaterThanOrEqual(stored.length);

    const callId = stored.find(({ method }) => method === 'BYE')?.callid;
    const invites = stored.filter(({ method, callid }) => method === 'INVITE' && callid === callId);
    const hops = invites.map(({ source, destination, proto }) => {
      const who = (end: string) => {
        if (end.startsWith(`${AGENT}:`)) return `agent:${end.split(':')[1]}`;
        return end.startsWith(`${PBX}:`) ? 'pbx' : 'phone';
      };
      return `${who(source)} ${who(destination)} ${proto}`;
    });
    const port = (transport: 'tls' | 'udp' | 'wss') => `agent:${bridge.target(transport).port}`;
    // Into the farm and on to the PBX; back from there, and to clyde. Kamailio's own numbers: 1 UDP, 2 TCP.
    expect(new Set(hops)).toEqual(
      new Set([`phone ${port('tls')} 2`, `${port('udp')} pbx 1`, `pbx ${port('udp')} 1`, `${port('wss')} phone 2`]),
    );
    for (const message of stored) {
      expect(message.correlation_id).toBe(message.callid);
      expect(message.node).toBe(`homer01:${NUMBER}`);
    }
    const probes = stored.filter(({ method, msg }) => method === 'OPTIONS' && msg.includes('User-Agent: sipfleet'));
    expect(probes.length).toBeGreaterThan(0);
    const answered = stored.filter(({ method, callid }) => method === '200' && callid === probes[0]!.callid);
    expect(answered[0]).toMatchObject({ source: probes[0]!.destination, destination: probes[0]!.source });

    const secrets = stored.flatMap(({ msg }) => [...msg.matchAll(/^(?:proxy-)?authorization:\s*(.*)$/gim)]);
    expect(secrets.length).toBeGreaterThan(2);
    for (const [line, value] of secrets) expect(value, line).toMatch(/^Digest (\w+="?x+"?(, ?)?)+$/);
  });

  test('over TCP tshark finds one packet after the other, whole, and the SIP in each; a server that comes late gets what is still on the tape', async () => {
    const port = await freePort(HOMER);
    const fields = ['correlation', 'agent', 'name', 'key', 'src', 'dst'].flatMap((name) => ['-e', `hep3.${name}`]);
    const tshark = new Process(
      'tshark',
      [
        ...[
          '-i',
          'lo',
          '-l',
          '-Q',
          '-f',
          `tcp port ${port}`,
          '-X',
          `lua_script:${join(import.meta.dirname, '../interop/hep.lua')}`,
        ],
        ...['-o', 'tcp.desegment_tcp_streams:TRUE', '-T', 'fields', '-E', 'occurrence=a', ...fields, '-e', 'sip.CSeq'],
      ],
      { env: { HEP_PORT: String(port) } },
    );
    onTestFinished(() => tshark.end('SIGINT').then(() => {}));
    const bridge = await startBridge({ workers: 1, more: ['--number', '7', '--hep', `tcp://${HOMER}:${port}`] });
    await callThrough(bridge);
    expect(await bridge.agent.metric('sipfleet_hep_connected')).toBe(0);

    let stream = Buffer.alloc(0);
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('data', (bytes) => {
        stream = Buffer.concat([stream, bytes]);
      });
    }).listen(port, HOMER);
    await once(server, 'listening');
    onTestFinished(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    const packets = (): Buffer[] => {
      const found: Buffer[] = [];
      for (let at = 0; at + 6 <= stream.length; at += found.at(-1)!.length) {
        expect(stream.toString('latin1', at, at + 4)).toBe('HEP3');
        found.push(stream.subarray(at, at + stream.readUInt16BE(at + 4)));
      }
      return found;
    };
    const withBye = (texts: string[]): number => texts.filter((text) => /\d+ BYE/.test(text)).length;
    await expect.poll(() => withBye(packets().map((p) => p.toString('latin1'))), SOON).toBeGreaterThanOrEqual(8);
    await tshark.sees(/\d+ BYE/);
    const row = tshark.output.split('\n').find((line) => /\d+ BYE/.test(line))!;
    const [correlation, agent, name, key, src, dst] = row.split('\t').map((field) => field.split(','));
    expect(correlation?.length).toBeGreaterThan(0);
    expect(new Set(agent)).toEqual(new Set(['7']));
    expect(new Set(name)).toEqual(new Set(['edge']));
    expect(key).toEqual(['']);
    expect([...(src ?? []), ...(dst ?? [])]).toContain(AGENT);
    expect(await bridge.agent.metric('sipfleet_hep_messages_lost_total', 'reason="overwritten"')).toBe(0);
  });
});
