import { expect, test } from 'vitest';
import { CATALOGUE, type MetricEntry } from '../telemetry/catalogue.ts';
import { CREATE, milan, type TestApp, testApp } from './app.fixture.ts';

async function scrape(app: TestApp): Promise<Map<string, number>> {
  const authorization = `Bearer ${await app.token('viewer')}`;
  const response = await app.app.request('/metrics', { headers: { authorization } });
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

async function report(app: TestApp, agent: { jwt(): Promise<string> }, snapshot: object) {
  const body = { version: '1', uptimeSeconds: 1, backends: [], snapshot };
  return app.ask('POST', '/v1/agent/report', { as: { bearer: await agent.jwt() }, body });
}

test('the fleet: who is connected, who runs what it should, who refused it, and when each reported', async () => {
  const app = testApp();
  await app.put(milan, CREATE);
  const agent = await app.enrol();
  const key = (metric: keyof typeof CATALOGUE) => `${CATALOGUE[metric].name}{site="milan",agent="edge-1"}`;
  const before = await scrape(app);
  const drifting = (series: Map<string, number>) =>
    ['new', 'silent', 'refused', 'behind'].map((reason) =>
      series.get(`sipfleet_control_plane_agents_drifting{site="milan",reason="${reason}"}`),
    );
  expect(drifting(before)).toEqual([1, 0, 0, 0]);
  expect([before.get(key('agentConnected')), before.get(key('agentCurrent'))]).toEqual([0, 0]);
  expect(before.has(key('agentLastReport'))).toBe(false);

  app.hub.connectedIds.add(agent.agentId);
  const none = { status: 'NONE', etag: null, generation: null, running: null };
  const { etag, generation } = (await report(app, agent, none)).body;
  await report(app, agent, { status: 'FAILED', etag, generation, reason: 'no such address', running: null });
  const refused = await scrape(app);
  expect([refused.get(key('agentRefuses')), refused.get(key('agentCurrent'))]).toEqual([1, 0]);
  expect(drifting(refused)).toEqual([0, 0, 1, 0]);
  await report(app, agent, { status: 'APPLIED', etag, generation, running: etag });
  const after = await scrape(app);
  expect([after.get(key('agentRefuses')), after.get(key('agentCurrent'))]).toEqual([0, 1]);
  expect(drifting(after)).toEqual([0, 0, 0, 0]);
  expect(after.get(key('agentConnected'))).toBe(1);
  expect(after.get(key('agentLastReport'))).toBeCloseTo(app.clock.now / 1000, 0);
  expect(after.get('sipfleet_control_plane_target_generation{site="milan"}')).toBe(generation);
  expect(after.get('sipfleet_control_plane_revision')).toBe(1);
});

test('requests are counted by route, never by what a path holds', async () => {
  const app = testApp();
  await app.ask('GET', '/v1/farms/one');
  await app.ask('GET', '/v1/farms/two');
  await app.ask('GET', '/nowhere/at/all', { as: null });
  const series = await scrape(app);
  const requests = (route: string, code: number) =>
    series.get(`sipfleet_control_plane_http_requests_total{method="GET",route="${route}",code="${code}"}`);
  expect(requests('/v1/farms/{name}', 404)).toBe(2);
  expect(requests('unmatched', 404)).toBe(1);
  expect([...series.keys()].join()).not.toMatch(/one|nowhere/);
});

test('every entry of the catalogue has series, and metrics are for those with a token', async () => {
  const app = testApp();
  await app.put(milan, CREATE);
  const agent = await app.enrol();
  await report(app, agent, { status: 'NONE', etag: null, generation: null, running: null });
  const asker = { agentId: agent.agentId, publicKey: '' };
  await app.exchanges.answer(asker, { type: 'snapshot', id: 1, running: null });
  const names = new Set([...(await scrape(app)).keys()].map((key) => key.replace(/\{.*/, '')));
  for (const { name, type } of Object.values<MetricEntry>(CATALOGUE))
    expect(names).toContain(type === 'histogram' ? `${name}_bucket` : name);
  expect((await app.ask('GET', '/metrics', { as: null })).status).toBe(401);
});
