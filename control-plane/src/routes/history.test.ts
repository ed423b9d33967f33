import { beforeEach, expect, test } from 'vitest';
import { verifyChain } from '../audit-chain.ts';
import { farm, match, milan, problemOf, type TestApp, testApp } from './app.fixture.ts';

let t: TestApp;
const weighing = (weight: number) =>
  farm('pbx', ['milan'], { backends: [{ name: 'pbx1', address: '10.0.0.11', weight }] });

beforeEach(async () => {
  t = testApp();
  await t.put(milan);
  await t.put(weighing(1));
  await t.put(weighing(2), match(2));
  await t.ask('DELETE', '/v1/farms/pbx', { headers: match(3) });
  await t.put(weighing(4));
});

const get = async (path: string) => (await t.ask('GET', path, { as: 'viewer' })).body;

test('history gives every version, newest first, in pages', async () => {
  const first = await get('/v1/farms/pbx/history?limit=3');
  expect(first.items.map((v: { revision: number; action: string }) => [v.revision, v.action])).toEqual([
    [5, 'create'],
    [4, 'delete'],
    [3, 'update'],
  ]);
  expect(first.items[0]).toMatchObject({ actor: 'a-admin', spec: weighing(4) });
  expect(first.items[1].spec).toBeNull();
  const rest = await get(`/v1/farms/pbx/history?limit=3&cursor=${first.cursor}`);
  expect(rest.items.map((v: { revision: number }) => v.revision)).toEqual([2]);
  expect(rest.cursor).toBeUndefined();
  expect((await get('/v1/sites/milan/history')).items.length).toBe(1);
  expect((await t.ask('GET', '/v1/farms/nowhere/history')).status).toBe(404);
});

test('a cursor is opaque, and of one list alone', async () => {
  const { cursor } = await get('/v1/farms/pbx/history?limit=3');
  for (const path of [`/v1/revisions?cursor=${cursor}`, '/v1/farms?cursor=pbx', '/v1/audit?cursor=AAAA']) {
    const refused = await t.ask('GET', path);
    expect([refused.status, problemOf(refused).faults?.[0]?.field]).toEqual([422, 'cursor']);
  }
});

test('diff compares any two revisions; what is not there has no fields', async () => {
  expect(await get('/v1/farms/pbx/diff?from=2&to=3')).toEqual({
    kind: 'Farm',
    name: 'pbx',
    from: 2,
    to: 3,
    fields: [{ field: 'backends[pbx1].weight', from: '1', to: '2' }],
  });
  expect((await get('/v1/farms/pbx/diff?from=3')).fields).toEqual([
    { field: 'backends[pbx1].weight', from: '2', to: '4' },
  ]);
  const gone = await get('/v1/farms/pbx/diff?from=3&to=4');
  expect([gone.from, gone.to, gone.fields[0]]).toEqual([3, null, { field: 'kind', from: '"Farm"', to: '(none)' }]);
  expect(problemOf(await t.ask('GET', '/v1/farms/pbx/diff?from=1&to=99')).faults).toMatchObject([
    { field: 'to', found: '99', allowed: 'a revision up to the current one, 5' },
  ]);
  expect((await t.ask('GET', '/v1/farms/pbx/diff')).status).toBe(422);
  expect((await t.ask('GET', '/v1/farms/nowhere/diff?from=1')).status).toBe(404);
});

test('revisions say who changed what through which program, newest first', async () => {
  await t.ask('PUT', '/v1/sites/rome', {
    body: { kind: 'Site', name: 'rome' },
    headers: { 'if-none-match': '*', 'user-agent': 'sipfleet/9' },
  });
  const { items, cursor } = await get('/v1/revisions?limit=2');
  expect(items).toMatchObject([
    { revision: 6, source: 'sipfleet/9', changes: [{ action: 'create', kind: 'Site', name: 'rome' }] },
    { revision: 5, source: 'unknown', changes: [{ action: 'create', kind: 'Farm', name: 'pbx' }] },
  ]);
  expect((await get(`/v1/revisions?limit=9&cursor=${cursor}`)).items.length).toBe(4);
});

test('the audit log comes with its hashes: who asks can verify it', async () => {
  const verifier = verifyChain();
  let cursor = '';
  let page: { items: never[]; cursor?: string; head: never };
  do {
    page = await get(`/v1/audit?limit=2${cursor}`);
    for (const entry of page.items) verifier.take(entry);
    cursor = `&cursor=${page.cursor}`;
  } while (page.cursor !== undefined);
  expect(verifier.end(page.head)).toMatchObject({ entries: 5, faults: [] });
  expect((await get('/v1/audit?order=newest-first&limit=1')).items[0]).toMatchObject({ sequence: 5 });
  expect((await t.ask('GET', '/v1/audit', { as: null })).status).toBe(401);
});

test('what changes no resource stands in the audit log too: invitations, agents that join and go, new signing keys', async () => {
  const { agentId } = await t.enrol();
  await t.ask('DELETE', `/v1/agents/${agentId}`);
  await t.ask('POST', '/v1/signing-keys');
  expect((await t.ask('DELETE', '/v1/agents/agt_none')).status).toBe(404);
  expect((await t.ask('POST', '/v1/signing-keys', { as: 'viewer' })).status).toBe(403);
  const { items, head } = await get('/v1/audit');
  expect(items.slice(5)).toMatchObject([
    {
      sequence: 6,
      actor: 'a-admin',
      action: 'join-token.create',
      revision: null,
      details: { site: 'milan', ttl: '1h' },
    },
    { sequence: 7, actor: 'agent edge-1', action: 'agent.join' },
    { sequence: 8, actor: 'a-admin', action: 'agent.revoke', details: { agent: agentId } },
    { sequence: 9, actor: 'a-admin', action: 'signing-key.rotate', changes: [] },
  ]);
  expect(JSON.stringify(items)).not.toMatch(/sf[jt]_/);
  const verifier = verifyChain();
  for (const entry of items) verifier.take(entry);
  expect(verifier.end(head).faults).toEqual([]);
});
