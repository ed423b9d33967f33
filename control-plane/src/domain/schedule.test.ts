import { agentsOf, cycleOf, Farm } from '@sipfleet/contract';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Assignment, disagreements, planChecks, type SchedulableAgent } from './schedule.ts';

const CALL = { name: 'dummy', type: 'call', from: 'sip:a@HOST', to: 'sip:b@HOST' };
const farm = (backends: number, sites: string[], more: object = {}) =>
  Farm.parse({
    kind: 'Farm',
    name: 'pbx',
    sites,
    listeners: [{ transport: 'udp', port: 5060 }],
    backends: Array.from({ length: backends }, (_, i) => ({ name: `b${i}`, address: `192.0.2.${i + 1}` })),
    checks: [{ ...CALL, interval: '5m' }],
    ...more,
  });
const agent = (i: number, site = 'milan', alive = true): SchedulableAgent => ({
  agentId: `agt_${i}`,
  site,
  firstSeenAt: new Date(i * 1000).toISOString(),
  alive,
});

/** The most probes that a backend sees at once, when all of these are made. Every probe lasts its timeout, and its way out. */
function mostAtOnce(assignments: readonly Assignment[], busyMs: number): number {
  const edges: [number, number][] = [];
  const horizon = Math.max(...assignments.map((a) => a.periodMs), 0);
  for (const { phaseMs, periodMs } of assignments)
    for (let at = phaseMs - periodMs; at < horizon; at += periodMs) edges.push([at, 1], [at + busyMs, -1]);
  let now = 0;
  let most = 0;
  for (const [, step] of edges.sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    now += step;
    most = Math.max(most, now);
  }
  return most;
}

const byBackend = (assignments: readonly Assignment[]): Map<string, Assignment[]> =>
  Map.groupBy(assignments, (a) => a.backend) as Map<string, Assignment[]>;
/** Timeout of 10 s and 2 s for the way out; the cycle leaves another second for clocks that differ. */
const BUSY_MS = 12_000;

test('K agents of each site make each expensive check; the same input gives the same schedule', () => {
  const f = farm(5, ['milan', 'rome']);
  const agents = [0, 1, 2, 3].flatMap((i) => [agent(i), agent(i + 10, 'rome')]);
  const plan = planChecks([f], agents);
  expect(plan).toHaveLength(5 * 2 * 2);
  for (const own of byBackend(plan).values()) {
    expect(new Set(own.map((a) => a.agentId)).size).toBe(4);
    expect(own.map((a) => a.site).sort()).toEqual(['milan', 'milan', 'rome', 'rome']);
  }
  expect(planChecks([f], [...agents].reverse())).toEqual(plan);
  expect(planChecks([farm(5, ['milan'], { checks: [{ name: 'ping', type: 'options' }] })], agents)).toEqual([]);
});

test('where fewer agents live than wanted, those that live are enough', () => {
  expect(planChecks([farm(1, ['milan'])], [agent(0), agent(1, 'milan', false)]).map((a) => a.agentId)).toEqual([
    'agt_0',
  ]);
  expect(planChecks([farm(1, ['milan'])], [])).toEqual([]);
});

test('an agent that dies hands its checks on, and no other check moves', () => {
  const f = farm(20, ['milan']);
  const before = planChecks(
    [f],
    [0, 1, 2, 3].map((i) => agent(i)),
  );
  const after = planChecks(
    [f],
    [0, 1, 2, 3].map((i) => agent(i, 'milan', i !== 2)),
  );
  const kept = before.filter((a) => a.agentId !== 'agt_2');
  expect(after).toEqual(expect.arrayContaining(kept));
  expect(after).toHaveLength(before.length);
});

/**
 * Churn as a fleet has it. Agents die, come back, join; each living one refreshes its schedule or not, so that at any moment the
 * fleet runs many schedules; a dead one may be cut off only, and go on with what it has.
 */
type Step = { kind: 'die' | 'back' | 'refresh' | 'join'; who: number };
const step = fc.record({
  kind: fc.constantFrom<Step['kind']>('die', 'back', 'refresh', 'refresh', 'join'),
  who: fc.nat({ max: 29 }),
}) as fc.Arbitrary<Step>;

test('30 agents × 20 backends: never more than the limit at once, always K checkers, whatever schedule each agent has', () => {
  const limits = fc.integer({ min: 1, max: 3 });
  const run = (steps: Step[], limit: number, sites: string[]): void => {
    const f = farm(20, sites, { health: { maxConcurrentCalls: limit } });
    const slots = cycleOf(f)?.checks[0]?.slots as number;
    const wanted = agentsOf(f.checks[0] as { agents?: number });
    const siteOf = (i: number): string => sites[i % sites.length] as string;
    const agents = new Map(Array.from({ length: 15 }, (_, i) => [i, agent(i, siteOf(i))] as const));
    const held = new Map<number, Assignment[]>();
    const plan = (): Assignment[] => planChecks([f], [...agents.values()]);
    const refresh = (who: number, fresh: Assignment[]): void => {
      held.set(
        who,
        fresh.filter((a) => a.agentId === `agt_${who}`),
      );
    };
    for (const who of agents.keys()) refresh(who, plan());
    for (const { kind, who } of steps) {
      const one = agents.get(who);
      if (kind === 'join' && !one) {
        const firstSeenAt = new Date((100 + agents.size) * 1000).toISOString();
        agents.set(who, { ...agent(who, siteOf(who)), firstSeenAt });
      }
      if (!one) continue;
      const oldest = [...agents.values()].filter((a) => a.site === one.site).slice(0, slots);
      // Stand-ins are the case of the next test: here enough holders of slots live.
      const mayDie = oldest.filter((a) => a.alive && a !== one).length >= wanted;
      if (kind === 'die' && mayDie) agents.set(who, { ...one, alive: false });
      if (kind === 'back') agents.set(who, { ...one, alive: true });
      const fresh = plan();
      if (kind === 'refresh' && one.alive) refresh(who, fresh);
      for (const [backend, own] of byBackend(fresh))
        for (const site of sites)
          expect(new Set(own.filter((a) => a.site === site).map((a) => a.agentId)).size, backend).toBe(wanted);
      for (const [backend, all] of byBackend([...held.values()].flat()))
        expect(mostAtOnce(all, BUSY_MS), backend).toBeLessThanOrEqual(limit);
    }
  };
  const sites = fc.constantFrom<string[]>(['milan'], ['milan', 'rome']);
  fc.assert(fc.property(fc.array(step, { maxLength: 25 }), limits, sites, run), { numRuns: 15 });
});

test('when most holders are gone others stand in, in slots that are not in use', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: 29 }), { minLength: 2, maxLength: 30 }), (living) => {
      const f = farm(20, ['milan']);
      const plan = planChecks(
        [f],
        Array.from({ length: 30 }, (_, i) => agent(i, 'milan', living.includes(i))),
      );
      expect(byBackend(plan).size).toBe(20);
      for (const own of byBackend(plan).values()) {
        expect(new Set(own.map((a) => a.agentId)).size).toBe(2);
        expect(mostAtOnce(own, BUSY_MS)).toBe(1);
      }
    }),
    { numRuns: 30 },
  );
});

test('checks with intervals of their own share a cycle without meeting', () => {
  const checks = [
    { ...CALL, interval: '2m' },
    { ...CALL, name: 'rare', interval: '10m' },
    { name: 'login', type: 'register', credentials: 's', interval: '2m' },
  ];
  const f = farm(3, ['milan'], { checks, health: { maxConcurrentCalls: 2 } });
  const plan = planChecks(
    [f],
    [0, 1, 2, 3, 4].map((i) => agent(i)),
  );
  expect(new Set(plan.map((a) => `${a.check} ${a.periodMs}`))).toEqual(
    new Set(['dummy 120000', 'rare 600000', 'login 120000']),
  );
  for (const own of byBackend(plan).values()) expect(mostAtOnce(own, BUSY_MS)).toBeLessThanOrEqual(2);
});

test('agents of one site that hold a backend for up and for down disagree; one that does not know takes no side', () => {
  const says = (site: string, state: 'up' | 'down' | 'unknown') => ({
    site,
    backends: [{ farm: 'f', backend: 'b', state }],
  });
  expect(
    disagreements([says('milan', 'up'), says('milan', 'down'), says('milan', 'down'), says('milan', 'unknown')]),
  ).toEqual([{ site: 'milan', farm: 'f', backend: 'b', up: 1, down: 2 }]);
  expect(disagreements([says('milan', 'up'), says('rome', 'down'), says('milan', 'unknown')])).toEqual([]);
});
