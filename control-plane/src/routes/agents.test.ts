import { createHash } from 'node:crypto';
import { type AgentReport, type FarmTraffic, parseWith, Snapshot } from '@sipfleet/contract';
import { beforeEach, describe, expect, test } from 'vitest';
import { farm, match, milan, problemOf, type TestApp, testApp } from './app.fixture.ts';

let t: TestApp;
beforeEach(async () => {
  t = testApp();
  await t.put(milan);
});

const X = 'A'.repeat(43);
const enrolment = (joinToken: string) => ({
  joinToken,
  name: 'edge-1',
  publicKey: { kty: 'OKP', crv: 'Ed25519', x: X },
  version: '1.0.0',
});
const report: AgentReport = {
  version: '1.1.0',
  uptimeSeconds: 12,
  snapshot: { status: 'FAILED', etag: 'abc', generation: 2, reason: 'port taken', running: null },
  backends: [],
};
const traffic: FarmTraffic = {
  farm: 'pbx',
  sessionAttempts: 100,
  sessionsEstablished: 90,
  sessionFailures: 3,
  registrationAttempts: 20,
  registrationFailures: 1,
  checksFailed: 0,
  activeSessions: 12,
  activeRegistrations: 400,
};

describe('joining', () => {
  test('a join token is shown once, stored as a hash, and buys one identity', async () => {
    const made = await t.ask('POST', '/v1/join-tokens', { as: 'operator', body: { site: 'milan', ttl: '10m' } });
    expect(made).toMatchObject({ status: 201, body: { site: 'milan' } });
    expect(made.body.token).toMatch(/^sfj_[\w-]{43}$/);
    expect(Date.parse(made.body.expiresAt)).toBe(t.clock.now + 600_000);
    const body = enrolment(made.body.token);
    const joined = await t.ask('POST', '/v1/agents/enrol', { as: null, body });
    expect(joined).toMatchObject({ status: 201, body: { number: 1, site: 'milan' } });
    expect(joined.body.agentId).toMatch(/^agt_[a-z2-7]{20}$/);
    expect((await t.ask('POST', '/v1/agents/enrol', { as: null, body })).body).toEqual(joined.body);
    const other = { ...body, publicKey: { ...body.publicKey, x: 'B'.repeat(43) } };
    const again = await t.ask('POST', '/v1/agents/enrol', { as: null, body: other });
    expect([again.status, problemOf(again).detail]).toEqual([401, expect.stringContaining('used already')]);
  });

  test('expired, unknown and orphaned tokens are 401 with the reason', async () => {
    const token = async () => (await t.ask('POST', '/v1/join-tokens', { body: { site: 'milan' } })).body.token;
    const enrol = async (joinToken: string) =>
      problemOf(await t.ask('POST', '/v1/agents/enrol', { as: null, body: enrolment(joinToken) }));
    const [late, orphan] = [await token(), await token()];
    expect(await enrol('sfj_none')).toMatchObject({ status: 401, detail: expect.stringContaining('not known') });
    await t.ask('DELETE', '/v1/sites/milan', { headers: match(1) });
    expect(await enrol(orphan)).toMatchObject({ status: 401, detail: expect.stringContaining('site') });
    t.clock.now += 3_600_000;
    expect(await enrol(late)).toMatchObject({ status: 401, detail: expect.stringContaining('expired') });
  });

  test('requests are checked: site, ttl, key', async () => {
    const make = (body: object) => t.ask('POST', '/v1/join-tokens', { body });
    expect(problemOf(await make({ site: 'rome' })).faults?.[0]).toMatchObject({ field: 'site', found: '"rome"' });
    expect(problemOf(await make({ site: 'milan', ttl: '5' })).faults?.[0]?.field).toBe('ttl');
    expect((await t.ask('POST', '/v1/join-tokens', { as: 'viewer', body: { site: 'milan' } })).status).toBe(403);
    const body = { ...enrolment('sfj_x'), publicKey: { kty: 'OKP', crv: 'X25519', x: X } };
    const asked = await t.ask('POST', '/v1/agents/enrol', { as: null, body });
    expect(problemOf(asked).faults?.[0]).toMatchObject({ field: 'publicKey.crv', allowed: 'Ed25519' });
  });
});

describe('the agent’s own routes', () => {
  test('a snapshot whose SHA-256 is its ETag, 304 while nothing changes, never cached', async () => {
    await t.put(farm('pbx', ['milan']));
    const agent = await t.enrol();
    const get = async (headers: Record<string, string> = {}) =>
      t.app.request('/v1/agent/snapshot', { headers: { authorization: `Bearer ${await agent.jwt()}`, ...headers } });
    const first = await get();
    const text = await first.text();
    const etag = createHash('sha256').update(text).digest('hex');
    expect([first.status, first.headers.get('etag'), first.headers.get('cache-control')]).toEqual([
      200,
      `"${etag}"`,
      'no-store',
    ]);
    expect(parseWith(Snapshot, JSON.parse(text))).toMatchObject({
      site: 'milan',
      generation: 2,
      farms: [{ spec: { name: 'pbx' } }],
    });
    await t.put({ kind: 'Site', name: 'rome' });
    await t.put(farm('roman', ['rome']));
    expect((await get({ 'if-none-match': `"${etag}"` })).status).toBe(304);
    await t.ask('DELETE', '/v1/farms/pbx', { headers: match(2) });
    const later = await get({ 'if-none-match': `"${etag}"` });
    expect(await later.json()).toMatchObject({ generation: 5, farms: [] });
  });

  test('a report is answered with the target and shown to operators', async () => {
    await t.put(farm('pbx', ['milan']));
    const agent = await t.enrol();
    const bearer = await agent.jwt();
    const before = await t.ask('GET', '/v1/agents', { as: 'viewer' });
    expect(before.body.items).toMatchObject([
      { agentId: agent.agentId, lastReportAt: null, snapshot: null, connected: false, backends: [] },
    ]);
    const target = await t.ask('POST', '/v1/agent/report', { as: { bearer }, body: report });
    const snapshot = await t.ask('GET', '/v1/agent/snapshot', { as: { bearer } });
    const wanted = { site: 'milan', generation: 2, etag: snapshot.headers.get('etag')?.slice(1, -1) };
    expect(target).toMatchObject({ status: 200, body: wanted });
    t.hub.connectedIds.add(agent.agentId);
    const after = await t.ask('GET', '/v1/agents', { as: 'viewer' });
    expect(after.body.items[0]).toEqual({
      agentId: agent.agentId,
      number: 1,
      name: 'edge-1',
      site: 'milan',
      version: '1.1.0',
      connected: true,
      firstSeenAt: new Date(t.clock.now).toISOString(),
      lastReportAt: new Date(t.clock.now).toISOString(),
      snapshot: report.snapshot,
      target: wanted,
      drift: 'behind',
      backends: [],
    });
  });

  test('the traffic of a report is kept with it; an agent that does not count leaves it out', async () => {
    const agent = await t.enrol();
    const as = { bearer: await agent.jwt() };
    const sent = (body: object) => t.ask('POST', '/v1/agent/report', { as, body });
    const kept = async () => (await t.store.agent(agent.agentId))?.report?.traffic;
    expect((await sent({ ...report, traffic: [traffic] })).status).toBe(200);
    expect(await kept()).toEqual([traffic]);
    expect((await sent(report)).status).toBe(200);
    expect(await kept()).toBeUndefined();
    const refused = await sent({ ...report, traffic: [{ ...traffic, activeSessions: -1 }] });
    expect(problemOf(refused).faults?.[0]).toMatchObject({ field: 'traffic[0].activeSessions', found: '-1' });
  });

  test('a revoked agent is cut off at once and gets 401 from then on', async () => {
    const agent = await t.enrol();
    const bearer = await agent.jwt();
    expect((await t.ask('GET', '/v1/agent/snapshot', { as: { bearer } })).status).toBe(200);
    expect((await t.ask('DELETE', `/v1/agents/${agent.agentId}`, { as: 'operator' })).status).toBe(403);
    expect((await t.ask('DELETE', `/v1/agents/${agent.agentId}`)).status).toBe(204);
    expect(t.hub.disconnected).toEqual([agent.agentId]);
    for (const [method, path] of [
      ['GET', '/v1/agent/snapshot'],
      ['GET', '/v1/agent/push'],
    ] as const)
      expect((await t.ask(method, path, { as: { bearer } })).status).toBe(401);
    expect((await t.ask('POST', '/v1/agent/report', { as: { bearer }, body: report })).status).toBe(401);
    expect((await t.ask('DELETE', `/v1/agents/${agent.agentId}`)).status).toBe(404);
  });

  test('operators’ tokens do not open agents’ routes, nor the other way round', async () => {
    const agent = await t.enrol();
    expect((await t.ask('GET', '/v1/agent/snapshot', { as: 'admin' })).status).toBe(401);
    expect((await t.ask('GET', '/v1/sites', { as: { bearer: await agent.jwt() } })).status).toBe(401);
  });

  test('the push address without Upgrade says what it is', async () => {
    const agent = await t.enrol();
    const asked = await t.ask('GET', '/v1/agent/push', { as: { bearer: await agent.jwt() } });
    expect([asked.status, asked.headers.get('upgrade')]).toEqual([426, 'websocket']);
  });
});
