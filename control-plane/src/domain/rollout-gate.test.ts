import { describe, expect, test } from 'vitest';
import { ALIVE_MS, Sim, type SimAgent } from './rollout.fixture.ts';
import { isMoved } from './rollout.ts';
import { stageView } from './rollout-gate.ts';
import { strength } from './sequential.ts';

function simulated(sites: Record<string, number>, policy = {}) {
  const sim = new Sim(sites, policy);
  const member = (agent: SimAgent) => ({ agentId: agent.name, site: agent.site, firstSeenAt: '2026-01-01T00:00:00Z' });
  const moved = (agent: SimAgent) => isMoved(sim.rollout, member(agent));
  const target = (agent: SimAgent) => (moved(agent) ? 'next' : 'before');
  const canary = () => sim.agents.find(moved) as SimAgent;
  /** Minutes until it ended, or until `most`. */
  const run = (most = 60): number => {
    for (let minute = 1; minute <= most; minute++) {
      sim.minute(target);
      if (sim.rollout.state !== 'running') return minute;
    }
    return most;
  };
  return { sim, target, canary, run };
}
const textOf = (sim: Sim) => sim.rollout.events.map(({ text }) => text).join('\n');

/** The same luck every time. */
function luck(seed: number): () => number {
  let x = seed;
  return () => {
    x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
    return x / 2 ** 32;
  };
}

describe('goes through', () => {
  test('without traffic by acknowledgements and bake time alone, and says so', () => {
    const { sim, run } = simulated({ milan: 20 });
    // Each stage: a minute until it is applied, five of bake.
    expect(run()).toBeGreaterThanOrEqual(4 * 5);
    expect(sim.rollout.state).toBe('completed');
    expect(textOf(sim)).toContain(
      'stage 1 agent passed: 1 of 1 applied it; no traffic to compare, the bake time alone counted',
    );
  });

  test('healthy changes, whatever luck their calls have: at most one in a hundred is halted', () => {
    let halted = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const { sim, run } = simulated({ milan: 8 });
      const random = luck(seed);
      sim.callsPerMinute = 12;
      sim.callFails = () => random() < 0.05;
      run();
      if (sim.rollout.state !== 'completed') halted++;
    }
    // One in a hundred is promised; 300 that keep it show more than 10 with a chance of less than 1 in 1,000.
    expect(halted).toBeLessThanOrEqual(10);
  });

  test('with an agent that was dead before; it catches up when it is back', () => {
    const { sim, run, target } = simulated({ milan: 4 });
    const dead = sim.agents[2] as SimAgent;
    dead.silentSince = sim.now - 2 * ALIVE_MS;
    run();
    expect(sim.rollout.state).toBe('completed');
    expect([dead.running, target(dead)]).toEqual(['before', 'next']);
  });
});

describe('halts', () => {
  test('at the canary when its calls fail and those elsewhere do not', () => {
    const { sim, run } = simulated({ milan: 3 });
    sim.callsPerMinute = 10;
    sim.callFails = (moved) => moved;
    expect(run()).toBeLessThanOrEqual(5);
    expect(sim.rollout).toMatchObject({ state: 'rolled-back', stage: 0 });
    expect(sim.rollout.reason).toMatch(
      /^calls failed: (\d+) of \1 at agents that have the change, 0 of \d+ at the others$/,
    );
  });

  test('soon where a quarter of the calls gets lost, nearly always at the canary', () => {
    let atCanary = 0;
    for (let seed = 1; seed <= 100; seed++) {
      const { sim, run } = simulated({ milan: 10 });
      const random = luck(seed);
      sim.callsPerMinute = 20;
      sim.callFails = (moved) => random() < (moved ? 0.25 : 0.02);
      run();
      expect(sim.rollout.state).toBe('rolled-back');
      if (sim.rollout.stage === 0) atCanary++;
    }
    expect(atCanary).toBeGreaterThanOrEqual(90);
  });

  test('when an agent refuses the change', () => {
    const { sim, run, target, canary } = simulated({ milan: 3 });
    sim.minute(() => 'before');
    canary().refuses = 'the port is taken';
    sim.minute(target);
    expect(sim.rollout).toMatchObject({ state: 'rolled-back' });
    expect(sim.rollout.reason).toMatch(/^agent milan-\d refused the change: the port is taken$/);
    expect(run(1)).toBe(1);
  });

  test('when an agent goes silent after the change', () => {
    const { sim, run, target, canary } = simulated({ milan: 3 });
    sim.minute(target);
    sim.minute(target);
    canary().silentSince = sim.now;
    run();
    expect(sim.rollout.reason).toMatch(/^agent milan-\d went silent after the change$/);
  });

  test('when an agent lives and does not apply it in time', () => {
    const { sim, run } = simulated({ milan: 3 });
    for (let i = 0; i < 6; i++) sim.minute(() => 'before');
    expect(sim.rollout.reason).toMatch(/^agent milan-\d did not apply the change within 180 s$/);
    expect(run(1)).toBe(1);
  });

  test('when a farm has no backend left where the change is, and not where it is down everywhere', () => {
    const down = {
      farm: 'pbx',
      backend: 'a',
      state: 'down' as const,
      since: '2026-01-01T00:00:00Z',
      reason: 'refused',
    };
    const everywhere = simulated({ milan: 3 });
    for (const agent of everywhere.sim.agents) agent.backends = [down];
    everywhere.run();
    expect(everywhere.sim.rollout.state).toBe('completed');

    const here = simulated({ milan: 3 });
    here.sim.minute(here.target);
    here.sim.minute(here.target);
    here.canary().backends = [down];
    here.sim.minute(here.target);
    expect(here.sim.rollout.reason).toMatch(/^all backends of farm pbx are down at agent milan-\d: refused$/);
  });

  test('of thousands of agents, a few may be away', () => {
    const { sim, target } = simulated({ milan: 400 }, { stages: [{ percent: 50 }, { percent: 100 }], bakeMs: 600_000 });
    sim.minute(target);
    sim.minute(target);
    const moved = sim.agents.filter((agent) => agent.running === 'next');
    for (const agent of moved.slice(0, 10)) agent.silentSince = sim.now;
    for (let i = 0; i < 5; i++) sim.minute(target);
    expect(sim.rollout.state).toBe('running');
    for (const agent of moved.slice(10, 12)) agent.silentSince = sim.now;
    for (let i = 0; i < 5; i++) sim.minute(target);
    expect(sim.rollout.reason).toContain('and 7 more went silent after the change');
  });
});

test('the same reports looked at again count once', () => {
  const { sim, target } = simulated({ milan: 3 });
  sim.callsPerMinute = 10;
  for (let i = 0; i < 4; i++) sim.minute(target);
  const { evidence, ackedAt } = sim.progress;
  expect(evidence['calls failed'].moved.n).toBeGreaterThan(0);
  for (let i = 0; i < 10; i++) sim.look();
  expect(sim.progress.evidence).toEqual(evidence);
  expect(sim.progress.ackedAt).toBe(ackedAt);
});

test('calls of before the change do not count for it, nor do counters that began anew count twice', () => {
  const { sim, target, canary } = simulated({ milan: 3 });
  sim.minute(target);
  // All that failed did so under the old configuration, and is reported with the first report under the new one.
  for (const agent of sim.agents) agent.counts = { attempts: 500, established: 0, failed: 500, checksFailed: 0 };
  sim.minute(target);
  expect(sim.progress.evidence['calls failed'].moved.n).toBe(0);
  sim.minute(target);
  canary().counts = { attempts: 4, established: 4, failed: 0, checksFailed: 0 };
  sim.minute(target);
  const { pending } = sim.progress.evidence['calls failed'];
  expect(pending.moved).toEqual({ n: 4, bad: 0 });
});

test('what is stored of a rollout of ten thousand agents fits into an item', { timeout: 60_000 }, () => {
  const { sim, target } = simulated({ milan: 10_000 }, { stages: [{ percent: 50 }, { percent: 100 }] });
  sim.callsPerMinute = 1;
  for (let i = 0; i < 3; i++) sim.minute(target);
  expect(Object.keys(sim.progress.samples)).toHaveLength(400);
  expect(JSON.stringify(sim.progress).length).toBeLessThan(100_000);
  expect(strength(sim.progress.evidence['calls failed'])).toBeLessThan(2);
  expect(stageView(sim.rollout, sim.fleet(), ALIVE_MS).moved).toHaveLength(5000);
});
