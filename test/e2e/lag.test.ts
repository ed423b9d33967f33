import { describe, expect, test } from 'vitest';
import type { Agent } from '../interop/agent.ts';
import { Kamailio, whereRegistered } from '../interop/kamailio.ts';
import { answerScenario, callScenario, phoneScenario, registrationFor } from '../interop/scenarios.ts';
import { row, Sipp, type SippOptions } from '../interop/sipp.ts';
import type { Namespace } from '../netns/namespace.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN, openStage, type Stage } from './stage.ts';

/**
 * Registrars without a shared location, phones that register anew every 20 s for 30 s, and calls throughout: whatever is done to the farm, each
 * call reaches the registrar where its callee is. Most of it is waiting, so 1 and 3 workers wait side by side.
 */
const LASTS = 30;
const ANEW = 20;
const CALLS_PER_SECOND = 5;
/** Callers that go on for longer than registrations lag. */
const PHASE = { rate: CALLS_PER_SECOND, calls: (LASTS + 6) * CALLS_PER_SECOND };
/** Callers that go on until they are told to stop. */
const THROUGHOUT = { rate: CALLS_PER_SECOND, calls: 100_000 };
const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
/** They register anew. */
const PHONES = names('phone', 40);
/** They registered once, and think that it lasts. */
const SLEEPERS = names('sleeper', 30);
const PASSWORD = 'gates';
const users = Object.fromEntries([...PHONES, ...SLEEPERS].map((name) => [name, PASSWORD]));

function sipp(s: Stage, host: Namespace, options: Partial<SippOptions> & Pick<SippOptions, 'scenario' | 'port'>): Sipp {
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

/** A caller of all of them in turn. */
const caller = (s: Stage, who: string[], options: { rate: number; calls: number; port?: number }): Sipp =>
  sipp(s, s.net.client2, {
    port: 5080,
    scenario: callScenario({ challenged: false }),
    rows: who.map((name) => row('caller', PASSWORD, name)),
    ...options,
  });
const call = (...calls: Parameters<typeof caller>) => caller(...calls).finished();

/** Some of its calls have been made. */
const called = (calls: Sipp) =>
  expect.poll(() => calls.result().successful, { timeout: 20_000, interval: 200 }).toBeGreaterThan(0);

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
    checks: [{ name: 'ping', type: 'options', interval: '1s', timeout: '1s', fall: 2, rise: 2 }],
    backends: pbxs.map((pbx, i) => ({
      name: `kamailio${i + 1}`,
      address: pbx.address,
      port: pbx.port,
      ...(pbx === drained && { drain: true }),
    })),
  });

const sought = (agent: Agent) => agent.metric('sipfleet_sought_elsewhere_total');

describe.skipIf(!canUseNamespaces())('registrations lag: 5 PBXs become 6, then one of them drains', () => {
  test.concurrent.for([1, 3])('no call is lost, %i workers', { timeout: 240_000 }, async (workers, context) => {
    const s = await openStage(context);
    const { client1, client2 } = s.net;
    const pbxs = await registrars(s, 6);
    const [drained, sixth] = [pbxs[0]!, pbxs[5]!];
    const agent = await s.startAgent({ workers, farm: farmOf(s, pbxs.slice(0, 5)) });
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
});

describe.skipIf(!canUseNamespaces())('registrations lag: a PBX dies and comes back with nothing in it', () => {
  test.concurrent.for([1, 3])('no call is lost, %i workers', { timeout: 240_000 }, async (workers, context) => {
    const s = await openStage(context);
    const pbxs = await registrars(s, 3);
    const agent = await s.startAgent({ workers, farm: farmOf(s, pbxs) });
    await phones(s, s.net.client1);
    const back = pbxs[0]!;
    const own = PHONES.filter((name) => back.knows(name));
    expect(own.length).toBeGreaterThan(3);

    // Calls throughout the outage and the recovery: to phones of the PBXs that live, and to each phone of the dead one as soon as one of those knows it.
    const callers = [
      caller(
        s,
        PHONES.filter((name) => !own.includes(name)),
        THROUGHOUT,
      ),
    ];
    await called(callers[0]!);
    await back.stop();
    const others = pbxs.slice(1);
    const from = new Map(others.map((pbx) => [pbx, pbx.log.length]));
    await Promise.all(
      own.map(async (name, i) => {
        const again = new RegExp(`registered ${name} `);
        await Promise.any(others.map((pbx) => pbx.sees(again, { from: from.get(pbx)! })));
        const one = caller(s, [name], { ...THROUGHOUT, rate: 1, port: 5082 + 2 * i });
        callers.push(one);
        await called(one);
      }),
    );

    await back.start();
    await agent.backendBecomes('kamailio1', 'up');
    const home = own.map((name) => back.registered(name));
    expect(await call(s, PHONES, { ...PHASE, port: 5078 })).toMatchObject({ successful: PHASE.calls, failed: 0 });
    // They are at home again.
    await Promise.all(home);
    for (const one of callers) expect(await one.stopped()).toMatchObject({ failed: 0 });
    expect(back.count(/call INVITE from caller to phone\d+ here/)).toBeGreaterThan(0);
  });
});
