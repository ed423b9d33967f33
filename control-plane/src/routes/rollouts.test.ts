import type { AgentReport } from '@sipfleet/contract';
import { beforeEach, describe, expect, test } from 'vitest';
import { farm, match, milan, problemOf, type TestApp, testApp } from './app.fixture.ts';

type Enrolled = Awaited<ReturnType<TestApp['enrol']>>;

let t: TestApp;
let agents: Enrolled[];
beforeEach(async () => {
  t = testApp();
  await t.put(milan);
  await t.put(farm('pbx', ['milan']));
  agents = [];
  for (let i = 0; i < 3; i++) agents.push(await t.enrol());
  t.clock.now += 1000;
  for (const agent of agents) await report(agent);
});

const pbx2 = farm('pbx', ['milan'], { backends: [{ name: 'pbx2', address: '10.0.0.12' }] });
const roll = (rollout: object = {}) =>
  t.ask('POST', '/v1/changes', { body: { rollout, changes: [{ action: 'put', revision: 2, resource: pbx2 }] } });
const snapshotOf = async ({ jwt }: Enrolled) =>
  (await t.ask('GET', '/v1/agent/snapshot', { as: { bearer: await jwt() } })).body;
const backendOf = async (agent: Enrolled): Promise<string> => (await snapshotOf(agent)).farms[0].spec.backends[0].name;

/** Says that the agent runs what it is given. Resolves with the target that it hears. */
async function report({ jwt }: Enrolled, over: Partial<AgentReport> = {}) {
  const as = { bearer: await jwt() };
  const asked = await t.ask('GET', '/v1/agent/snapshot', { as });
  const etag = asked.headers.get('etag')?.slice(1, -1) as string;
  const snapshot = { status: 'APPLIED', etag, generation: asked.body.generation, running: etag };
  const body = { version: '1', uptimeSeconds: 1, snapshot, backends: [], ...over };
  return (await t.ask('POST', '/v1/agent/report', { as, body })).body;
}

describe('a change with a rollout', () => {
  test('reaches one agent, and each agent hears its own target', async () => {
    const asked = await roll();
    expect(asked.body).toMatchObject({ revision: 3 });
    expect(await Promise.all(agents.map(backendOf))).toEqual(['pbx1', 'pbx1', 'pbx1']);
    await t.look();
    const runs = await Promise.all(agents.map(backendOf));
    expect(runs.toSorted()).toEqual(['pbx1', 'pbx1', 'pbx2']);
    const canary = agents[runs.indexOf('pbx2')] as Enrolled;
    const other = agents[runs.indexOf('pbx1')] as Enrolled;
    expect((await report(canary)).generation).toBe(3);
    expect((await report(other)).generation).toBe(2);
    const listed = (await t.ask('GET', '/v1/agents')).body.items;
    const targets = listed.map((agent: { agentId: string; target: object }) => [agent.agentId, agent.target]);
    expect(Object.fromEntries(targets)[canary.agentId]).toMatchObject({ generation: 3 });
    expect(Object.fromEntries(targets)[other.agentId]).toMatchObject({ generation: 2 });
  });

  test('is shown with its stage, its agents and what the gate has seen', async () => {
    await roll({ bake: '10m' });
    await t.look();
    const view = async () => (await t.ask('GET', '/v1/rollouts/3', { as: 'viewer' })).body;
    expect(await view()).toMatchObject({
      number: 3,
      state: 'running',
      farms: ['pbx'],
      sites: ['milan'],
      stages: ['1', '10%', '50%', '100%'],
      stage: 0,
      bakeEndsAt: null,
      agents: { total: 3, moved: 1, applied: 0, waiting: ['edge-1'] },
      gate: [{ measure: 'calls failed', moved: { n: 0, bad: 0 }, strength: 1, haltsAt: 400 }, {}, {}, {}],
    });
    for (const agent of agents) await report(agent);
    await t.look();
    expect(await view()).toMatchObject({
      bakeEndsAt: new Date(t.clock.now + 600_000).toISOString(),
      agents: { applied: 1, waiting: [] },
    });
    expect((await t.ask('GET', '/v1/rollouts')).body.items).toHaveLength(1);
    // Keys of farms stand in what is stored, never in what is shown.
    expect(JSON.stringify(await view())).not.toContain('tokenKeys');
  });

  test('is refused by an agent: everybody has what was before, and the reason is said', async () => {
    await roll();
    await t.look();
    const runs = await Promise.all(agents.map(backendOf));
    const canary = agents[runs.indexOf('pbx2')] as Enrolled;
    const { etag } = (await t.ask('GET', '/v1/agents')).body.items.find(
      (a: { agentId: string }) => a.agentId === canary.agentId,
    ).target;
    await report(canary, { snapshot: { status: 'FAILED', etag, generation: 3, reason: 'port taken', running: null } });
    await t.look();
    expect((await t.ask('GET', '/v1/rollouts/3')).body).toMatchObject({
      state: 'rolled-back',
      reason: 'agent edge-1 refused the change: port taken',
      agents: null,
    });
    expect(await Promise.all(agents.map(backendOf))).toEqual(['pbx1', 'pbx1', 'pbx1']);
    expect((await t.ask('GET', '/v1/farms/pbx')).body).toMatchObject({
      revision: 5,
      spec: { backends: [{ name: 'pbx1' }] },
    });
  });
});

describe('an agent that is cut off for all of it, and goes on with what it has', () => {
  /** More than two and a half minutes in which all but one report as they do, and the control plane looks. */
  async function passesWithout(absent: Enrolled, over: (agent: Enrolled) => Partial<AgentReport> = () => ({})) {
    for (let i = 0; i < 6; i++) {
      t.clock.now += 30_000;
      for (const agent of agents) if (agent !== absent) await report(agent, over(agent));
      await t.look();
    }
  }
  const stateOf = async () => (await t.ask('GET', '/v1/rollouts/3')).body.state;
  /** What an agent that ran revision 2 hears when it is back, and runs then. */
  async function comesBack(agent: Enrolled, etag: string) {
    const as = { bearer: await agent.jwt() };
    const snapshot = { status: 'APPLIED', etag, generation: 2, running: etag };
    const said = { version: '1', uptimeSeconds: 1, snapshot, backends: [] };
    const target = (await t.ask('POST', '/v1/agent/report', { as, body: said })).body;
    await report(agent);
    const { items } = (await t.ask('GET', '/v1/agents')).body;
    const drift = items.find((a: { agentId: string }) => a.agentId === agent.agentId).drift;
    return { heard: target.generation, runs: await backendOf(agent), drift };
  }
  const etagOf = async (agent: Enrolled) =>
    (await t.ask('GET', '/v1/agent/snapshot', { as: { bearer: await agent.jwt() } })).headers
      .get('etag')
      ?.slice(1, -1) as string;

  test('catches up with a change that went through', async () => {
    const last = agents[2] as Enrolled;
    const etag = await etagOf(last);
    await passesWithout(last);
    await roll({ stages: ['1', '100%'], bake: '0s' });
    for (let i = 0; i < 5 && (await stateOf()) === 'running'; i++) await passesWithout(last);
    expect(await stateOf()).toBe('completed');
    expect(await comesBack(last, etag)).toEqual({ heard: 3, runs: 'pbx2', drift: 'none' });
  });

  test('finds one that was rolled back as it was before, also where it was the canary', async () => {
    const etag = await etagOf(agents[0] as Enrolled);
    await roll({ stages: ['2', '100%'], bake: '1h' });
    await t.look();
    const runs = await Promise.all(agents.map(backendOf));
    const [cut, refusing] = agents.filter((_, i) => runs[i] === 'pbx2') as [Enrolled, Enrolled];
    const failed = {
      status: 'FAILED',
      etag: await etagOf(refusing),
      generation: 3,
      reason: 'port taken',
      running: null,
    };
    await passesWithout(cut, (agent) => (agent === refusing ? { snapshot: failed as AgentReport['snapshot'] } : {}));
    expect(await stateOf()).toBe('rolled-back');
    const { heard, ...now } = await comesBack(cut, etag);
    expect(now).toEqual({ runs: 'pbx1', drift: 'none' });
    expect(heard).toBeGreaterThan(3);
  });
});

describe('while one is under way', () => {
  beforeEach(async () => {
    await roll();
    await t.look();
  });

  test('changes of its sites are 409, one by one or as a set, and say how to go on', async () => {
    const other = farm('pbx', ['milan'], { backends: [{ name: 'pbx3', address: '10.0.0.13' }] });
    const single = await t.ask('PUT', '/v1/farms/pbx', { body: other, headers: match(3) });
    expect([single.status, problemOf(single).detail]).toEqual([
      409,
      'rollout 3 is running and concerns this: wait until it has ended, or abort it (sipfleet rollout abort)',
    ]);
    expect((await roll()).status).toBe(412);
    expect((await t.ask('DELETE', '/v1/farms/pbx', { headers: match(3) })).status).toBe(409);
    expect((await t.ask('DELETE', '/v1/sites/milan', { headers: match(1) })).status).toBe(409);
  });

  test('operators pause, resume and abort it; viewers do not', async () => {
    const tell = (verb: string, as: 'viewer' | 'operator' = 'operator') =>
      t.ask('POST', `/v1/rollouts/3/${verb}`, { as });
    expect((await tell('pause', 'viewer')).status).toBe(403);
    expect((await tell('pause')).body).toMatchObject({ state: 'paused' });
    const again = await tell('pause');
    expect([again.status, problemOf(again).detail]).toEqual([
      409,
      'rollout 3 is paused and cannot pause: possible now: resume, abort',
    ]);
    expect((await tell('resume')).body).toMatchObject({ state: 'running' });
    expect((await tell('abort')).body).toMatchObject({ state: 'rolled-back', reason: 'aborted by a-operator' });
    expect(problemOf(await tell('abort')).detail).toContain('it has ended');
    expect((await t.ask('POST', '/v1/rollouts/2/abort')).status).toBe(404);
    expect((await t.ask('GET', '/v1/rollouts/2')).status).toBe(404);
  });
});

test.each([
  [{ stages: ['1', '50%'] }, 'rollout.stages'],
  [{ stages: ['0', '100%'] }, 'rollout.stages[0]'],
  [{ stages: ['101%', '100%'] }, 'rollout.stages[0]'],
  [{ bake: '5' }, 'rollout.bake'],
  [{ scope: 'world' }, 'rollout.scope'],
  [{ canary: 'edge-1' }, 'rollout'],
])('a policy that makes no sense is 422: %j', async (rollout, field) => {
  const asked = await roll(rollout);
  expect(asked.status).toBe(422);
  expect(problemOf(asked).faults?.[0]?.field).toContain(field);
});

test('a Secret that farms use cannot be staged', async () => {
  const secret = (value: string) => ({ kind: 'Secret', name: 'login', data: { username: 'u', password: value } });
  const check = { name: 'reg', type: 'register', interval: '60s', timeout: '5s', credentials: 'login' };
  await t.ask('POST', '/v1/changes', {
    body: { changes: [{ action: 'put', revision: null, resource: secret('a') }] },
  });
  const used = farm('pbx', ['milan'], { checks: [check] } as never);
  const changed = await t.ask('PUT', '/v1/farms/pbx', { body: used, headers: match(2) });
  expect(changed.status).toBe(200);
  const asked = await t.ask('POST', '/v1/changes', {
    body: { rollout: {}, changes: [{ action: 'put', revision: 3, resource: secret('b') }] },
  });
  expect(asked.status).toBe(422);
  expect(problemOf(asked).faults).toMatchObject([
    { resource: 0, field: 'name', message: expect.stringContaining('without a rollout') },
  ]);
});
