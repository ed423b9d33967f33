import { describe, expect, test } from 'vitest';
import { answerScenario, callScenario, phoneScenario } from '../interop/scenarios.ts';
import { row } from '../interop/sipp.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { useStage } from './stage.ts';

const CALLS = 1_000;
const CALLEES = Array.from({ length: 40 }, (_, i) => `callee${i}`);
const PASSWORD = 'secret';

describe.skipIf(!canUseNamespaces())('1,000 calls at 100 per second', () => {
  const stage = useStage();

  test.each([
    [1, 'auto'],
    [3, 'auto'],
    [4, 'dgram'],
    [7, 'auto'],
  ] as const)('none fails with %i workers, datapath %s', async (workers, datapath) => {
    const s = stage();
    const { client1, client2 } = s.net;
    const users = Object.fromEntries([...CALLEES, 'caller'].map((user) => [user, PASSWORD]));
    const pbxs = await s.startPbxs({ users });
    const agent = await s.startAgent({ workers, datapath });
    const phone = s.sipp('clyde', client2, {
      scenario: phoneScenario,
      outOfCall: answerScenario,
      rows: CALLEES.map((user) => row(user, PASSWORD)),
      rate: 100,
    });
    await Promise.all(CALLEES.map((user) => Promise.any(pbxs.map((pbx) => pbx.registered(user)))));

    const calls = s.sipp('bonnie', client1, {
      port: 5080,
      scenario: callScenario({ challenged: false }),
      rows: CALLEES.map((user) => row('caller', PASSWORD, user)),
      calls: CALLS,
      rate: 100,
    });
    expect(await calls.finished()).toMatchObject({ successful: CALLS, failed: 0 });
    expect(phone.process.alive).toBe(true);

    // Both PBXs had their part, every call was at the PBX that knows its callee, and nothing was dropped on the way.
    const handled = pbxs.map((pbx) => pbx.count(/call INVITE from caller to callee\d+ here/));
    expect(handled.reduce((sum, n) => sum + n)).toBe(CALLS);
    expect(Math.min(...handled)).toBeGreaterThan(0);
    expect(pbxs.map((pbx) => pbx.count(/ unknown$/m))).toEqual([0, 0]);
    expect(await agent.metric('sipfleet_dropped_messages_total')).toBe(0);
  });
});
