import { describe, expect, test } from 'vitest';
import { between, label, ladder } from '../netns/wire.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN, type Transport, useStage } from './stage.ts';

/** Often enough that a standby which took its own lack of the address for dead PBXs would be found out. */
const checks = [{ name: 'ping', type: 'options' as const, interval: '300ms', timeout: '300ms', rise: 1, fall: 2 }];

describe.skipIf(!canUseNamespaces()).each([1, 3])('an agent dies in a call, %i workers', (workers) => {
  const stage = useStage();

  test.each(['caller', 'callee'] as const)('the %s hangs up through the other agent', async (who) => {
    const s = stage();
    const { agentA, agentB, client1, client2, pbx1, pbx2, vip } = s.net;
    await s.startPbxs({ challengeCalls: true });
    const farm = s.farm({ checks });
    const a = await s.startAgent({ workers, farm, name: 'edge-a' });
    const b = await s.startAgent({ workers, farm, name: 'edge-b', host: agentB });
    const bonnie = await s.baresip('bonnie', client1);
    const clyde = await s.baresip('clyde', client2, { answers: true });
    bonnie.dial(`sip:clyde@${DOMAIN}`);
    await Promise.all([bonnie.sees('CALL_ESTABLISHED'), clyde.sees('CALL_ESTABLISHED')]);

    // A standby has no address to ask the PBXs from, which says nothing about them.
    expect(b.process.output).not.toContain('backend down');
    await agentA.kill();
    await a.process.exited;
    await s.net.moveVip(agentB);
    const capture = await s.capture(agentB);
    (who === 'caller' ? bonnie : clyde).hangUp();
    await Promise.all([bonnie.sees('CALL_CLOSED'), clyde.sees('CALL_CLOSED')]);

    const wire = await capture.stop();
    // To the PBX that has the call, and its answer back to who hung up.
    const toPbx = between(wire, vip.ipv4, pbx2.ipv4).map(label);
    expect(toPbx, ladder(wire)).toContain('BYE');
    expect(between(wire, vip.ipv4, pbx1.ipv4).map(label)).not.toContain('BYE');
    const source = who === 'caller' ? s.net.nat : client2;
    expect(between(wire, vip.ipv4, source.ipv4).map(label), ladder(wire)).toContain('200 BYE');
  });

  test.each<Transport>(['udp', 'tcp'])('a new call over %s goes through the other agent', async (transport) => {
    const s = stage();
    const { agentA, agentB, client1, client2 } = s.net;
    await s.startPbxs({ challengeCalls: true });
    const farm = s.farm({ checks });
    const a = await s.startAgent({ workers, farm, name: 'edge-a' });
    await s.startAgent({ workers, farm, name: 'edge-b', host: agentB });
    // The callee registers through A and is not registered anew.
    const clyde = await s.baresip('clyde', client2, { answers: true });

    await agentA.kill();
    await a.process.exited;
    await s.net.moveVip(agentB);
    const bonnie = await s.baresip('bonnie', client1, { transport });
    bonnie.dial(`sip:clyde@${DOMAIN}`);
    await Promise.all([bonnie.sees('CALL_ESTABLISHED'), clyde.sees('CALL_ESTABLISHED')]);
    bonnie.hangUp();
    await clyde.sees('CALL_CLOSED');
  });
});
