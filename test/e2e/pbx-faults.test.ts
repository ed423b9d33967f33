import type { FarmInput } from '@sipfleet/contract';
import { describe, expect, test, vi } from 'vitest';
import { answerScenario, callScenario, failingScenario, phoneScenario } from '../interop/scenarios.ts';
import { row } from '../interop/sipp.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { type Transport, useStage } from './stage.ts';

/** The hash puts clyde's calls on the second PBX (stage.ts), which is the one that fails. */
const FAILING = 'backend="kamailio2"';
const checks = [{ name: 'ping', type: 'options' as const, interval: '300ms', timeout: '300ms', rise: 1, fall: 2 }];

describe.skipIf(!canUseNamespaces()).each([1, 3])('a PBX fails inside a call setup, %i workers', (workers) => {
  const stage = useStage();
  /** SIPp as PBX: the first answers as it should, the second fails. */
  const asPbx = (fault: Parameters<typeof failingScenario>[0], transport: Transport) => {
    const s = stage();
    const { pbx1, pbx2 } = s.net;
    const pbx = { port: 5060, calls: 100, transport };
    s.sipp('buck', pbx1, { ...pbx, scenario: answerScenario });
    s.sipp('buck', pbx2, { ...pbx, scenario: failingScenario(fault) });
  };
  const call = (transport: Transport) => {
    const s = stage();
    const scenario = callScenario({ challenged: false });
    return s.sipp('bonnie', s.net.client1, { port: 5080, scenario, callee: 'clyde', transport });
  };
  const farmOver = (transport: Transport, rest: Partial<FarmInput>) => {
    const farm = stage().farm(rest);
    return { ...farm, backends: farm.backends.map((backend) => ({ ...backend, transport })) };
  };

  describe.each<[Transport, Transport]>([
    ['udp', 'udp'],
    ['tcp', 'udp'],
    ['udp', 'tcp'],
    ['tcp', 'tcp'],
  ])('phone on %s, PBX on %s', (outside, inside) => {
    test('killed between INVITE and 180: the caller hears the next PBX ring, and no error', async () => {
      const s = stage();
      const { pbx1, pbx2, client2 } = s.net;
      const pbxs = await s.startPbxs();
      const agent = await s.startAgent({ workers, farm: farmOver(inside, { checks }) });
      // Clyde has a phone at each PBX; the one at the second is mute, so that its PBX gets no further than 100.
      const phones = [
        { port: 5070, target: `${pbx1.ipv4}:5060`, outOfCall: answerScenario },
        { port: 5072, target: `${pbx2.ipv4}:5060`, outOfCall: failingScenario('silent') },
      ];
      for (const phone of phones) s.sipp('clyde', client2, { scenario: phoneScenario, ...phone });
      await Promise.all(pbxs.map((pbx) => pbx.registered('clyde')));
      const caller = call(outside);
      await vi.waitFor(
        async () => expect(await agent.metric('sipfleet_backend_responses_total', FAILING, '1xx')).toBeGreaterThan(0),
        { timeout: 20_000, interval: 100 },
      );
      await s.net.pbx2.kill();
      expect(await caller.finished()).toMatchObject({ successful: 1, failed: 0 });
      expect(await agent.metric('sipfleet_failovers_total', FAILING)).toBe(1);
    });

    test.each(['silent', 'refusing'] as const)('%s: the next PBX takes the call', async (fault) => {
      const s = stage();
      asPbx(fault, inside);
      const farm = farmOver(inside, { checks: [], failover: { timeout: '500ms', codes: [503] } });
      const agent = await s.startAgent({ workers, farm });
      expect(await call(outside).finished()).toMatchObject({ successful: 1, failed: 0 });
      expect(await agent.metric('sipfleet_failovers_total', FAILING)).toBe(1);
    });
  });
});

const CALLS = 200;
const CALLEES = Array.from({ length: 20 }, (_, i) => `callee${i}`);
const PASSWORD = 'secret';
/** From the first call to the first BYE: long enough for all to be up and for a PBX to come back. */
const HOLD_MS = 12_000;

describe.skipIf(!canUseNamespaces()).each([1, 3])('PBXs reached over TCP, %i workers', (workers) => {
  const stage = useStage();

  test('both lose power in 200 calls and come back: every BYE gets through', async () => {
    const s = stage();
    const { client1, client2 } = s.net;
    const users = Object.fromEntries([...CALLEES, 'caller'].map((user) => [user, PASSWORD]));
    const pbxs = await s.startPbxs({ users, ipv6: false });
    const farm = s.farm({ checks });
    const backends = farm.backends.map((backend) => ({ ...backend, transport: 'tcp' as const }));
    const agent = await s.startAgent({ workers, farm: { ...farm, backends } });
    s.sipp('clyde', client2, {
      scenario: phoneScenario,
      outOfCall: answerScenario,
      rows: CALLEES.map((user) => row(user, PASSWORD)),
      rate: 100,
    });
    await Promise.all(CALLEES.map((user) => Promise.any(pbxs.map((pbx) => pbx.registered(user)))));
    const calls = (['udp', 'tcp'] as const).map((transport, i) =>
      s.sipp('bonnie', client1, {
        ...{ port: 5080 + 2 * i, transport },
        scenario: callScenario({ challenged: false, holdMs: HOLD_MS }),
        rows: CALLEES.map((user) => row('caller', PASSWORD, user)),
        ...{ calls: CALLS / 2, limit: CALLS / 2, rate: 25 },
      }),
    );
    await vi.waitFor(
      async () => {
        const answered = await agent.metric('sipfleet_backend_responses_total', '2xx');
        expect(answered).toBeGreaterThanOrEqual(2 * CALLS);
      },
      { timeout: 30_000, interval: 200 },
    );
    for (const host of [s.net.pbx1, s.net.pbx2]) {
      // Without a word: the agent's connections stay open on its side, to nobody.
      await host.ip('link', 'set', 'eth0', 'down');
      await host.kill();
      await host.ip('link', 'set', 'eth0', 'up');
    }
    for (const pbx of pbxs) await pbx.start();
    for (const half of calls) expect(await half.finished()).toMatchObject({ successful: CALLS / 2, failed: 0 });
  });
});
