import { beforeEach, describe, expect, test } from 'vitest';
import { CREATE, farm, match, milan, problemOf, type TestApp, testApp } from './app.fixture.ts';

let t: TestApp;
beforeEach(async () => {
  t = testApp();
  await t.put(milan);
});

const change = (changes: object[], path = '/v1/changes', headers: Record<string, string> = {}) =>
  t.ask('POST', path, { body: { changes }, headers });
const put = (resource: object, revision: number | null = null) => ({ action: 'put', revision, resource });
const remove = (kind: string, name: string, revision: number) => ({ action: 'delete', kind, name, revision });

describe('POST /v1/changes', () => {
  test('a farm renamed on its port is one revision: the end is what must be right', async () => {
    await t.put(farm('old', ['milan']));
    const asked = await change([put(farm('new', ['milan'])), remove('Farm', 'old', 2)]);
    expect(asked).toMatchObject({
      status: 200,
      body: {
        revision: 3,
        changes: [
          { status: 'created', kind: 'Farm', name: 'new', revision: 3 },
          { status: 'deleted', kind: 'Farm', name: 'old', revision: null },
        ],
      },
    });
    expect([...(await t.store.configuration()).farms.keys()]).toEqual(['new']);
  });

  test('a site with its farm comes and goes in one', async () => {
    expect((await change([put(farm('pbx', ['rome'], {})), put({ kind: 'Site', name: 'rome' })])).status).toBe(200);
    expect((await change([remove('Site', 'rome', 2), remove('Farm', 'pbx', 2)])).status).toBe(200);
    expect((await t.ask('GET', '/v1/sites/rome')).status).toBe(404);
  });

  test('nothing is stored where one is stale, at fault, or still used', async () => {
    await t.put(farm('pbx', ['milan']));
    const stale = await change([put({ kind: 'Site', name: 'rome' }), put({ ...milan, description: 'x' }, 7)]);
    expect(stale.status).toBe(412);
    expect(problemOf(stale).detail).toContain('site milan is at revision 1 now');
    const faulty = await change([put({ kind: 'Site', name: 'rome' }), put(farm('twin', ['milan']))]);
    expect(problemOf(faulty).faults).toMatchObject([{ resource: 1, field: 'listeners[0].port' }]);
    const used = await change([put({ kind: 'Site', name: 'rome' }), remove('Site', 'milan', 1)]);
    expect([used.status, problemOf(used).detail]).toEqual([409, 'site milan is still used by farm pbx']);
    const unread = await change([put({ kind: 'Site', name: 'rome' }), put({ kind: 'Site', name: 'B' }), put({})]);
    expect(problemOf(unread).faults?.map(({ resource, field }) => [resource, field])).toEqual([
      [1, 'name'],
      [2, 'kind'],
    ]);
    expect((await t.ask('GET', '/v1/sites/rome')).status).toBe(404);
    expect(await t.store.revision()).toBe(2);
  });

  test('one resource twice, none, too many, or a deletion of what is not there', async () => {
    const twice = await change([put({ ...milan, description: 'x' }, 1), remove('Site', 'milan', 1)]);
    expect(problemOf(twice).faults).toMatchObject([{ resource: 1, field: 'name' }]);
    expect((await change([])).status).toBe(422);
    expect((await change(Array.from({ length: 33 }, (_, i) => put({ kind: 'Site', name: `s${i}` })))).status).toBe(422);
    expect((await change([remove('Farm', 'nowhere', 1)])).status).toBe(412);
  });

  test('what is stored already makes no revision', async () => {
    expect(await change([put(milan, 1)])).toMatchObject({
      status: 200,
      body: { revision: 1, changes: [{ status: 'unchanged', revision: 1 }] },
    });
    expect((await t.ask('POST', '/v1/changes', { as: 'viewer', body: { changes: [put(milan, 1)] } })).status).toBe(403);
  });
});

describe('dryRun', () => {
  const dry = (method: string, path: string, more: object) => t.ask(method, `${path}?dryRun=true`, more);

  test('says what each write would change, and changes nothing', async () => {
    await t.put(farm('pbx', ['milan']));
    const weighty = farm('pbx', ['milan'], { backends: [{ name: 'pbx1', address: '10.0.0.11', weight: 5 }] });
    const replaced = await dry('PUT', '/v1/farms/pbx', { body: weighty, headers: match(2) });
    expect(replaced).toMatchObject({
      status: 200,
      body: {
        dryRun: true,
        changes: [{ kind: 'Farm', name: 'pbx', action: 'update', revision: 2 }],
        blastRadius: { sites: ['milan'], agents: 0, unknown: [], calls: null, registrations: null },
      },
    });
    expect(replaced.body.changes[0].fields).toEqual([{ field: 'backends[pbx1].weight', from: '1', to: '5' }]);
    const deleted = await dry('DELETE', '/v1/farms/pbx', { headers: match(2) });
    expect(deleted).toMatchObject({ status: 200, body: { changes: [{ action: 'delete', revision: 2 }] } });
    const created = await dry('PUT', '/v1/sites/rome', { body: { kind: 'Site', name: 'rome' }, headers: CREATE });
    expect(created).toMatchObject({ status: 200, body: { changes: [{ action: 'create', revision: null }] } });
    const several = await t.ask('POST', '/v1/changes?dryRun=true', { body: { changes: [remove('Farm', 'pbx', 2)] } });
    expect(several).toMatchObject({ status: 200, body: { dryRun: true } });
    expect(await t.store.revision()).toBe(2);
  });

  test('refuses what the write would refuse', async () => {
    await t.put(farm('pbx', ['milan']));
    const twin = await dry('PUT', '/v1/farms/twin', { body: farm('twin', ['milan']), headers: CREATE });
    expect(problemOf(twin).faults).toMatchObject([{ field: 'listeners[0].port' }]);
    expect((await dry('DELETE', '/v1/sites/milan', { headers: match(1) })).status).toBe(409);
    expect((await dry('PUT', '/v1/sites/milan', { body: milan, headers: match(9) })).status).toBe(412);
    expect((await t.ask('PUT', '/v1/sites/milan?dryRun=maybe', { body: milan, headers: match(1) })).status).toBe(422);
  });

  test('the blast radius is what agents of the site said lately; who did not say is named', async () => {
    await t.put(farm('pbx', ['milan']));
    const counts = {
      sessionAttempts: 9,
      sessionsEstablished: 9,
      sessionFailures: 0,
      registrationAttempts: 9,
      registrationFailures: 0,
      checksFailed: 0,
    };
    const report = async (agent: { jwt: () => Promise<string> }, traffic?: object[]) =>
      t.ask('POST', '/v1/agent/report', {
        as: { bearer: await agent.jwt() },
        body: {
          version: '1',
          uptimeSeconds: 1,
          snapshot: { status: 'NONE', etag: null, generation: null, running: null },
          backends: [],
          ...(traffic && { traffic }),
        },
      });
    const [one, two, mute] = [await t.enrol(), await t.enrol(), await t.enrol()];
    await t.enrol();
    const carries = (farmName: string, activeSessions: number, activeRegistrations: number) => ({
      farm: farmName,
      ...counts,
      activeSessions,
      activeRegistrations,
    });
    expect((await report(one, [carries('pbx', 3, 20), carries('other', 99, 99)])).status).toBe(200);
    await report(two, [carries('pbx', 4, 1)]);
    await report(mute);
    const radius = async () => (await dry('DELETE', '/v1/farms/pbx', { headers: match(2) })).body.blastRadius;
    expect(await radius()).toEqual({
      sites: ['milan'],
      agents: 4,
      unknown: ['edge-1', 'edge-1'],
      calls: 7,
      registrations: 21,
      farms: [{ farm: 'pbx', calls: 7, registrations: 21 }],
    });
    t.clock.now += 200_000;
    expect(await radius()).toMatchObject({ agents: 4, calls: null, registrations: null });
    const planned = await t.ask('POST', '/v1/plan', {
      body: { resources: [], delete: [{ kind: 'Farm', name: 'pbx' }] },
    });
    expect(planned.body.blastRadius).toMatchObject({ sites: ['milan'], agents: 4, farms: [{ farm: 'pbx' }] });
  });
});

describe('Idempotency-Key', () => {
  const KEY = { 'idempotency-key': '"one"' };
  const rome = { kind: 'Site', name: 'rome' } as const;

  test('the same request again is answered the same and changes nothing', async () => {
    const first = await t.put(rome, { ...CREATE, ...KEY });
    await t.put({ ...rome, description: 'meanwhile' }, match(2));
    const again = await t.put(rome, { ...CREATE, 'idempotency-key': 'one' });
    expect([again.status, again.body, again.headers.get('etag')]).toEqual([201, first.body, '"2"']);
    expect(await t.store.revision()).toBe(3);
  });

  test('another request with it is 422, of another operator it is another key', async () => {
    await t.put(rome, { ...CREATE, ...KEY });
    const other = await t.put({ ...rome, description: 'x' }, { ...CREATE, ...KEY });
    expect([other.status, problemOf(other).detail]).toEqual([422, expect.stringContaining('another request')]);
    expect((await t.put(rome, { ...match(2), ...KEY })).status).toBe(422);
    const turin = { kind: 'Site', name: 'turin' };
    const operator = { as: 'operator' as const, body: turin, headers: { ...CREATE, ...KEY } };
    expect((await t.ask('PUT', '/v1/sites/turin', operator)).status).toBe(201);
  });

  test('it serves deletions and change sets, and is free again where nothing was stored', async () => {
    await t.put(rome);
    const del = () => t.ask('DELETE', '/v1/sites/rome', { headers: { ...match(2), ...KEY } });
    expect([(await del()).status, (await del()).status]).toEqual([204, 204]);
    const set = () => change([put(rome)], '/v1/changes', { 'idempotency-key': 'two' });
    const first = await set();
    expect((await set()).body).toEqual(first.body);
    const refused = () => change([put(rome)], '/v1/changes', { 'idempotency-key': 'three' });
    expect((await refused()).status).toBe(412);
    await t.ask('DELETE', '/v1/sites/rome', { headers: match(4) });
    expect((await refused()).status).toBe(200);
    expect(await t.store.revision()).toBe(6);
  });

  test('a key that is none is 400; after a day it is forgotten', async () => {
    expect((await t.put(rome, { ...CREATE, 'idempotency-key': '""' })).status).toBe(400);
    await t.put(rome, { ...CREATE, ...KEY });
    t.clock.now += 86_400_001;
    expect((await t.put(rome, { ...CREATE, ...KEY })).status).toBe(412);
  });
});
