import { type Question, readAnswer, SIGNATURE_HEADER } from '@sipfleet/contract';
import { beforeEach, expect, test } from 'vitest';
import { farm, milan, testApp } from './app.fixture.ts';

const REPORT = {
  version: '1.2.3',
  uptimeSeconds: 1,
  snapshot: { status: 'NONE', etag: null, generation: null, running: null },
  backends: [],
};

let plane: ReturnType<typeof testApp>;
let agent: Awaited<ReturnType<typeof plane.enrol>>;
let publicKey: string;
beforeEach(async () => {
  plane = testApp();
  await plane.put(milan);
  await plane.put(farm('pbx', ['milan']));
  agent = await plane.enrol();
  publicKey = (await plane.store.identity(agent.agentId))?.publicKey as string;
});

async function ask(question: Question, asker = { agentId: agent.agentId, publicKey }) {
  const { text, known } = await plane.exchanges.answer(asker, question);
  const { head, body } = readAnswer(text) as { head: { status: number; id: number }; body: string };
  return { head, body, known };
}
const byHttp = async (path: string, body?: object) =>
  plane.app.request(path, {
    method: body ? 'POST' : 'GET',
    headers: { authorization: `Bearer ${await agent.jwt()}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });

test('a snapshot is the one that HTTP gives, byte for byte and with its signature', async () => {
  const http = await byHttp('/v1/agent/snapshot');
  const etag = (http.headers.get('etag') ?? '').slice(1, -1);
  expect(await ask({ type: 'snapshot', id: 7, running: null })).toEqual({
    head: { type: 'answer', id: 7, status: 200, etag, signature: http.headers.get(SIGNATURE_HEADER) },
    body: await http.text(),
    known: true,
  });
  expect(await ask({ type: 'snapshot', id: 8, running: etag })).toMatchObject({
    head: { id: 8, status: 304, etag },
    body: '',
  });
});

test('a report is taken and answered as by HTTP', async () => {
  const { head, body } = await ask({ type: 'report', id: 1, report: REPORT });
  expect(head.status).toBe(200);
  expect(JSON.parse(body)).toEqual(await (await byHttp('/v1/agent/report', REPORT)).json());
  expect(await plane.store.agent(agent.agentId)).toMatchObject({ version: '1.2.3', report: REPORT });
});

test('a report that is none is refused with its faults, and nothing of it is kept', async () => {
  const { head, body, known } = await ask({ type: 'report', id: 1, report: { ...REPORT, uptimeSeconds: 'long' } });
  expect([head.status, known]).toEqual([422, true]);
  expect(JSON.parse(body)).toMatchObject({ status: 422, faults: [{ field: 'uptimeSeconds', found: '"long"' }] });
  expect((await plane.store.agent(agent.agentId))?.report).toBeNull();
});

test('who was revoked, and who has another key by now, is refused with the next question', async () => {
  await plane.store.setPublicKey(agent.agentId, 'b'.repeat(43));
  expect(await ask({ type: 'snapshot', id: 1, running: null })).toMatchObject({ head: { status: 401 }, known: false });
  expect(
    await ask({ type: 'snapshot', id: 2, running: null }, { agentId: agent.agentId, publicKey: 'b'.repeat(43) }),
  ).toMatchObject({ head: { status: 200 }, known: true });
  await plane.store.deleteAgent(agent.agentId);
  for (const question of [
    { type: 'snapshot', id: 3, running: null },
    { type: 'report', id: 4, report: REPORT },
  ] as const) {
    const { head, body, known } = await ask(question, { agentId: agent.agentId, publicKey: 'b'.repeat(43) });
    expect([head.status, known]).toEqual([401, false]);
    expect(body).not.toContain('tokenKeys');
  }
  expect(plane.logged.join()).toContain('"status":401');
});

test('what is too long for a message is left to HTTP', async () => {
  const backends = Array.from({ length: 250 }, (_, i) => ({ name: `backend-${i}`, address: `10.1.0.${i + 1}` }));
  for (const [i, name] of ['one', 'two', 'three'].entries()) {
    const large = farm(name, ['milan'], { listeners: [{ transport: 'udp', port: 5070 + i }], backends });
    expect((await plane.put(large)).status).toBe(201);
  }
  expect((await (await byHttp('/v1/agent/snapshot')).text()).length).toBeGreaterThan(65_536);
  expect(await ask({ type: 'snapshot', id: 1, running: null })).toMatchObject({ head: { status: 303 }, body: '' });
});

test('a store that does not answer is a 500 that says nothing of it, and the metrics count what was asked', async () => {
  await ask({ type: 'report', id: 1, report: REPORT });
  plane.store.identity = () => Promise.reject(new Error('disk on fire'));
  const { head, body, known } = await ask({ type: 'report', id: 2, report: REPORT });
  expect([head.status, known]).toEqual([500, true]);
  expect(body).not.toContain('fire');
  expect(plane.logged.join()).toContain('a request failed');
  const metrics = await plane.app.request('/metrics', {
    headers: { authorization: `Bearer ${await plane.token('viewer')}` },
  });
  const text = await metrics.text();
  expect(text).toContain('sipfleet_control_plane_exchanges_total{type="report",code="200"} 1');
  expect(text).toContain('sipfleet_control_plane_exchanges_total{type="report",code="500"} 1');
});
