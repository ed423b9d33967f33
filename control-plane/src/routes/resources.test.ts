import { beforeEach, describe, expect, test } from 'vitest';
import { CREATE, farm, match, milan, problemOf, type TestApp, testApp } from './app.fixture.ts';

let t: TestApp;
beforeEach(() => {
  t = testApp();
});

describe('PUT', () => {
  test('creates with 201, replaces with 200, each with its revision as ETag', async () => {
    const created = await t.put(milan);
    expect(created).toMatchObject({ status: 201, body: { spec: milan, revision: 1 } });
    expect(created.headers.get('etag')).toBe('"1"');
    expect(created.body.updatedAt).toBe(new Date(t.clock.now).toISOString());
    const updated = await t.put({ ...milan, description: 'south' }, match(1));
    expect(updated).toMatchObject({ status: 200, body: { spec: { description: 'south' }, revision: 2 } });
    expect(updated.headers.get('etag')).toBe('"2"');
  });

  test('identical content is 200 and makes no revision, also with defaults written out', async () => {
    await t.put(milan);
    await t.put(farm('pbx', ['milan']));
    const same = await t.ask('PUT', '/v1/farms/pbx', {
      headers: match(2),
      body: {
        kind: 'Farm',
        sites: ['milan'],
        name: 'pbx',
        backends: [{ address: '10.0.0.11', name: 'pbx1' }],
        listeners: [{ port: 5060, transport: 'udp' }],
      },
    });
    expect(same).toMatchObject({ status: 200, body: { revision: 2 } });
    expect(await t.store.revision()).toBe(2);
    expect((await t.put(milan, CREATE)).status).toBe(412);
  });

  test('needs a precondition, and one that holds', async () => {
    expect((await t.put(milan, {})).status).toBe(428);
    expect((await t.put(milan, match(1))).status).toBe(412);
    await t.put(milan);
    const stale = await t.put({ ...milan, description: 'x' }, match(7));
    expect(stale.status).toBe(412);
    expect(problemOf(stale).detail).toContain('site milan is at revision 1 now');
    expect((await t.put(milan, CREATE)).status).toBe(412);
    expect((await t.put({ ...milan, description: 'x' }, { 'if-match': 'W/"1"' })).status).toBe(412);
    expect((await t.put({ ...milan, description: 'x' }, { 'if-match': '*' })).status).toBe(200);
    expect(await t.store.revision()).toBe(2);
  });

  test.each([
    [{ 'if-match': '1' }],
    [{ 'if-match': '"1", "2"' }],
    [{ 'if-none-match': '"1"' }],
    [{ 'if-match': '"1"', 'if-none-match': '*' }],
  ])('%o is 400', async (headers) => {
    expect((await t.put(milan, headers as unknown as Record<string, string>)).status).toBe(400);
  });

  test('schema faults are 422 with field, found and allowed', async () => {
    const asked = await t.ask('PUT', '/v1/farms/pbx', {
      headers: CREATE,
      body: { ...farm('pbx', ['milan']), vip: {}, listeners: [{ transport: 'udp', port: 70_000 }] },
    });
    expect(asked.status).toBe(422);
    expect(problemOf(asked).faults).toEqual([
      { field: 'vip', found: '{}', allowed: 'nothing: leave this field out', message: 'not supported yet' },
      { field: 'listeners[0].port', found: '70000', allowed: 'a whole number from 1 to 65535' },
    ]);
  });

  test('kind and name agree with the path', async () => {
    const kind = await t.ask('PUT', '/v1/farms/milan', { headers: CREATE, body: milan });
    expect(kind.status).toBe(422);
    expect(problemOf(kind).faults?.[0]).toMatchObject({ field: 'kind', found: '"Site"', allowed: 'Farm' });
    const name = await t.ask('PUT', '/v1/sites/turin', { headers: CREATE, body: milan });
    expect(problemOf(name).faults).toEqual([{ field: 'name', found: '"milan"', allowed: '"turin", as in the path' }]);
    const path = await t.ask('PUT', '/v1/sites/Milan', { headers: CREATE, body: { ...milan, name: 'Milan' } });
    expect(path.status).toBe(422);
  });

  test('what does not fit other resources is 422 and not stored', async () => {
    await t.put(milan);
    const unknown = await t.put(farm('pbx', ['rome']));
    expect(unknown.status).toBe(422);
    expect(problemOf(unknown).faults).toEqual([
      { field: 'sites[0]', found: '"rome"', allowed: 'one of milan', message: 'no such site' },
    ]);
    await t.put(farm('pbx', ['milan']));
    const twin = await t.put(farm('twin', ['milan']));
    expect(problemOf(twin).faults?.[0]?.message).toContain('farm pbx already binds');
    expect(await t.store.revision()).toBe(2);
  });

  test('a farm’s keys are made once, kept over updates, made anew after a delete, and never shown', async () => {
    const keyOf = async () => (await t.store.configuration()).farms.get('pbx')?.tokenKeys[0]?.key as string;
    await t.put(milan);
    const created = await t.put(farm('pbx', ['milan']));
    const key = await keyOf();
    expect(key).toMatch(/^[0-9a-f]{32}$/);
    await t.put(farm('pbx', ['milan'], { listeners: [{ transport: 'udp', port: 5070 }] }), match(2));
    expect(await keyOf()).toBe(key);
    await t.ask('DELETE', '/v1/farms/pbx', { headers: match(3) });
    await t.put(farm('pbx', ['milan']));
    expect(await keyOf()).not.toBe(key);
    const shown = [created, await t.ask('GET', '/v1/farms/pbx'), await t.ask('GET', '/v1/farms')];
    expect(JSON.stringify(shown.map(({ body }) => body))).not.toContain('tokenKeys');
  });
});

describe('GET', () => {
  test('one, with 304 on its ETag and 404 where there is none', async () => {
    await t.put(milan);
    expect(await t.ask('GET', '/v1/sites/milan')).toMatchObject({ status: 200, body: { spec: milan, revision: 1 } });
    for (const known of ['"1"', 'W/"1"', '"0", "1"', '*']) {
      const asked = await t.ask('GET', '/v1/sites/milan', { headers: { 'if-none-match': known } });
      expect([asked.status, asked.body, asked.headers.get('etag')]).toEqual([304, undefined, '"1"']);
    }
    expect((await t.ask('GET', '/v1/sites/milan', { headers: { 'if-none-match': '"2"' } })).status).toBe(200);
    expect((await t.ask('GET', '/v1/sites/rome')).status).toBe(404);
  });

  test('lists in pages', async () => {
    for (const name of ['c', 'a', 'b']) await t.put({ kind: 'Site', name });
    const first = await t.ask('GET', '/v1/sites?limit=2');
    expect(first.body.items.map((item: { spec: { name: string } }) => item.spec.name)).toEqual(['a', 'b']);
    const second = await t.ask('GET', `/v1/sites?limit=2&cursor=${first.body.cursor}`);
    expect(second.body).toMatchObject({ items: [{ spec: { name: 'c' } }] });
    expect(second.body.cursor).toBeUndefined();
  });

  test.each(['limit=0', 'limit=1001', 'limit=x', 'cursor=', 'page=2'])('refuses ?%s', async (query) => {
    const asked = await t.ask('GET', `/v1/farms?${query}`);
    expect(asked.status).toBe(422);
    expect(problemOf(asked).faults?.[0]?.field).toBe(query.split('=')[0]);
  });
});

describe('DELETE', () => {
  test('204, needs the revision', async () => {
    await t.put(milan);
    expect((await t.ask('DELETE', '/v1/sites/milan')).status).toBe(428);
    expect((await t.ask('DELETE', '/v1/sites/milan', { headers: CREATE })).status).toBe(428);
    expect((await t.ask('DELETE', '/v1/sites/milan', { headers: match(9) })).status).toBe(412);
    const deleted = await t.ask('DELETE', '/v1/sites/milan', { headers: match(1) });
    expect([deleted.status, deleted.body]).toEqual([204, undefined]);
    expect((await t.ask('GET', '/v1/sites/milan')).status).toBe(404);
    expect((await t.ask('DELETE', '/v1/sites/milan', { headers: match(1) })).status).toBe(404);
  });

  test('a site in use is 409 with who uses it', async () => {
    await t.put(milan);
    await t.put(farm('pbx', ['milan']));
    await t.enrol();
    const asked = await t.ask('DELETE', '/v1/sites/milan', { headers: match(1) });
    expect(asked.status).toBe(409);
    expect(problemOf(asked).detail).toBe('site milan is still used by farm pbx, agent edge-1');
  });
});

test('roles: a viewer reads, an operator writes', async () => {
  await t.put(milan);
  expect((await t.ask('GET', '/v1/sites/milan', { as: 'viewer' })).status).toBe(200);
  const refused = await t.ask('PUT', '/v1/sites/rome', { as: 'viewer', headers: CREATE, body: milan });
  expect(refused.status).toBe(403);
  expect(problemOf(refused).detail).toContain('needs operator');
  expect((await t.ask('DELETE', '/v1/sites/milan', { as: 'viewer', headers: match(1) })).status).toBe(403);
  expect((await t.ask('DELETE', '/v1/sites/milan', { as: 'operator', headers: match(1) })).status).toBe(204);
  const nobody = await t.ask('GET', '/v1/sites', { as: null });
  expect([nobody.status, nobody.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
});

test('who wrote what stands in the audit', async () => {
  await t.put(milan);
  expect((await t.store.audit({ limit: 10 })).items).toMatchObject([
    { revision: 1, actor: 'a-admin', changes: [{ action: 'create', kind: 'Site', name: 'milan' }] },
  ]);
});
