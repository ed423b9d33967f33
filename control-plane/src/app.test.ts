import { beforeEach, describe, expect, test } from 'vitest';
import type { z } from 'zod';
import { CREATE, milan, problemOf, type TestApp, testApp } from './routes/app.fixture.ts';

let t: TestApp;
beforeEach(() => {
  t = testApp();
});

describe('errors are problems (RFC 9457)', () => {
  test.each([
    ['GET', '/nothing', 404],
    ['GET', '/v1/sites/milan/more', 404],
    ['PATCH', '/v1/sites/milan', 405],
    ['POST', '/healthz', 405],
  ])('%s %s → %d', async (method, path, status) => {
    const asked = await t.ask(method, path);
    expect(asked.status).toBe(status);
    expect(asked.headers.get('content-type')).toBe('application/problem+json');
    expect(problemOf(asked)).toMatchObject({ type: 'about:blank', status, title: expect.any(String) });
    expect(problemOf(asked).detail).toContain(path);
  });

  test('a wrong method names the right ones', async () => {
    const asked = await t.ask('PATCH', '/v1/sites/milan');
    expect(asked.headers.get('allow')).toBe('PUT, GET, DELETE');
    // Literal names are matched literally: /v1/openapi.json is not /v1/openapiXjson.
    expect((await t.ask('GET', '/v1/openapiXjson')).status).toBe(404);
  });

  test('JSON that is none is 400, another content type 415', async () => {
    const malformed = await t.ask('PUT', '/v1/sites/milan', { body: '{"kind":', headers: CREATE });
    expect([malformed.status, malformed.headers.get('content-type')]).toEqual([400, 'application/problem+json']);
    const form = await t.ask('PUT', '/v1/sites/milan', {
      body: 'kind=Site',
      headers: { ...CREATE, 'content-type': 'application/x-www-form-urlencoded' },
    });
    expect(form.status).toBe(415);
  });

  test('a body over 1 MB is 413, whether its length is announced or not', async () => {
    const body = JSON.stringify({ ...milan, description: 'x'.repeat(1_048_576) });
    const plain = await t.ask('PUT', '/v1/sites/milan', { body, headers: CREATE });
    expect([plain.status, plain.headers.get('content-type')]).toEqual([413, 'application/problem+json']);
    const announced = await t.ask('PUT', '/v1/sites/milan', {
      body,
      headers: { ...CREATE, 'content-length': String(body.length) },
    });
    expect(announced.status).toBe(413);
  });

  test('what is broken inside is 500, told to the log and not to the client', async () => {
    await t.store.close();
    const asked = await t.ask('GET', '/v1/sites', { as: { bearer: 'sft_x' } });
    expect(asked.status).toBe(500);
    expect(problemOf(asked).detail).not.toContain('database');
    expect(t.logged.join()).toContain('a request failed');
  });
});

test('health is open, and 503 where the store does not answer', async () => {
  expect(await t.ask('GET', '/healthz', { as: null })).toMatchObject({ status: 200, body: { status: 'ok' } });
  await t.store.close();
  expect((await t.ask('GET', '/healthz', { as: null })).status).toBe(503);
});

test('every route but health, enrolment and the description needs a token', async () => {
  const { body } = await t.ask('GET', '/v1/openapi.json', { as: null });
  const open: string[] = [];
  for (const [path, methods] of Object.entries(body.paths as Record<string, Record<string, unknown>>))
    for (const method of Object.keys(methods)) {
      const { status } = await t.ask(method.toUpperCase(), path.replaceAll(/\{\w+\}/g, 'milan'), { as: null });
      if (status !== 401) open.push(`${method} ${path} ${status}`);
    }
  expect(open).toEqual(['get /healthz 200', 'get /v1/schema.json 200', 'post /v1/agents/enrol 415']);
});

test('OpenAPI 3.1 describes bodies, answers and who may ask', async () => {
  const { body } = await t.ask('GET', '/v1/openapi.json', { as: null });
  expect(body.openapi).toBe('3.1.0');
  const put = body.paths['/v1/farms/{name}'].put;
  expect(put.requestBody.content['application/json'].schema.required).toEqual([
    'kind',
    'name',
    'sites',
    'listeners',
    'backends',
  ]);
  expect(put.security).toEqual([{ operator: [] }]);
  expect(put.responses['412'].content['application/problem+json'].schema).toEqual({
    $ref: '#/components/schemas/Problem',
  });
  expect(body.paths['/v1/agent/snapshot'].get.security).toEqual([{ agent: [] }]);
  expect(Object.keys(body.components.securitySchemes)).toEqual(['operator', 'agent']);
});

test('the log holds requests and no secrets', async () => {
  await t.put(milan);
  const agent = await t.enrol();
  const jwt = await agent.jwt();
  await t.ask('GET', '/v1/agent/snapshot', { as: { bearer: jwt } });
  const log = t.logged.join('\n');
  expect(log).toContain('"path":"/v1/sites/milan","status":201');
  expect(log).not.toMatch(/sft_|sfj_/);
  expect(log).not.toContain(jwt);
});

test('every operation of the OpenAPI document has examples, and its own schemas accept them', async () => {
  type Content = Record<string, { schema: z.ZodType; example?: unknown }>;
  interface Route {
    method: string;
    path: string;
    request?: { body?: { content: Content } };
    responses: Record<string, { content?: Content }>;
  }
  const routes = testApp().app.openAPIRegistry.definitions.flatMap((d) =>
    d.type === 'route' ? [d.route as never as Route] : [],
  );
  expect(routes.length).toBeGreaterThan(40);
  const faults: string[] = [];
  for (const { method, path, request, responses } of routes) {
    const successes = Object.entries(responses).filter(([status]) => status < '300');
    for (const content of [request?.body?.content, ...successes.map(([, response]) => response.content)])
      for (const { schema, example } of Object.values(content ?? {})) {
        const read = schema.safeParse(example);
        if (example === undefined) faults.push(`${method} ${path}: give an example in routes/examples.ts`);
        else if (!read.success) faults.push(`${method} ${path}: ${read.error.message}`);
      }
  }
  expect(faults).toEqual([]);
  const { body } = await testApp().ask('GET', '/v1/openapi.json', { as: null });
  expect(body.openapi).toBe('3.1.0');
  expect(body.paths['/v1/farms/{name}'].put.requestBody.content['application/json'].example).toMatchObject({
    kind: 'Farm',
  });
  expect(Object.keys(body.paths['/v1/farms/{name}'].put.responses)).toEqual(
    expect.arrayContaining(['413', '415', '422', '428']),
  );
});

test('a body that is not JSON as it stands is 415, and says what is allowed', async () => {
  const t = testApp();
  for (const headers of [
    { 'content-type': 'text/yaml' },
    { 'content-type': 'application/x-www-form-urlencoded' },
    { 'content-type': 'application/json', 'content-encoding': 'gzip' },
  ]) {
    const refused = await t.ask('PUT', '/v1/sites/milan', {
      body: '{"kind":"Site","name":"milan"}',
      headers: { 'if-none-match': '*', ...headers } as Record<string, string>,
    });
    expect([refused.status, refused.headers.get('content-type')]).toEqual([415, 'application/problem+json']);
    expect(refused.body.detail).toContain('allowed');
  }
  const charset = { 'if-none-match': '*', 'content-type': 'application/json; charset=utf-8' };
  const body = '{"kind":"Site","name":"milan"}';
  expect((await t.ask('PUT', '/v1/sites/milan', { body, headers: charset })).status).toBe(201);
});
