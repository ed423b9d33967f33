import { expect, test } from 'vitest';
import { type Asked, farm, milan, problemOf, testApp } from './app.fixture.ts';

/** A tenth of a request a second is one at once. */
const ONE = 0.1;
const OFF = { agent: undefined, operator: undefined, address: undefined };

const report = {
  version: '1.0.0',
  uptimeSeconds: 1,
  snapshot: { status: 'NONE', etag: null, generation: null, running: null },
  backends: [],
};

function expectLimited(asked: Asked, who: string): void {
  expect([asked.status, asked.headers.get('content-type')]).toEqual([429, 'application/problem+json']);
  expect(Number(asked.headers.get('retry-after'))).toBe(10);
  expect(problemOf(asked)).toMatchObject({ title: 'Too Many Requests', status: 429 });
  expect(problemOf(asked).detail).toContain(who);
}

test('an operator who asks too much is told when to ask again; others are not', async () => {
  const plane = testApp({ rates: { ...OFF, operator: ONE } });
  const [one, other] = [await plane.token('viewer'), await plane.token('admin')];
  const ask = (bearer: string) => plane.ask('GET', '/v1/sites', { as: { bearer } });
  expect((await ask(one)).status).toBe(200);
  expectLimited(await ask(one), 'a-viewer asks more than 0.1/s');
  expect((await ask(other)).status).toBe(200);
  plane.clock.now += 10_000;
  expect((await ask(one)).status).toBe(200);
});

test('an agent that asks too much, by HTTP or over its push socket', async () => {
  const plane = testApp({ rates: { ...OFF, agent: 0.2 } });
  await plane.put(milan);
  await plane.put(farm('pbx', ['milan']));
  const [agent, other] = [await plane.enrol(), await plane.enrol()];
  const publicKey = (await plane.store.identity(agent.agentId))?.publicKey as string;
  const post = async ({ jwt }: typeof agent) =>
    plane.ask('POST', '/v1/agent/report', { as: { bearer: await jwt() }, body: report });
  expect((await post(agent)).status).toBe(200);
  const asker = { agentId: agent.agentId, publicKey };
  const first = await plane.exchanges.answer(asker, { type: 'snapshot', id: 1, running: null });
  expect(first.text).toContain('"status":200');
  const second = await plane.exchanges.answer(asker, { type: 'snapshot', id: 2, running: null });
  expect([JSON.parse(second.text.split('\n')[0] as string), second.known]).toEqual([
    { type: 'answer', id: 2, status: 429, retryAfter: 5 },
    true,
  ]);
  expect((await post(agent)).status).toBe(429);
  expect((await post(other)).status).toBe(200);
});

test('an address from which nothing is proved; who proves something from there is heard all the same', async () => {
  const plane = testApp({ rates: { ...OFF, address: ONE } });
  await plane.put(milan);
  const agent = await plane.enrol();
  const stranger = (path: string) => plane.ask('GET', path, { as: null });
  expect((await stranger('/v1/schema.json')).status).toBe(200);
  expectLimited(await stranger('/v1/schema.json'), 'whoever is behind your address');
  expectLimited(await stranger('/v1/sites'), 'whoever is behind your address');
  // A wrong proof counts as none.
  expectLimited(await plane.ask('GET', '/v1/sites', { as: { bearer: 'sft_guess' } }), 'your address');
  const publicKey = { kty: 'OKP', crv: 'Ed25519', x: 'A'.repeat(43) };
  const enrol = { joinToken: 'sfj_guess', name: 'edge-9', version: '1', publicKey };
  expectLimited(await plane.ask('POST', '/v1/agents/enrol', { as: null, body: enrol }), 'your address');
  // The same NAT address: operators, agents, and agents that join.
  expect((await plane.ask('GET', '/v1/sites')).status).toBe(200);
  const as = { bearer: await agent.jwt() };
  for (let i = 0; i < 20; i++)
    expect((await plane.ask('POST', '/v1/agent/report', { as, body: report })).status).toBe(200);
  expect((await plane.enrol()).agentId).toMatch(/^agt_/);
  expect((await stranger('/healthz')).status).toBe(200);
  plane.address.from = '192.0.2.2';
  expect((await stranger('/v1/schema.json')).status).toBe(200);
});

test('OpenAPI says so of every route but health', async () => {
  const { body } = await testApp().ask('GET', '/v1/openapi.json', { as: null });
  const without: string[] = [];
  for (const [path, methods] of Object.entries(
    body.paths as Record<string, Record<string, { responses: Record<string, { headers?: object }> }>>,
  ))
    for (const [method, { responses }] of Object.entries(methods))
      if (responses['429']?.headers === undefined) without.push(`${method} ${path}`);
  expect(without).toEqual(['get /healthz']);
});
