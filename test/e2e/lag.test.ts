import { describe, expect, test } from 'vitest';
import type { Agent } from '../interop/agent.ts';
import { Kamailio, whereRegistered } from '../interop/kamailio.ts';
import { answerScenario, callScenario, phoneScenario, registrationFor } from '../interop/scenarios.ts';
import { row, Sipp, type SippOptions } from '../interop/sipp.ts';
import type { Namespace } from '../netns/namespace.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN, type Stage, useStage } from './stage.ts';

/**
 * Registrars without a shared location, phones that register anew every 20 s for 30 s, and calls throughout: whatever is done to the farm, each
 * call reaches the registrar where its callee is.
 */
const LASTS = 30;
const ANEW = 20;
const CALLS_PER_SECOND = 5;
/** Callers that go on for longer than registrations lag. */
const PHASE = { rate: CALLS_PER_SECOND, calls: (LASTS + 6) * CALLS_PER_SECOND };
const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
/** They register anew. */
const PHONES = names('phone', 40);
/** They registered once, and think that it lasts. */
const SLEEPERS = names('sleeper', 30);
const PASSWORD = 'gates';
const users = Object.fromEntries([...PHONES, ...SLEEPERS].map((name) => [name, PASSWORD]));

describe.skipIf(!canUseNamespaces())('registrations lag', () => {
  const stage = useStage();

  function sipp(
    s: Stage,
    host: Namespace,
    options: Partial<SippOptions> & Pick<SippOptions, 'scenario' | 'port'>,
  ): Sipp {
    const made = new Sipp({ host, target: s.service, domain: DOMAIN, deadline: 120_000, ...options });
    s.keep({ close: () => made.end() });
    return made;
  }

  /** Phones that register, and go on registering. */
  async function phones(s: Stage, host: Namespace): Promise<void> {
    const rows = PHONES.map((name) => row(name, PASSWORD));
    const options = { port: 5070, scenario: registrationFor(LASTS), rows };
    await sipp(s, host, { ...options, rate: 40 }).finished();
    await Promise.all(PHONES.map((name) => whereRegistered(name, s.pbxs)));
    sipp(s, host, { ...options, outOfCall: answerScenario, rate: PHONES.length / ANEW, calls: 100_000 });
  }

  /** Phones that register once. */
  async function sleepers(s: Stage, host: Namespace): Promise<void> {
    const rows = SLEEPERS.map((name) => row(name, PASSWORD));
    sipp(s, host, { port: 5072, scenario: phoneScenario, outOfCall: answerScenario, rows, rate: 40 });
    await Promise.all(SLEEPERS.map((name) => whereRegistered(name, s.pbxs)));
  }

  /** Calls all of them in turn. */
  const call = (s: Stage, who: string[], options: { rate: number; calls: number; port?: number }) =>
    sipp(s, s.net.client2, {
      port: 5080,
      scenario: callScenario({ challenged: false }),
      rows: who.map((name) => row('caller', PASSWORD, name)),
      ...options,
    }).finished();

  /** `count` registrars on two machines. */
  async function registrars(s: Stage, count: number): Promise<Kamailio[]> {
    const started = Array.from({ length: count }, (_, i) => {
      const host = i % 2 === 0 ? s.net.pbx1 : s.net.pbx2;
      return Kamailio.start({ host, port: 5060 + 2 * (i >> 1), users });
    });
    const all = await Promise.all(started);
    for (const pbx of all) s.pbxs.push(s.keep(pbx));
    return all;
  }

  const farmOf = (s: Stage, pbxs: Kamailio[], drained?: Kamailio) =>
    s.farm({
      transactions: 'stateful',
      registration: { maxExpires: `${LASTS}s` },
      checks: [{ name: 'ping', type: 'options', interval: '500ms', timeout: '400ms', fall: 2, rise: 2 }],
      backends: pbxs.map((pbx, i) => ({
        name: `kamailio${i + 1}`,
        address: pbx.address,
        port: pbx.port,
        ...(pbx === drained && { drain: true }),
      })),
    });

  const sought = (agent: Agent) => agent.metric('sipfleet_sought_elsewhere_total');

  test('5 PBXs become 6, then one of them drains: no call is lost', { timeout: 240_000 }, async () => {
    const s = stage();
    const { client1, client2 } = s.net;
    const pbxs = await registrars(s, 6);
    const [drained, sixth] = [pbxs[0]!, pbxs[5]!];
    const agent = await s.startAgent({ workers: 3, farm: farmOf(s, pbxs.slice(0, 5)) });
    await phones(s, client1);
    await sleepers(s, client2);

    const growing = call(s, PHONES, PHASE);
    await agent.reload(farmOf(s, pbxs));
    // Nobody has registered anew yet, and everybody is found.
    await call(s, SLEEPERS, { rate: 20, calls: SLEEPERS.length, port: 5082 });
    expect(await growing).toMatchObject({ successful: PHASE.calls, failed: 0 });
    expect(sixth.count(/call INVITE from caller to phone\d+ here/)).toBeGreaterThan(0);
    expect(await sought(agent)).toBeGreaterThan(0);

    // The control: whoever did not register anew in time is lost now, so it was the lag that found them.
    await expect(call(s, SLEEPERS, { rate: 20, calls: SLEEPERS.length })).rejects.toThrow(/404/);

    const emptying = call(s, PHONES, PHASE);
    await agent.reload(farmOf(s, pbxs, drained));
    expect(await emptying).toMatchObject({ successful: PHASE.calls, failed: 0 });
    const calls = () => drained.count(/call INVITE/) + drained.count(/registered/);
    const before = calls();
    expect(await call(s, PHONES, { rate: 20, calls: PHONES.length })).toMatchObject({ failed: 0 });
    expect(calls()).toBe(before);
  });

  test('a PBX comes back with nothing in it, after its phones moved on: no call is lost', {
    timeout: 240_000,
  }, async () => {
    const s = stage();
    const pbxs = await registrars(s, 3);
    const agent = await s.startAgent({ workers: 1, farm: farmOf(s, pbxs) });
    await phones(s, s.net.client1);
    const back = pbxs[0]!;
    const own = PHONES.filter((name) => back.knows(name));
    expect(own.length).toBeGreaterThan(3);
    await back.stop();
    await agent.backendBecomes('kamailio1', 'down');
    const others = pbxs.slice(1);
    const from = new Map(others.map((pbx) => [pbx, pbx.log.length]));
    // Every phone of the dead PBX has registered at one of the others.
    for (const name of own)
      await Promise.any(others.map((pbx) => pbx.sees(new RegExp(`registered ${name} `), { from: from.get(pbx)! })));

    await back.start();
    await agent.backendBecomes('kamailio1', 'up');
    expect(await call(s, PHONES, PHASE)).toMatchObject({ successful: PHASE.calls, failed: 0 });
    // They are at home again.
    await Promise.all(own.map((name) => back.registered(name)));
    expect(back.count(/call INVITE from caller to phone\d+ here/)).toBeGreaterThan(0);
  });
});
