import { describe, expect, test } from 'vitest';
import { PhoneProcess } from '../interop/phone-process.ts';
import { answerScenario, callScenario, hungUpOnScenario, phoneScenario } from '../interop/scenarios.ts';
import { row } from '../interop/sipp.ts';
import { hostPort } from '../netns/host.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN, useStage } from './stage.ts';

/** Of each phone. */
const CALLS = 500;
/** Longer than it takes to set all of them up, on a busy machine too. */
const HOLD_MS = 30_000;
const PATIENCE_MS = 90_000;
const PASSWORD = 'gates';

/** Phones whose calls the caller ends, and phones that end them. Those on TCP and WS lose their connection with the agent. */
const HEARS = ['udp', 'tcp', 'ws'] as const;
const ENDS = ['tcp', 'ws'] as const;
const SILENT = [...HEARS.map((t) => `hears-${t}`), ...ENDS.map((t) => `ends-${t}`)];
const USERS = Object.fromEntries(['caller', ...SILENT].map((name) => [name, PASSWORD]));

describe.skipIf(!canUseNamespaces())(`the agent dies with ${CALLS} calls of each phone up`, () => {
  const stage = useStage();

  test.each([
    [3, 1],
    [1, 3],
  ])('it had %i workers, its neighbour has %i: every BYE gets through', { timeout: 240_000 }, async (before, after) => {
    const s = stage();
    const { agentA, agentB, client1, client2, vip } = s.net;
    const pbxs = await s.startPbxs({ users: USERS });
    const count = (pattern: RegExp) => pbxs.reduce((sum, pbx) => sum + pbx.count(pattern), 0);
    const farm = s.farm({
      listeners: [...s.farm().listeners, { transport: 'ws', address: vip.ipv4, port: 5080 }],
    });
    const a = await s.startAgent({ workers: before, farm, name: 'edge-a', number: 1 });
    await s.startAgent({ workers: after, farm, name: 'edge-b', number: 2, host: agentB });

    s.sipp('clyde', client2, {
      ...{ scenario: phoneScenario, outOfCall: answerScenario, patience: PATIENCE_MS },
      rows: [row('hears-udp', PASSWORD)],
    });
    const phone = async (user: string, transport: 'tcp' | 'ws') => {
      const target = hostPort(vip.ipv4, transport === 'ws' ? 5080 : 5060);
      const who = { user, password: PASSWORD, domain: DOMAIN };
      return s.keep(await PhoneProcess.start({ host: client2, transport, target, ...who }));
    };
    const hearing = await Promise.all(ENDS.map((transport) => phone(`hears-${transport}`, transport)));
    const ending = await Promise.all(ENDS.map((transport) => phone(`ends-${transport}`, transport)));
    const connected = [...hearing, ...ending];
    await Promise.any(pbxs.map((pbx) => pbx.registered('hears-udp')));

    const held = callScenario({ challenged: false, holdMs: HOLD_MS, busy: true });
    const calls = SILENT.map((callee, i) =>
      s.sipp('bonnie', client1, {
        ...{ port: 5080 + 2 * i, rows: [row('caller', PASSWORD, callee)] },
        ...{ scenario: callee.startsWith('ends') ? hungUpOnScenario : held, tolerant: true },
        ...{ calls: CALLS, rate: 50, deadline: 120_000, patience: PATIENCE_MS },
      }),
    );
    const ended = Promise.all(calls.map((call) => call.finished()));
    const all = CALLS * SILENT.length;
    const up = expect
      .poll(() => count(/in-dialog ACK/), { timeout: PATIENCE_MS, interval: 200 })
      .toBeGreaterThanOrEqual(all);
    // A caller that gives up says why.
    await Promise.race([up, ended]);
    await Promise.all(connected.map((p) => p.up(CALLS)));
    expect(count(/in-dialog BYE/)).toBe(0);

    await agentA.kill();
    await a.process.exited;
    await s.net.moveVip(agentB);
    await Promise.all(connected.map((p) => p.lost().then(() => p.reconnect())));
    expect(await Promise.all(ending.map((p) => p.hangUp()))).toEqual(ENDS.map(() => CALLS));
    for (const call of await ended) expect(call).toMatchObject({ successful: CALLS, failed: 0 });
    await Promise.all(hearing.map((p) => p.over(CALLS)));
    expect(count(/in-dialog BYE/)).toBeGreaterThanOrEqual(all);
  });
});
