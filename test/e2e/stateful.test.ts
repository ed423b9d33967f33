import { describe, expect, test } from 'vitest';
import { callScenario } from '../interop/scenarios.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { useStage } from './stage.ts';

/** Transactions are kept: what happens inside one request, where a stateless agent could only help the next. */
describe.skipIf(!canUseNamespaces()).each([1, 3])('transactions: stateful, %i workers', (workers) => {
  const stage = useStage();

  test('phones register and call in both directions', async () => {
    const s = stage();
    const { client1, client2 } = s.net;
    await s.startPbxs({ challengeCalls: true });
    const agent = await s.startAgent({ workers, farm: s.farm({ transactions: 'stateful' }) });
    await s.sippPhone('bonnie', client1);
    await s.sippPhone('clyde', client2, { transport: 'tcp' });
    const scenario = callScenario({ challenged: true });
    const there = s.sipp('bonnie', client1, { port: 5080, scenario, callee: 'clyde' });
    expect(await there.finished()).toMatchObject({ successful: 1, failed: 0 });
    const back = s.sipp('clyde', client2, { port: 5080, transport: 'tcp', scenario, callee: 'bonnie' });
    expect(await back.finished()).toMatchObject({ successful: 1, failed: 0 });
    expect(await agent.metric('sipfleet_failovers_total')).toBe(0);
  });

  test('a PBX that is dead and not found out yet: the REGISTER itself is answered by the other one', async () => {
    const s = stage();
    const pbxs = await s.startPbxs();
    // No check: nothing but the request finds out.
    const agent = await s.startAgent({ workers, farm: s.farm({ transactions: 'stateful', checks: [] }) });
    const before = await s.sippPhone('bonnie', s.net.client1);
    const dead = pbxs.find((pbx) => pbx.address === before.address)!;
    await dead.stop();
    const after = await s.sippPhone('bonnie', s.net.client2);
    expect(after.address).not.toBe(dead.address);
    expect(await agent.metric('sipfleet_failovers_total')).toBeGreaterThan(0);
  });
});
