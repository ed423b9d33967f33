import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ApiError, createClient, UnreachableError } from './client.ts';
import { farm, milan, type TestApp, testApp } from './routes/app.fixture.ts';

let t: TestApp;
beforeEach(() => {
  t = testApp();
});

const clientWith = (token?: string) =>
  createClient({
    url: 'http://control-plane.test/',
    ...(token === undefined ? {} : { token }),
    fetch: (async (url, init) => t.app.request(String(url), init)) as typeof fetch,
  });

test('writes, reads, lists and deletes', async () => {
  const client = clientWith(await t.token('admin'));
  expect(await client.putResource(milan, { ifNoneMatch: '*' })).toMatchObject({ created: true, revision: 1 });
  expect(await client.putResource(milan, { ifMatch: 1 })).toMatchObject({ created: false, revision: 1 });
  await client.putResource(farm('pbx', ['milan']), { ifNoneMatch: '*' });
  expect(await client.getResource('Farm', 'pbx')).toMatchObject({ spec: { kind: 'Farm', name: 'pbx' }, revision: 2 });
  expect(await client.getResource('Farm', 'none')).toBeUndefined();
  expect((await client.listResources('Site')).map(({ spec }) => spec.name)).toEqual(['milan']);
  await client.deleteResource('Farm', 'pbx', 2);
  expect(await client.listResources('Farm')).toEqual([]);
});

test('lists over all pages', async () => {
  const client = clientWith(await t.token('admin'));
  const pages: string[] = [];
  const paging = createClient({
    url: 'http://control-plane.test',
    token: await t.token('viewer'),
    fetch: (async (url, init) => {
      pages.push(String(url));
      return t.app.request(String(url).replace('limit=1000', 'limit=2'), init);
    }) as typeof fetch,
  });
  for (const name of ['a', 'b', 'c', 'd', 'e']) await client.putResource({ kind: 'Site', name }, { ifNoneMatch: '*' });
  expect((await paging.listResources('Site')).map(({ spec }) => spec.name)).toEqual(['a', 'b', 'c', 'd', 'e']);
  expect(pages.length).toBe(3);
});

test('plans, invites and revokes', async () => {
  const client = clientWith(await t.token('admin'));
  expect(await client.plan([milan])).toMatchObject({
    changes: [{ kind: 'Site', name: 'milan', action: 'create', revision: null }],
    blastRadius: { agents: 0 },
  });
  await client.putResource(milan, { ifNoneMatch: '*' });
  expect(await client.createJoinToken('milan', '5m')).toMatchObject({ site: 'milan' });
  const { agentId } = await t.enrol();
  expect((await client.listAgents()).map((agent) => agent.agentId)).toEqual([agentId]);
  await client.revokeAgent(agentId);
  expect(await client.listAgents()).toEqual([]);
});

test('a refusal carries status, detail and faults', async () => {
  const client = clientWith(await t.token('admin'));
  const refusal = await client.plan([milan, farm('pbx', ['rome'])]).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(ApiError);
  expect(refusal).toMatchObject({ status: 422, problem: { faults: [{ resource: 1, field: 'sites[0]' }] } });
  await expect(client.putResource(milan, { ifMatch: 3 })).rejects.toMatchObject({ status: 412 });
  await expect(clientWith().listAgents()).rejects.toMatchObject({ status: 401 });
});

test('health needs no token', async () => {
  expect(await clientWith().healthy()).toBe(true);
  await t.store.close();
  expect(await clientWith().healthy()).toBe(false);
});

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

test('nothing there, and something else there, both say where', async () => {
  server = createServer((_request, response) => response.end('<h1>router login</h1>'));
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const other = await createClient({ url })
    .listAgents()
    .catch((error: unknown) => error);
  expect(other).toBeInstanceOf(UnreachableError);
  expect((other as Error).message).toContain(`no control plane answers at ${url}: GET /v1/agents`);
  await new Promise((resolve) => server?.close(resolve));
  await expect(createClient({ url }).listAgents()).rejects.toThrow(`no control plane answers at ${url}: ECONNREFUSED`);
  expect(await createClient({ url }).healthy()).toBe(false);
});
