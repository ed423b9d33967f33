import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileSnapshot } from './compile.ts';
import { configuration, farm, site } from './configuration.fixture.ts';
import type { StoredFarm } from './configuration.ts';
import { sameSpec } from './plan.ts';
import { iso, POLICY, START } from './rollout.fixture.ts';
import {
  complete,
  configurationBefore,
  isMoved,
  type Member,
  nextStage,
  openRollout,
  pause,
  type Rollout,
  restorations,
  resume,
  rolledBack,
  verbsFor,
} from './rollout.ts';

const AT = iso(START);
const members = (count: number, at = 'milan'): (Member & { alive: boolean })[] =>
  Array.from({ length: count }, (_, i) => ({
    agentId: `${at}-${i}`,
    site: at,
    firstSeenAt: iso(START - 1000),
    alive: true,
  }));
const running = (over: Partial<Rollout> = {}): Rollout => ({
  ...openRollout(configuration([]), { policy: POLICY, actor: 'ann', at: AT, farms: ['pbx'], sites: ['milan'] }),
  ...over,
});
const movedOf = (rollout: Rollout, agents: Member[]) => agents.filter((agent) => isMoved(rollout, agent));

/** Every stage that a rollout goes through, by how many agents are moved in it. */
function sizes(rollout: Rollout, agents: (Member & { alive: boolean })[]): number[] {
  const moved: number[] = [];
  for (let at = rollout; at.state === 'running'; at = nextStage(at, agents, AT)) moved.push(movedOf(at, agents).length);
  return moved;
}

describe('stages', () => {
  test('one agent, a tenth, half, all', () => {
    expect(sizes(running(), members(100))).toEqual([0, 1, 10, 50, 100]);
  });

  test('a stage that would move nobody is left out', () => {
    expect(sizes(running(), members(3))).toEqual([0, 1, 2, 3]);
    expect(sizes(running(), members(1))).toEqual([0, 1, 1]);
  });

  test('of every site, or of all together', () => {
    const agents = [...members(20, 'milan'), ...members(40, 'rome')];
    const sites = ['milan', 'rome'];
    expect(sizes(running({ sites }), agents)).toEqual([0, 1, 6, 30, 60]);
    const perSite = running({ sites, policy: { ...POLICY, scope: 'site' } });
    expect(sizes(perSite, agents)).toEqual([0, 2, 6, 30, 60]);
    const first = nextStage(perSite, agents, AT);
    expect(new Set(movedOf(first, agents).map((a) => a.site))).toEqual(new Set(sites));
  });

  test('nobody is ever moved back, whoever comes and goes meanwhile', () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.nat({ max: 29 }), { maxLength: 20 }), { maxLength: 4 }), (away) => {
        const all = members(30);
        let rollout = running();
        let before: string[] = [];
        for (const absent of away) {
          const agents = all.map((agent, i) => ({ ...agent, alive: !absent.includes(i) }));
          rollout = nextStage(rollout, agents, AT);
          if (rollout.state !== 'running') return;
          const now = movedOf(rollout, all).map((a) => a.agentId);
          expect(now).toEqual(expect.arrayContaining(before));
          before = now;
        }
      }),
    );
  });

  test('other rollouts begin with other agents', () => {
    const agents = members(50);
    const canaries = Array.from(
      { length: 20 },
      (_, number) => movedOf(nextStage({ ...running(), number }, agents, AT), agents)[0]?.agentId,
    );
    expect(new Set(canaries).size).toBeGreaterThan(10);
  });

  test('waits while nobody is alive, and ends at once where there is nobody at all', () => {
    const dead = members(3).map((agent) => ({ ...agent, alive: false }));
    const rollout = running();
    expect(nextStage(rollout, dead, AT)).toBe(rollout);
    expect(nextStage(rollout, [], AT).state).toBe('completed');
  });

  test('an agent that joins meanwhile is moved last; other sites are not concerned', () => {
    const rollout = nextStage(running(), members(100), AT);
    const late = members(200).map((agent) => ({
      ...agent,
      agentId: `late-${agent.agentId}`,
      firstSeenAt: iso(START + 1),
    }));
    expect(movedOf(rollout, late)).toEqual([]);
    expect(isMoved({ ...rollout, stage: 3 }, late[0] as Member)).toBe(true);
    expect(isMoved(rollout, { ...(late[0] as Member), site: 'rome' })).toBe(true);
  });
});

test('what an operator may do depends on the state', () => {
  const paused = pause(running(), 'ann', AT);
  const rollouts = [running(), paused, complete(running(), AT), rolledBack(paused, 'why', AT)];
  expect(Object.fromEntries(rollouts.map((rollout) => [rollout.state, verbsFor(rollout)]))).toEqual({
    running: ['pause', 'abort'],
    paused: ['resume', 'abort'],
    completed: [],
    'rolled-back': [],
  });
  expect(resume(paused, 'ann', iso(START + 5))).toMatchObject({ state: 'running', stageAt: iso(START + 5) });
});

test('nobody has it before the first stage; everybody has what is stored once it has ended', () => {
  const agent = members(1)[0] as Member;
  expect(isMoved(running(), agent)).toBe(false);
  expect(isMoved(complete(running(), AT), agent)).toBe(true);
  expect(isMoved(rolledBack(running(), 'why', AT), agent)).toBe(true);
  expect(isMoved(undefined, agent)).toBe(true);
});

describe('what agents run that are not moved', () => {
  const before = configuration([site('milan'), site('rome'), farm('pbx', ['milan', 'rome']), farm('fax', ['milan'])]);
  const stored = (spec: ReturnType<typeof farm>, revision: number): StoredFarm => ({
    ...(before.farms.get('pbx') as StoredFarm),
    spec,
    revision,
  });

  const changing = (...farms: string[]) =>
    openRollout(before, { policy: POLICY, actor: 'ann', at: AT, farms, sites: ['rome', 'milan'] });

  test('the very bytes of before: changed, new and deleted farms, and sites left', () => {
    const rollout = changing('pbx', 'fax', 'voip');
    const farms = new Map(before.farms);
    farms.set('pbx', stored(farm('pbx', ['milan']), 5));
    farms.delete('fax');
    farms.set('voip', stored(farm('voip', ['milan'], { listeners: [{ transport: 'udp', port: 5080 }] }), 7));
    const departures = new Map([
      ['pbx', { rome: 5 }],
      ['fax', { milan: 6 }],
    ]);
    const after = { ...before, revision: 7, farms, departures, rollout };
    for (const name of ['milan', 'rome']) {
      expect(compileSnapshot(configurationBefore(after), name)).toEqual(compileSnapshot(before, name));
      expect(compileSnapshot(after, name).etag).not.toBe(compileSnapshot(before, name).etag);
    }
    const ended = { ...after, rollout: complete(rollout, AT) };
    expect(configurationBefore(ended)).toBe(ended);
    expect(rollout).toMatchObject({ farms: ['fax', 'pbx', 'voip'], sites: ['milan', 'rome'] });
  });

  test('a rollback puts back what changed, deletes what is new, brings back what went, and then has nothing to do', () => {
    const rollout = changing('pbx', 'fax', 'voip');
    const farms = new Map(before.farms);
    farms.set('pbx', stored(farm('pbx', ['milan']), 5));
    farms.delete('fax');
    farms.set('voip', stored(farm('voip', ['milan']), 7));
    const alike = (a: StoredFarm, b: StoredFarm) => sameSpec(a, b.spec);
    expect(restorations({ ...before, farms }, rollout, alike)).toMatchObject([
      { action: 'put', stored: { spec: { name: 'pbx', sites: ['milan', 'rome'] } }, expected: 5 },
      { action: 'put', stored: { spec: { name: 'fax' } }, expected: null },
      { action: 'delete', name: 'voip', expected: 7 },
    ]);
    expect(restorations(before, rollout, alike)).toEqual([]);
  });
});
