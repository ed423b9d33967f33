import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Baresip } from '../interop/baresip.ts';
import { ControlPlane } from '../interop/control-plane.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN, type Stage, useStage } from './stage.ts';

const SITE = { kind: 'Site', name: 'milan' };

/** A push arrives at once; the poll that would find the change without it comes 48 s after the one before at the earliest. */
const PUSHED = 10_000;

describe.skipIf(!canUseNamespaces()).each([1, 3])('the control plane is away, %i workers', (workers) => {
  const stage = useStage();
  let data: string;
  beforeEach(() => {
    data = mkdtempSync(join(tmpdir(), 'sipfleet-joined-'));
  });
  afterEach(() => rmSync(data, { recursive: true, force: true }));

  /** A control plane on agentB's machine, and an agent that it has given the farm of both PBXs. */
  async function setUp(s: Stage) {
    const controlPlane = s.keep(await ControlPlane.start(s.net.agentB));
    await controlPlane.apply(SITE, s.farm());
    const joinToken = (await controlPlane.run('join-token', 'milan')).trim();
    const joined = { workers, controlPlane: controlPlane.url, data };
    return { controlPlane, joined, agent: await s.joinAgent({ ...joined, joinToken }) };
  }

  async function call(caller: Baresip, callee: Baresip): Promise<void> {
    caller.dial(`sip:clyde@${DOMAIN}`);
    await Promise.all([caller.sees('CALL_ESTABLISHED'), callee.sees('CALL_ESTABLISHED')]);
  }

  async function hangUp(caller: Baresip, callee: Baresip): Promise<void> {
    caller.hangUp();
    await Promise.all([caller.sees('CALL_CLOSED'), callee.sees('CALL_CLOSED')]);
  }

  test('calls go on, a restarted agent serves, and a change is pushed when it is back', async () => {
    const s = stage();
    await s.startPbxs({ challengeCalls: true });
    const { controlPlane, joined, agent } = await setUp(s);
    const bonnie = await s.baresip('bonnie', s.net.client1);
    const clyde = await s.baresip('clyde', s.net.client2, { answers: true });

    await call(bonnie, clyde);
    await controlPlane.kill();
    // The call that stood, and a new one.
    await hangUp(bonnie, clyde);
    await call(bonnie, clyde);

    await s.net.agentA.kill();
    await agent.process.exited;
    const restarted = await s.joinAgent(joined);
    expect(restarted.process.output).toContain('running from the last known good snapshot');
    // The call that stood before the restart is ended through the agent that never saw it; then a new one.
    await hangUp(bonnie, clyde);
    await call(bonnie, clyde);
    await hangUp(bonnie, clyde);

    await controlPlane.start();
    await expect.poll(() => restarted.metric('sipfleet_link_connected'), { timeout: 60_000 }).toBe(1);
    const from = restarted.process.output.length;
    const [first] = s.farm().backends as [object];
    await controlPlane.apply(SITE, s.farm({ backends: [first as never] }));
    await restarted.process.sees(/"msg":"snapshot applied"/, { from, deadline: PUSHED });
    // The only PBX left is bonnie's: clyde registers there now.
    await clyde.close();
    const moved = await s.sippPhone('clyde', s.net.client2);
    expect(moved.address).toBe(s.net.pbx1.ipv4);
  });
});
