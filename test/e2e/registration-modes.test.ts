import type { FarmInput } from '@sipfleet/contract';
import { describe, expect, test } from 'vitest';
import { callScenario } from '../interop/scenarios.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { type Stage, type Transport, type User, useStage } from './stage.ts';

describe.skipIf(!canUseNamespaces()).each([1, 3])('registration modes with Kamailio, %i workers', (workers) => {
  const stage = useStage();

  async function setUp(registration: FarmInput['registration']): Promise<Stage> {
    const s = stage();
    // Path is unknown to these PBXs unless the mode is path.
    await s.startPbxs({ challengeCalls: true, usePath: registration?.mode === 'path' });
    await s.startAgent({ workers, farm: s.farm({ registration }) });
    return s;
  }

  const callBothWays = async (s: Stage, transport: Transport) => {
    const scenario = callScenario({ challenged: true });
    const call = (from: User, callee: User) =>
      s.sipp(from, from === 'bonnie' ? s.net.client1 : s.net.client2, { port: 5080, transport, scenario, callee });
    expect(await call('bonnie', 'clyde').finished()).toMatchObject({ successful: 1, failed: 0 });
    expect(await call('clyde', 'bonnie').finished()).toMatchObject({ successful: 1, failed: 0 });
  };

  test.each([
    ['path', 'udp'],
    ['path', 'tcp'],
    ['contact', 'udp'],
    ['contact', 'tcp'],
  ] as const)('%s: phones on %s, one of them behind NAT, are called through the agent', async (mode, transport) => {
    const s = await setUp({ mode, maxExpires: '2m' });
    const bonnies = await s.sippPhone('bonnie', s.net.client1, { transport });
    await s.sippPhone('clyde', s.net.client2, { transport });
    await callBothWays(s, transport);
    const bindings = await bonnies.bindings('bonnie');
    expect(bindings).toHaveLength(1);
    // A URI of the agent's, or the phone's own with the agent as its Path.
    expect(bindings[0]).toMatch(
      mode === 'contact' ? /^sip:[\w-]+@10\.77\.0\.20:5060$/ : /^sip:bonnie@192\.168\.77\.11:/,
    );
  });

  test('contact: a phone that registers again and again, reconnected or not, has one binding', async () => {
    const s = await setUp({ mode: 'contact' });
    for (const transport of ['udp', 'udp', 'tcp', 'tcp', 'tcp'] as const)
      await s.sippRegistration('bonnie', s.net.client1, { transport }).finished();
    const homes = await Promise.all(s.pbxs.map((pbx) => pbx.bindings('bonnie')));
    // One by UDP and one by TCP: two ways to reach it.
    expect(homes.flat()).toHaveLength(2);
  });

  test('none: what a phone registers is what the PBX gets, and where it calls', async () => {
    const s = await setUp({ mode: 'none' });
    const home = await s.sippPhone('clyde', s.net.client2);
    expect(await home.bindings('clyde')).toEqual([`sip:clyde@${s.net.client2.ipv4}:5070;transport=UDP`]);
    const scenario = callScenario({ challenged: true });
    const call = s.sipp('bonnie', s.net.client1, { port: 5080, scenario, callee: 'clyde' });
    expect(await call.finished()).toMatchObject({ successful: 1, failed: 0 });
  });
});
