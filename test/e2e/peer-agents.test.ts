import type { FarmInput } from '@sipfleet/contract';
import { describe, expect, test } from 'vitest';
import { PhoneProcess } from '../interop/phone-process.ts';
import { hostPort } from '../netns/host.ts';
import { between, label, ladder } from '../netns/wire.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN, type Stage, USERS, useStage } from './stage.ts';

describe.skipIf(!canUseNamespaces()).each([1, 3])('agents with addresses of their own, %i workers', (workers) => {
  const stage = useStage();

  /** Two agents, and a PBX that sends every call to the second one, whatever the Path says. */
  async function setUp(): Promise<Stage> {
    const s = stage();
    const { agentA, agentB } = s.net;
    await s.startPbxs({ outboundProxy: `sip:${hostPort(agentB.ipv4, 5060)}` });
    const listeners: FarmInput['listeners'] = [
      { transport: 'udp', port: 5060 },
      { transport: 'tcp', port: 5060 },
    ];
    const farm = s.farm({ listeners });
    await s.startAgent({ host: agentA, workers, farm, name: 'edge-a', number: 1, peers: [`2=${agentB.ipv4}`] });
    await s.startAgent({ host: agentB, workers, farm, name: 'edge-b', number: 2, peers: [`1=${agentA.ipv4}`] });
    return s;
  }

  test('a phone on TCP at one agent gets the call that the PBX sends to the other', async () => {
    const s = await setUp();
    const { agentA, agentB, client1, client2 } = s.net;
    const outbound = hostPort(agentA.ipv4, 5060);
    const clyde = await s.baresip('clyde', client2, { transport: 'tcp', outbound, answers: true });
    const bonnie = await s.baresip('bonnie', client1, { outbound });
    const capture = await s.capture(agentB);
    for (const who of [bonnie, clyde]) {
      bonnie.dial(`sip:clyde@${DOMAIN}`);
      await Promise.all([bonnie.sees('CALL_ESTABLISHED'), clyde.sees('CALL_ESTABLISHED')]);
      who.hangUp();
      await Promise.all([bonnie.sees('CALL_CLOSED'), clyde.sees('CALL_CLOSED')]);
    }
    const wire = await capture.stop();
    const passed = between(wire, agentB.ipv4, agentA.ipv4).map(label);
    expect(passed, ladder(wire)).toContain('INVITE');
    expect(passed, ladder(wire)).toContain('BYE');
  });

  test('its agent dies: the phone reconnects at the other one, registers, and is called there', async () => {
    const s = await setUp();
    const { agentA, agentB, client1, client2 } = s.net;
    const at = (agent: typeof agentA) => ({ host: client2, target: hostPort(agent.ipv4, 5060) });
    const phone = { transport: 'tcp' as const, user: 'clyde', password: USERS.clyde, domain: DOMAIN };
    const first = s.keep(await PhoneProcess.start({ ...phone, ...at(agentA) }));
    await agentA.kill();
    await first.lost();
    const second = s.keep(await PhoneProcess.start({ ...phone, ...at(agentB) }));
    const bonnie = await s.baresip('bonnie', client1, { outbound: hostPort(agentB.ipv4, 5060) });
    bonnie.dial(`sip:clyde@${DOMAIN}`);
    await bonnie.sees('CALL_ESTABLISHED');
    await second.up(1);
    bonnie.hangUp();
    await second.over(1);
  });
});
