import { describe, expect, test } from 'vitest';
import type { Agent } from '../interop/agent.ts';
import { callScenario } from '../interop/scenarios.ts';
import { row, Sipp } from '../interop/sipp.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN, type Stage, USERS, useStage } from './stage.ts';

const HELD = 6;
/** Fewer, since what was placed lately counts beside what stands. */
const MORE = 4;

/** Two registrars that both know the callee, as PBXs with a shared location would. */
describe.skipIf(!canUseNamespaces())('strategy: least-sessions', () => {
  const stage = useStage();

  /** Calls that stand until the test ends. */
  function holdCalls(s: Stage, port: number, calls: number): void {
    const scenario = callScenario({ challenged: false, holdMs: 600_000 });
    const rows = [row('bonnie', USERS.bonnie, 'clyde')];
    const sipp = new Sipp({
      host: s.net.client1,
      port,
      target: s.service,
      domain: DOMAIN,
      scenario,
      rows,
      calls,
    });
    s.keep({ close: () => sipp.end() });
  }
  /** A call passes the agent twice: into its PBX and out again. */
  const sessions = async (agent: Agent) => [
    await agent.metric('sipfleet_active_sessions', 'backend="kamailio1"'),
    await agent.metric('sipfleet_active_sessions', 'backend="kamailio2"'),
  ];

  test('after one PBX was spared, new calls go there, and not by turns', async () => {
    const s = stage();
    const pbxs = await s.startPbxs();
    const farm = (drain: boolean) =>
      s.farm({
        balancing: { strategy: 'least-sessions' },
        backends: [
          { name: 'kamailio1', address: s.net.pbx1.ipv4, ...(drain && { drain }) },
          { name: 'kamailio2', address: s.net.pbx2.ipv4 },
        ],
      });
    const agent = await s.startAgent({ workers: 1, farm: farm(false) });
    // Registrations go by turns: the same phone twice is at both.
    await s.sippRegistration('clyde', s.net.client2).finished();
    await s.sippPhone('clyde', s.net.client2);
    await expect.poll(() => pbxs.map((pbx) => pbx.knows('clyde')), { timeout: 20_000 }).toEqual([true, true]);

    await agent.reload(farm(true));
    holdCalls(s, 5080, HELD);
    await expect.poll(() => sessions(agent), { timeout: 20_000 }).toEqual([0, 2 * HELD]);
    await agent.reload(farm(false));
    holdCalls(s, 5082, MORE);
    await expect.poll(() => sessions(agent), { timeout: 20_000 }).toEqual([2 * MORE, 2 * HELD]);
  });
});
