import type { AgentReport, CheckReport } from '@sipfleet/contract';
import { beforeEach, expect, test } from 'vitest';
import { farm, milan, problemOf, type TestApp, testApp } from './app.fixture.ts';

const CALL = { name: 'dummy', type: 'call' as const, from: 'sip:a@HOST', to: 'sip:b@HOST' };
const PING = { name: 'ping', type: 'options' as const };
type Enrolled = Awaited<ReturnType<TestApp['enrol']>>;

let t: TestApp;
let agents: Enrolled[];
beforeEach(async () => {
  t = testApp();
  await t.put(milan);
  await t.put(farm('pbx', ['milan'], { checks: [CALL, PING] }));
  agents = [];
  for (let i = 0; i < 3; i++) {
    agents.push(await t.enrol());
    t.clock.now += 1000;
  }
});

const found = (state: CheckReport['state'], more: Partial<CheckReport> = {}): CheckReport => ({
  farm: 'pbx',
  backend: 'pbx1',
  check: 'dummy',
  state,
  result: state === 'up' ? 'success' : 'failure',
  phase: 'invite',
  evidence: state === 'up' ? '200 OK' : '486 Busy Here',
  seconds: 1,
  at: new Date(t.clock.now).toISOString(),
  ...more,
});

async function report(
  agent: Enrolled,
  state: 'up' | 'down',
  checks: CheckReport[] = [],
  address?: string,
): Promise<void> {
  t.clock.now += 300;
  const since = new Date(t.clock.now).toISOString();
  const body: AgentReport = {
    version: '1',
    ...(address !== undefined && { address }),
    uptimeSeconds: 1,
    snapshot: { status: 'NONE', etag: null, generation: null, running: null },
    backends: [{ farm: 'pbx', backend: 'pbx1', state, since, reason: 'why' }],
    checks,
  };
  expect((await asAgent(agent, 'POST', '/v1/agent/report', { body })).status).toBe(200);
  t.clock.now += 300;
}

const asAgent = async (agent: Enrolled, method: string, path: string, more: object = {}) =>
  t.ask(method, path, { as: { bearer: await agent.jwt() }, ...more });
const schedule = async (agent: Enrolled, headers: Record<string, string> = {}) =>
  asAgent(agent, 'GET', '/v1/agent/schedule', { headers });
const assigned = async (): Promise<Enrolled[]> => {
  const all = await Promise.all(agents.map(async (a) => ({ a, checks: (await schedule(a)).body.checks })));
  return all.filter(({ checks }) => checks.length > 0).map(({ a }) => a);
};

test('two agents of three make the call; who has the schedule already gets 304', async () => {
  const own = await assigned();
  expect(own).toHaveLength(2);
  const first = await schedule(own[0] as Enrolled);
  expect(first.body).toMatchObject({
    format: 1,
    site: 'milan',
    checks: [{ farm: 'pbx', backend: 'pbx1', check: 'dummy' }],
  });
  expect((await schedule(own[0] as Enrolled, { 'if-none-match': first.headers.get('etag') as string })).status).toBe(
    304,
  );
});

test('agents learn of each other: number and address of those that live, not of themselves', async () => {
  const [first, second, third] = agents as [Enrolled, Enrolled, Enrolled];
  expect((await schedule(first)).body.peers).toEqual([]);
  await report(first, 'up', [], '10.0.0.21');
  await report(second, 'up', [], '10.0.0.22');
  expect((await schedule(first)).body.peers).toEqual([{ number: 2, address: '10.0.0.22' }]);
  expect((await schedule(third)).body.peers).toHaveLength(2);
  t.clock.now += 160_000;
  await report(first, 'up', [], '10.0.0.21');
  expect((await schedule(third)).body.peers).toEqual([{ number: 1, address: '10.0.0.21' }]);
});

test('an agent that is silent for too long is replaced', async () => {
  const [gone] = (await assigned()) as [Enrolled];
  t.clock.now += 160_000;
  for (const agent of agents) if (agent !== gone) await report(agent, 'up');
  const now = await assigned();
  expect(now).toHaveLength(2);
  expect(now).not.toContain(gone);
});

test('an agent whose connection is lost is replaced soon, unless it reports again', async () => {
  const [gone] = (await assigned()) as [Enrolled];
  t.checks.lost(gone.agentId);
  t.clock.now += 10_000;
  expect(await assigned()).toContain(gone);
  t.clock.now += 10_000;
  expect(await assigned()).not.toContain(gone);
  await report(gone, 'up');
  expect(await assigned()).toContain(gone);
});

test('a verdict of an assigned agent reaches the others, and its site is told; evidence of success makes no new schedule', async () => {
  const [maker] = (await assigned()) as [Enrolled];
  const other = agents.find((a) => a !== maker) as Enrolled;
  await report(maker, 'up', [found('up')]);
  const etag = (await schedule(other)).headers.get('etag');
  await report(maker, 'up', [found('up', { evidence: '200 OK, 151 packets' })]);
  expect((await schedule(other)).headers.get('etag')).toBe(etag);
  await expect.poll(() => t.hub.rescheduled).toEqual(['milan']);
  t.hub.rescheduled.length = 0;
  await report(maker, 'down', [found('down')]);
  expect((await schedule(other)).body.verdicts).toEqual([
    { farm: 'pbx', backend: 'pbx1', check: 'dummy', agent: 'edge-1', state: 'down', evidence: '486 Busy Here' },
  ]);
  expect((await schedule(maker)).body.verdicts).toEqual([]);
  await expect.poll(() => t.hub.rescheduled).toEqual(['milan']);
});

test('the answer to a report names the schedule, so that an agent asks only for another one', async () => {
  const [maker] = (await assigned()) as [Enrolled];
  const other = agents.find((a) => a !== maker) as Enrolled;
  const body = {
    version: '1',
    uptimeSeconds: 1,
    snapshot: { status: 'NONE', etag: null, generation: null, running: null },
    backends: [],
  };
  const named = async () => `"${(await asAgent(other, 'POST', '/v1/agent/report', { body })).body.schedule}"`;
  const before = await named();
  expect(before).toBe((await schedule(other)).headers.get('etag'));
  await report(maker, 'down', [found('down')]);
  const after = await named();
  expect(after).not.toBe(before);
  expect(after).toBe((await schedule(other)).headers.get('etag'));
});

test('a revoked agent makes no check any more, and its site is told', async () => {
  const [gone] = (await assigned()) as [Enrolled];
  await t.ask('DELETE', `/v1/agents/${gone.agentId}`, { as: 'admin' });
  agents = agents.filter((a) => a !== gone);
  expect(await assigned()).toHaveLength(2);
  await expect.poll(() => t.hub.rescheduled).toEqual(['milan']);
});

test('a verdict about a check that the agent was not to make is left out', async () => {
  const own = await assigned();
  const bystander = agents.find((a) => !own.includes(a)) as Enrolled;
  await report(bystander, 'down', [found('down')]);
  expect((await schedule(own[0] as Enrolled)).body.verdicts).toEqual([]);
});

test('agents that disagree about a backend are shown, to operators and to the agents', async () => {
  await report(agents[0] as Enrolled, 'up');
  await report(agents[1] as Enrolled, 'down');
  const { body } = await t.ask('GET', '/v1/backends?farm=pbx', { as: 'viewer' });
  expect(body.items).toMatchObject([{ site: 'milan', backend: 'pbx1', up: 1, down: 1, agree: false }]);
  expect((await schedule(agents[2] as Enrolled)).body.disagreements).toEqual([
    { farm: 'pbx', backend: 'pbx1', up: 1, down: 1 },
  ]);
});

test('checks are listed with who makes them and what was found', async () => {
  const [maker] = (await assigned()) as [Enrolled];
  await report(maker, 'down', [found('down')]);
  const { body } = await t.ask('GET', '/v1/checks', { as: 'viewer' });
  const [call, ping] = body.items;
  expect(call).toMatchObject({ check: 'dummy', type: 'call', interval: '1m' });
  expect(call.agents).toHaveLength(2);
  const own = call.agents.find((a: { agentId: string }) => a.agentId === maker.agentId);
  expect(own).toMatchObject({ alive: true, periodMs: 60_000, last: { evidence: '486 Busy Here' } });
  expect(ping.agents).toHaveLength(3);
  expect((await t.ask('GET', '/v1/checks?farm=none')).status).toBe(404);
});

test('checks and backends come in pages', async () => {
  for (const path of ['/v1/checks', '/v1/backends?farm=pbx']) {
    const whole = (await t.ask('GET', path)).body.items;
    const found: unknown[] = [];
    let cursor: string | undefined;
    const ask = () =>
      t.ask('GET', `${path}${path.includes('?') ? '&' : '?'}limit=1${cursor === undefined ? '' : `&cursor=${cursor}`}`);
    do {
      const { body } = await ask();
      expect(body.items).toHaveLength(1);
      found.push(...body.items);
      cursor = body.cursor;
    } while (cursor !== undefined);
    expect(found).toEqual(whole);
    cursor = 'bm9uc2Vuc2U';
    expect((await ask()).status).toBe(422);
  }
});

test('a check made now: the agent that makes it anyway is asked, and its result comes back', async () => {
  const own = await assigned();
  for (const agent of agents) t.hub.connectedIds.add(agent.agentId);
  const asked = t.ask('POST', '/v1/checks/pbx/pbx1/dummy/run', { as: 'operator' });
  await expect.poll(() => t.hub.runs).toHaveLength(1);
  const run = t.hub.runs[0] as TestApp['hub']['runs'][number];
  const agent = own.find((a) => a.agentId === run.agentId) as Enrolled;
  expect(agent).toBeDefined();
  const intruder = agents.find((a) => a !== agent) as Enrolled;
  const post = (from: Enrolled, state: CheckReport['state']) =>
    asAgent(from, 'POST', '/v1/agent/check-results', { body: { id: run.id, report: found(state) } });
  expect((await post(intruder, 'down')).status).toBe(204);
  expect((await post(agent, 'up')).status).toBe(204);
  expect((await asked).body).toMatchObject({ agent: 'edge-1', site: 'milan', report: { result: 'success' } });
});

test('a check that nobody can make now is refused with why', async () => {
  const run = (path: string, as: 'viewer' | 'operator' = 'operator') => t.ask('POST', `/v1/checks/${path}/run`, { as });
  expect(problemOf(await run('pbx/pbx1/dummy'))).toMatchObject({
    status: 503,
    detail: expect.stringContaining('connected'),
  });
  expect(problemOf(await run('pbx/pbx1/none'))).toMatchObject({ status: 404 });
  expect((await run('pbx/pbx1/dummy', 'viewer')).status).toBe(403);
});
