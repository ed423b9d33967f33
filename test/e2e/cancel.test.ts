import { describe, expect, test } from 'vitest';
import { cancelledCallee, cancellingCaller, type Outcome } from '../interop/cancel-scenarios.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN, type Transport, useStage } from './stage.ts';

describe.skipIf(!canUseNamespaces()).each([1, 3])('a caller gives up while it rings, %i workers', (workers) => {
  const stage = useStage();

  test.each<[Transport, Transport]>([
    ['udp', 'udp'],
    ['tcp', 'udp'],
    ['udp', 'tcp'],
  ])('phone on %s, PBX on %s: it is cancelled, or hung up where the answer crosses', async (outside, inside) => {
    const s = stage();
    const { client1, pbx1, pbx2 } = s.net;
    const farm = s.farm({ checks: [] });
    const backends = farm.backends.map((backend) => ({ ...backend, transport: inside }));
    const agent = await s.startAgent({ workers, farm: { ...farm, backends } });
    // The hash puts bonnie's calls on the first PBX and clyde's on the second (stage.ts).
    const gives = async (callee: 'bonnie' | 'clyde', outcome: Outcome) => {
      const host = callee === 'bonnie' ? pbx1 : pbx2;
      const pbx = s.sipp(callee, host, { port: 5060, transport: inside, scenario: cancelledCallee(outcome) });
      await pbx.listening();
      const scenario = cancellingCaller(outcome);
      const caller = s.sipp('buck', client1, { port: 5080, transport: outside, scenario, callee });
      for (const side of [caller, pbx]) expect(await side.finished()).toMatchObject({ successful: 1, failed: 0 });
    };
    await gives('clyde', '487 Request Terminated');
    await gives('bonnie', '200 OK');
    expect(await agent.metric('sipfleet_dropped_messages_total')).toBe(0);
  });

  test('the agent dies meanwhile: the other one, which knows nothing of the call, has the phone stop ringing', async () => {
    const s = stage();
    const { agentA, agentB, client1, client2 } = s.net;
    await s.startPbxs({ challengeCalls: true });
    const a = await s.startAgent({ workers, name: 'edge-a' });
    const b = await s.startAgent({ workers, name: 'edge-b', host: agentB });
    const bonnie = await s.baresip('bonnie', client1);
    const clyde = await s.baresip('clyde', client2);
    bonnie.dial(`sip:clyde@${DOMAIN}`);
    await Promise.all([bonnie.sees('CALL_RINGING'), clyde.sees('CALL_INCOMING')]);
    await agentA.kill();
    await a.process.exited;
    await s.net.moveVip(agentB);
    bonnie.hangUp();
    await Promise.all([bonnie.sees('CALL_CLOSED'), clyde.sees('CALL_CLOSED')]);
    expect(await b.metric('sipfleet_local_responses_total', 'code="200"')).toBeGreaterThan(0);
  });
});
