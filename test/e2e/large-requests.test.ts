import { describe, expect, test } from 'vitest';
import { Agent } from '../interop/agent.ts';
import { loopback } from '../netns/host.ts';
import { values } from '../netns/wire.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { AGENT, startBridge } from './bridge.ts';
import { Client, canUseLoopback, EchoPbx, freePort } from './loopback.ts';

/** Beyond what a datagram should carry (RFC 3261 §18.1.1). */
const LARGE = `X-Ice: ${'candidate '.repeat(150)}`;

describe.skipIf(!canUseNamespaces())('requests too large for a datagram', () => {
  test.each([
    ['udp', 1],
    ['ws', 1],
    ['udp', 3],
    ['tcp', 3],
  ] as const)('Kamailio gets them over TCP, and the call goes on, from %s, %i workers', async (transport, workers) => {
    const bridge = await startBridge({ workers, backend: { tcpAbove: 1300 } });
    const bonnie = await bridge.phone('bonnie', transport);
    const clyde = await bridge.phone('clyde', 'udp');
    const ways = async (lines: string[], nth: number) => {
      const call = await bonnie.call('clyde', lines);
      const called = await clyde.called(nth);
      const answer = await call.ask('INVITE', lines);
      expect(answer.status).toBe(200);
      expect((await called.hangUp()).status).toBe(200);
      await call.ended();
      // From the phone: its own, ours towards the PBX, the PBX's, ours towards the other phone.
      return values(called.first, 'via').map((via) => via.split(' ')[0]!.split('/')[2]);
    };
    expect(await ways([], 0)).toEqual(['UDP', 'UDP', 'UDP', transport.toUpperCase()]);
    // Behind the first call's INVITE and re-INVITE.
    expect((await ways([LARGE], 2)).slice(2)).toEqual(['TCP', transport.toUpperCase()]);
    // The INVITE and its authenticated retry, and the re-INVITE.
    const large = await bridge.agent.metric('sipfleet_large_requests_total', 'transport="tcp"');
    expect(large).toBeGreaterThanOrEqual(3);
    expect(await bridge.agent.metric('sipfleet_large_requests_total', 'transport="udp"')).toBe(0);
    expect(await bridge.agent.metric('sipfleet_large_messages_sent_total')).toBeGreaterThanOrEqual(large);
  });
});

describe.skipIf(!canUseLoopback).each(['stateful', 'stateless'] as const)(
  'a PBX that refuses TCP, %s',
  (transactions) => {
    test('gets large requests by UDP', async () => {
      const service = { address: AGENT, port: await freePort(AGENT) };
      const client = await Client.start('127.7.0.30');
      const pbx = await EchoPbx.start('pbx1', '127.7.0.12');
      const agent = await Agent.start({
        host: loopback(AGENT),
        workers: 1,
        farm: {
          kind: 'Farm',
          name: 'pbx',
          sites: ['milan'],
          transactions,
          listeners: (['udp', 'tcp'] as const).map((transport) => ({ transport, ...service })),
          backends: [{ name: 'pbx1', address: '127.7.0.12', port: pbx.port, tcpAbove: 1300 }],
        },
      });
      try {
        expect(await client.ask('OPTIONS', 'bonnie', service, [LARGE])).toBe('pbx1');
        expect(await agent.metric('sipfleet_large_requests_total', 'transport="tcp"')).toBe(1);
        expect(await agent.metric('sipfleet_large_requests_total', 'transport="udp"')).toBeGreaterThanOrEqual(1);
      } finally {
        await agent.close();
        client.close();
        pbx.close();
      }
    });
  },
);
