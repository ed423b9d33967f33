import type { FarmInput } from '@sipfleet/contract';
import { describe, expect, test } from 'vitest';
import { PhoneProcess } from '../interop/phone-process.ts';
import { callScenario } from '../interop/scenarios.ts';
import { hostPort } from '../netns/host.ts';
import { between, label, ladder } from '../netns/wire.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN, type Stage, USERS, useStage } from './stage.ts';

describe.skipIf(!canUseNamespaces()).each([1, 3])('agents with addresses of their own, %i workers', (workers) => {
  const stage = useStage();

  /** Two agents, and a PBX that sends every call to the second one, whatever the Path says. */
  async function setUp(): Promise<Stage> {
    const s = stage();
    const { agentA, agentB } = s.net;
    await s.startPbxs({ outboundProxy: `sip:${hostPort(agentB.ipv4, 5060)}` });
    const listeners: FarmInput['listeners'] = [
      { transport: 'udp', port: 5060 },
      { transport: 'tcp', port: 5060 },
    ];
    const farm = s.farm({ listeners });
    await s.startAgent({ host: agentA, workers, farm, name: 'edge-a', number: 1, peers: [`2=${agentB.ipv4}`] });
    await s.startAgent({ host: agentB, workers, farm, name: 'edge-b', number: 2, peers: [`1=${agentA.ipv4}`] });
    return s;
  }

  test('a phone on TCP at one agent gets the call that the PBX sends to the other', async () => {
    const s = await setUp();
    const { agentA, agentB, client1, client2 } = s.net;
    const outbound = hostPort(agentA.ipv4, 5060);
    const clyde = await s.baresip('clyde', client2, { transport: 'tcp', outbound, answers: true });
    const bonnie = await s.baresip('bonnie', client1, { outbound });
    const capture = await s.capture(agentB);
    for (const who of [bonnie, clyde]) {
      bonnie.dial(`sip:clyde@${DOMAIN}`);
      await Promise.all([bonnie.sees('CALL_ESTABLISHED'), clyde.sees('CALL_ESTABLISHED')]);
      who.hangUp();
      await Promise.all([bonnie.sees('CALL_CLOSED'), clyde.sees('CALL_CLOSED')]);
    }
    const wire = await capture.stop();
    const passed = between(wire, agentB.ipv4, agentA.ipv4).map(label);
    expect(passed, ladder(wire)).toContain('INVITE');
    expect(passed, ladder(wire)).toContain('BYE');
  });

  test('its agent dies: the phone reconnects at the other one, registers, and is called there', async () => {
    const s = await setUp();
    const { agentA, agentB, client1, client2 } = s.net;
    const at = (agent: typeof agentA) => ({ host: client2, target: hostPort(agent.ipv4, 5060) });
    const phone = { transport: 'tcp' as const, user: 'clyde', password: USERS.clyde, domain: DOMAIN };
    const first = s.keep(await PhoneProcess.start({ ...phone, ...at(agentA) }));
    await agentA.kill();
    await first.lost();
    const second = s.keep(await PhoneProcess.start({ ...phone, ...at(agentB) }));
    const bonnie = await s.baresip('bonnie', client1, { outbound: hostPort(agentB.ipv4, 5060) });
    bonnie.dial(`sip:clyde@${DOMAIN}`);
    await bonnie.sees('CALL_ESTABLISHED');
    await second.up(1);
    bonnie.hangUp();
    await second.over(1);
  });
});

const CALLS = 500;
/** Longer than it takes to set all of them up, on a busy machine too. */
const HOLD_MS = 30_000;
const PATIENCE_MS = 90_000;

describe.skipIf(!canUseNamespaces())(`${CALLS} calls up when the agent dies`, () => {
  const stage = useStage();

  /** Two agents of one farm; the first has the address and carries what comes. */
  async function setUp() {
    const s = stage();
    const { agentB, vip } = s.net;
    const pbxs = await s.startPbxs();
    const farm = s.farm({
      listeners: [...s.farm().listeners, { transport: 'ws', address: vip.ipv4, port: 5080 }],
    });
    const a = await s.startAgent({ workers: 1, farm, name: 'edge-a', number: 1 });
    await s.startAgent({ workers: 1, farm, name: 'edge-b', number: 2, host: agentB });
    /** The first agent dies with all calls up, and the other gets the address. */
    const fail = async () => {
      expect(pbxs.map((pbx) => pbx.count(/in-dialog BYE/))).toEqual([0, 0]);
      await s.net.agentA.kill();
      await a.process.exited;
      await s.net.moveVip(agentB);
    };
    return { s, pbxs, fail };
  }

  const callsOf = (s: Stage, holdMs: number) =>
    s.sipp('bonnie', s.net.client1, {
      ...{ port: 5080, scenario: callScenario({ challenged: false, holdMs }), callee: 'clyde' },
      ...{ calls: CALLS, rate: 50, deadline: 120_000 },
    });

  test('phones on UDP: every BYE reaches the other phone and is answered', async () => {
    const { s, pbxs, fail } = await setUp();
    const home = await s.sippPhone('clyde', s.net.client2, { patience: PATIENCE_MS });
    const calls = callsOf(s, HOLD_MS);
    while (home.count(/in-dialog ACK/) < CALLS) await home.sees(/in-dialog ACK/, { from: home.log.length });
    await fail();
    expect(await calls.finished()).toMatchObject({ successful: CALLS, failed: 0 });
    expect(pbxs.reduce((sum, pbx) => sum + pbx.count(/in-dialog BYE/), 0)).toBeGreaterThanOrEqual(CALLS);
  });

  /** Clyde's phone has all calls up, has lost its connection, and has registered over another one at the other agent. */
  async function reconnected(transport: 'tcp' | 'ws', holdMs: number) {
    const { s, fail } = await setUp();
    const target = hostPort(s.net.vip.ipv4, transport === 'ws' ? 5080 : 5060);
    const who = { user: 'clyde', password: USERS.clyde, domain: DOMAIN };
    const clyde = s.keep(await PhoneProcess.start({ host: s.net.client2, transport, target, ...who }));
    const calls = callsOf(s, holdMs);
    await clyde.up(CALLS, PATIENCE_MS);
    await fail();
    await clyde.lost();
    await clyde.reconnect();
    return { clyde, calls };
  }

  test.each(['tcp', 'ws'] as const)('a phone on %s that reconnected gets every BYE', async (transport) => {
    const { clyde, calls } = await reconnected(transport, HOLD_MS);
    expect(await calls.finished()).toMatchObject({ successful: CALLS, failed: 0 });
    await clyde.over(CALLS);
  });

  test.each(['tcp', 'ws'] as const)('a phone on %s that reconnected ends every call', async (transport) => {
    const { clyde } = await reconnected(transport, 3_600_000);
    expect(await clyde.hangUp()).toBe(CALLS);
  });
});
