import { describe, expect, test } from 'vitest';
import { notifier, subscriber, TALKED, talkingCallee, talkingCaller } from '../interop/dialog-scenarios.ts';
import { phoneScenario } from '../interop/scenarios.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { type Stage, type Transport, useStage } from './stage.ts';

/** Dialogs that last: what comes after the call stands must reach the other side through the same PBX, from either side, over any transport. */
describe.skipIf(!canUseNamespaces()).each([1, 3])('within a dialog, %i workers', (workers) => {
  const stage = useStage();

  async function setUp(): Promise<Stage> {
    const s = stage();
    await s.startPbxs();
    await s.startAgent({ workers, farm: s.farm({ transactions: 'stateful' }) });
    return s;
  }

  test.each<[Transport, Transport]>([
    ['udp', 'udp'],
    ['tcp', 'udp'],
    ['udp', 'tcp'],
    ['tcp', 'tcp'],
  ])('re-INVITE, UPDATE, INFO and MESSAGE from both sides, session timers, %s and %s', async (caller, callee) => {
    const s = await setUp();
    const phone = { scenario: phoneScenario, outOfCall: talkingCallee, transport: callee };
    const home = await s.sippPhone('clyde', s.net.client2, phone);
    const call = s.sipp('bonnie', s.net.client1, {
      port: 5080,
      transport: caller,
      scenario: talkingCaller,
      callee: 'clyde',
    });
    expect(await call.finished()).toMatchObject({ successful: 1, failed: 0 });
    // Every one of them passed the PBX of the call, and none came to the other.
    for (const [method, sent] of Object.entries(TALKED))
      expect([method, home.count(new RegExp(`in-dialog ${method} from`))]).toEqual([method, sent.length]);
    for (const pbx of s.pbxs) if (pbx !== home) expect(pbx.count(/in-dialog/)).toBe(0);
  });

  test.each<[Transport, Transport]>([
    ['udp', 'udp'],
    ['tcp', 'udp'],
    ['udp', 'tcp'],
  ])('SUBSCRIBE and NOTIFY, %s and %s', async (watcher, watched) => {
    const s = await setUp();
    const phone = { scenario: phoneScenario, outOfCall: notifier, transport: watched };
    const home = await s.sippPhone('clyde', s.net.client2, phone);
    const options = { port: 5080, transport: watcher, scenario: subscriber, callee: 'clyde' as const };
    const subscription = s.sipp('bonnie', s.net.client1, options);
    expect(await subscription.finished()).toMatchObject({ successful: 1, failed: 0 });
    expect(home.count(/in-dialog NOTIFY from/)).toBe(3);
    expect(home.count(/in-dialog SUBSCRIBE from/)).toBe(2);
  });
});
