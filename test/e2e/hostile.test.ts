import { connect } from 'node:net';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Agent } from '../interop/agent.ts';
import { callScenario } from '../interop/scenarios.ts';
import { loopback } from '../netns/host.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { Client, canUseLoopback, EchoPbx, freePort, request } from './loopback.ts';
import { useStage } from './stage.ts';

const AGENT = '127.0.0.1';
const VIA = { address: '127.0.2.1', port: 5060 };
const VALID = request('INVITE', 'clyde', 'hostile', VIA);
/** Largest payload of a UDP datagram over IPv4. */
const LARGEST = 65_507;

const header = (line: string): string => VALID.replace('Max-Forwards', `${line}\r\nMax-Forwards`);

/** Datagrams and streams that a SIP server is sent sooner or later, FACTS.md's CVEs among them. */
function hostileMessages(seed: number): Uint8Array[] {
  const bytes = (text: string) => Buffer.from(text, 'latin1');
  const binary = fc.sample(fc.uint8Array({ minLength: 0, maxLength: 2_000 }), { seed, numRuns: 400 });
  const truncated = Array.from({ length: VALID.length }, (_, at) => bytes(VALID.slice(0, at)));
  const flipped = fc
    .sample(fc.tuple(fc.nat(VALID.length - 1), fc.nat(255)), { seed, numRuns: 600 })
    .map(([at, octet]) => Buffer.from(bytes(VALID)).fill(octet, at, at + 1));
  const crafted = [
    header(`X-Long: ${'a'.repeat(60_000)}`),
    header(`Via: ${'SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx,'.repeat(1_500)}SIP/2.0/UDP 192.0.2.1`),
    header('Via: SIP/2.0/UDP 192.0.2.1\r\n'.repeat(1_500)),
    VALID.replace('Content-Length: 0', 'Content-Length: -1'),
    VALID.replace('Content-Length: 0', 'Content-Length: 18446744073709551617'),
    VALID.replace('Content-Length: 0', 'Content-Length: 5\r\nContent-Length: 0'),
    VALID.replace('CSeq: 1', 'CSeq: 99999999999999999999'),
    VALID.replace('Max-Forwards: 70', 'Max-Forwards: -70'),
    VALID.replace('clyde@', `${'%00'.repeat(500)}@`),
    VALID.replace('Call-ID: hostile', 'Call-ID: \0'),
    VALID.replace(';branch=', `;branch=${'z9hG4bK'.repeat(2_000)}`),
    header(`Route: <sip:${'A'.repeat(48)}@${AGENT}:5060;lr>`),
    header('Route: <sip:[::1'),
    'SIP/2.0 200 OK\r\n\r\n',
    'SIP/2.0 999999 \r\nVia: \r\n\r\n',
    '\r\n\r\n',
    '\0'.repeat(1_000),
    VALID + 'x'.repeat(LARGEST - VALID.length),
  ].map(bytes);
  return [...binary, ...truncated, ...flipped, ...crafted];
}

const chunksOf = <T>(list: T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(list.length / size) }, (_, i) => list.slice(i * size, (i + 1) * size));

/** Needs no root. */
describe.skipIf(!canUseLoopback).each(['ffi', 'dgram'] as const)('hostile input, datapath %s', (datapath) => {
  let service: { address: string; port: number };
  let client: Client;
  let pbx: EchoPbx;
  let agent: Agent;

  beforeEach(async () => {
    service = { address: AGENT, port: await freePort(AGENT) };
    client = await Client.start('127.0.2.1');
    pbx = await EchoPbx.start('pbx1', '127.0.1.1');
    agent = await Agent.start({
      host: loopback(AGENT),
      workers: 3,
      datapath,
      farm: {
        kind: 'Farm',
        name: 'pbx',
        sites: ['milan'],
        listeners: (['udp', 'tcp'] as const).map((transport) => ({ transport, ...service })),
        backends: [{ name: 'pbx1', address: '127.0.1.1', port: pbx.port }],
      },
    });
  });
  afterEach(async () => {
    await agent.close();
    client.close();
    pbx.close();
  });

  /** The agent answers, and as the same threads as before. */
  async function expectAlive(): Promise<void> {
    expect(await client.ask('REGISTER', 'bonnie', service)).toBe('pbx1');
    expect(agent.process.alive).toBe(true);
    expect(await agent.metric('sipfleet_worker_restarts_total')).toBe(0);
  }

  async function datagrams(seed: number): Promise<void> {
    for (const some of chunksOf(hostileMessages(seed), 50)) {
      for (const message of some) client.send(message, service);
      // Its answer shows that what went before has been read.
      await client.ask('OPTIONS', 'bonnie', service);
    }
  }

  /** Every message on a connection of its own, which the agent may close at any time. */
  async function streams(seed: number): Promise<void> {
    for (const some of chunksOf(hostileMessages(seed), 50))
      await Promise.all(
        some.map(
          (message) =>
            new Promise<void>((resolve) => {
              const socket = connect(service.port, service.address, () => socket.end(message));
              socket
                .resume()
                .on('error', () => {})
                .once('close', () => resolve());
              // Half of what was sent leaves the agent waiting for the rest: the sender gives up.
              setTimeout(() => socket.destroy(), 500);
            }),
        ),
      );
  }

  test('datagrams neither crash the agent nor make it grow', async () => {
    await datagrams(1);
    await expectAlive();
    const before = await agent.metric('process_resident_memory_bytes');
    for (let seed = 2; seed <= 5; seed++) await datagrams(seed);
    await expectAlive();
    // Most of it has been looked at and found wrong, not lost on the way.
    expect(await agent.metric('sipfleet_dropped_messages_total', 'reason="malformed"')).toBeGreaterThan(1_000);
    // One round is 3 MB: an agent that kept what it was sent, or a transaction for each, would show it.
    expect((await agent.metric('process_resident_memory_bytes')) - before).toBeLessThan(32_000_000);
  });

  test('streams neither crash the agent nor leave connections behind', async () => {
    const idle = await agent.metric('process_open_fds');
    await streams(1);
    await expectAlive();
    const before = await agent.metric('process_resident_memory_bytes');
    await streams(2);
    await expectAlive();
    expect((await agent.metric('process_resident_memory_bytes')) - before).toBeLessThan(32_000_000);
    await expect.poll(() => agent.metric('process_open_fds'), { timeout: 60_000 }).toBeLessThanOrEqual(idle + 2);
  });

  test('what carries a forged token reaches no PBX', async () => {
    const forged = header(`Route: <sip:${'Q'.repeat(48)}@${service.address}:${service.port};lr>`);
    for (let i = 0; i < 20; i++) client.send(forged, service);
    await expectAlive();
    expect(pbx.requests.get('INVITE') ?? 0).toBe(0);
    expect(
      (await agent.metric('sipfleet_dropped_messages_total', 'reason="forged_token"')) +
        (await agent.metric('sipfleet_local_responses_total')),
    ).toBeGreaterThanOrEqual(20);
  });
});

describe.skipIf(!canUseNamespaces())('hostile input in the middle of service', () => {
  const stage = useStage();

  test('a real call goes through afterwards, over UDP and TCP', async () => {
    const s = stage();
    const { client1, client2 } = s.net;
    await s.startPbxs({ challengeCalls: true });
    const agent = await s.startAgent({ workers: 3 });
    // SIPp would not send garbage: bash's /dev/udp and /dev/tcp write what they are given.
    for (const message of hostileMessages(7).filter((_, i) => i % 40 === 0)) {
      const hex = [...message.subarray(0, 4_000)].map((octet) => `\\x${octet.toString(16).padStart(2, '0')}`).join('');
      for (const transport of ['udp', 'tcp'])
        await client2.run('bash', ['-c', `printf '${hex}' > /dev/${transport}/${s.net.vip.ipv4}/5060`]);
    }
    for (const [transport, callee] of [
      ['udp', 'clyde'],
      ['tcp', 'blanche'],
    ] as const) {
      await s.sippPhone(callee, client2, { transport });
      const scenario = callScenario({ challenged: true });
      const call = s.sipp('bonnie', client1, { port: 5080, transport, scenario, callee });
      expect(await call.finished()).toMatchObject({ successful: 1, failed: 0 });
    }
    expect(agent.process.alive).toBe(true);
  });
});
