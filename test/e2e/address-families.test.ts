import { describe, expect, test } from 'vitest';
import { renewedCall } from '../interop/dialog-scenarios.ts';
import { phoneScenario } from '../interop/scenarios.ts';
import { hostPort } from '../netns/host.ts';
import { between, ladder, value, values } from '../netns/wire.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { type Transport, type User, useStage } from './stage.ts';

type Family = 'ipv4' | 'ipv6';

/** Who is called, over what, and which side ends the call. Called by the user below, from a machine of its own. */
const CALLS: readonly [callee: User, transport: Transport, ender: 'caller' | 'callee'][] = [
  ['bonnie', 'udp', 'caller'],
  ['clyde', 'udp', 'callee'],
  ['blanche', 'tcp', 'caller'],
  ['buck', 'tcp', 'callee'],
];

describe.skipIf(!canUseNamespaces())('phones and PBXs of different address families', () => {
  const stage = useStage();

  test.each<[Family, Family, Transport, number]>([
    ['ipv6', 'ipv4', 'udp', 1],
    ['ipv6', 'ipv4', 'tcp', 3],
    ['ipv4', 'ipv6', 'udp', 3],
    ['ipv4', 'ipv6', 'tcp', 1],
  ])(
    'phones on %s, PBXs on %s over %s, %i workers: calls are renewed and ended from either side, by two Record-Routes a passage',
    async (outside, inside, towards, workers) => {
      const s = stage();
      const { vip, pbx1, pbx2, client1, client2, agentA } = s.net;
      await s.startPbxs();
      const listeners = (['ipv4', 'ipv6'] as const).flatMap((family) =>
        (['udp', 'tcp'] as const).map((transport) => ({ transport, address: vip[family], port: 5060 })),
      );
      const backends = [pbx1, pbx2].map((pbx, i) => ({
        name: `kamailio${i + 1}`,
        address: pbx[inside],
        transport: towards,
      }));
      await s.startAgent({ workers, farm: s.farm({ listeners, backends }) });
      const capture = await s.capture(agentA);
      const target = hostPort(vip[outside], 5060);
      await Promise.all(
        CALLS.map(async ([callee, transport, ender], i) => {
          const { caller: scenario, callee: outOfCall } = renewedCall(ender);
          const phone = { target, transport, address: client2[outside], port: 5070 + i };
          await s.sippPhone(callee, client2, { ...phone, scenario: phoneScenario, outOfCall });
          const from = { target, transport, address: client1[outside], port: 5080 + i };
          const user = CALLS[(i + 1) % CALLS.length]![0];
          const call = s.sipp(user, client1, { ...from, scenario, callee });
          expect(await call.finished()).toMatchObject({ successful: 1, failed: 0 });
        }),
      );

      const wire = await capture.stop();
      const uri = (family: Family, transport: Transport) =>
        `${hostPort(vip[family], 5060)}${transport === 'udp' ? '' : `;transport=${transport}`}`;
      for (const [callee, transport, ender] of CALLS) {
        const first = between(wire, vip[outside], client2[outside]).find(
          (m) => m.method === 'INVITE' && value(m, 'to').includes(`sip:${callee}@`),
        );
        if (!first) throw new Error(`${callee} was not called:\n${ladder(wire)}`);
        const own = values(first, 'record-route')
          .map((route) => /@(\S+);lr>/.exec(route)?.[1])
          .filter((at) => at?.startsWith(hostPort(vip.ipv4, 5060)) || at?.startsWith(hostPort(vip.ipv6, 5060)));
        const [out, back] = [uri(outside, transport), uri(inside, towards)];
        expect([callee, own]).toEqual([callee, [out, back, back, out]]);
        // What was asked within the call came to the PBX from the agent's address of the PBX's family, and left on the phones' own.
        const ofCall = wire.filter((m) => value(m, 'call-id') === value(first, 'call-id'));
        const asked = (from: string, to: string) => {
          const requests = between(ofCall, from, to).filter((m) => m.method !== '' && m.method !== 'ACK');
          // Once each, however often it was sent.
          return [...new Set(requests.filter((m) => value(m, 'to').includes(';tag=')).map((m) => value(m, 'cseq')))];
        };
        const atCallee = asked(vip[outside], client2[outside]);
        expect(atCallee).toEqual(ender === 'caller' ? ['2 INVITE', '4 BYE'] : ['2 INVITE']);
        const toPbxs = [pbx1, pbx2].flatMap((pbx) => asked(vip[inside], pbx[inside]));
        expect(toPbxs).toEqual(['2 INVITE', '3 INVITE', '4 BYE']);
      }
    },
  );
});
