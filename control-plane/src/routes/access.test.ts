import { beforeEach, describe, expect, test } from 'vitest';
import { AuthError } from '../auth/auth-error.ts';
import { type Asked, CREATE, farm, match, milan, problemOf, type TestApp, testApp } from './app.fixture.ts';

let t: TestApp;
beforeEach(async () => {
  t = testApp();
  await t.put(milan);
  await t.put({ kind: 'Site', name: 'rome' });
  await t.put(farm('pbx', ['milan']));
  await t.put(farm('both', ['milan', 'rome'], { listeners: [{ transport: 'udp', port: 5070 }] }));
});

const ofMilan = async (role: 'viewer' | 'operator' | 'admin' = 'operator') => ({
  bearer: await t.token(role, ['milan']),
});
const changed = (name: string, sites: string[], port = 5060) =>
  farm(name, sites, { listeners: [{ transport: 'udp', port }], backends: [{ name: 'b', address: '10.0.0.99' }] });

describe('a token for milan', () => {
  const put = async (spec: { name: string }, headers: Record<string, string>) =>
    t.ask('PUT', `/v1/farms/${spec.name}`, { as: await ofMilan(), body: spec, headers });

  test('changes what is at milan alone', async () => {
    expect((await put(changed('pbx', ['milan']), match(3))).status).toBe(200);
    expect((await put(changed('new', ['milan'], 5080), CREATE)).status).toBe(201);
    expect((await t.ask('DELETE', '/v1/farms/pbx', { as: await ofMilan(), headers: match(5) })).status).toBe(204);
  });

  test.each([
    ['a farm of both sites', changed('both', ['milan', 'rome'], 5070), match(4)],
    ['a farm that it would take away from rome', changed('both', ['milan'], 5070), match(4)],
    ['a farm that it would bring to rome', changed('pbx', ['milan', 'rome']), match(3)],
    ['a new farm of rome', changed('roman', ['rome'], 5090), CREATE],
  ])('does not change %s: 403, and what is missing is said', async (_, spec, headers) => {
    const asked = await put(spec, headers);
    expect([asked.status, problemOf(asked).detail]).toEqual([
      403,
      `farm ${spec.name} concerns site rome, which this token may not change`,
    ]);
    expect(asked.headers.get('content-type')).toBe('application/problem+json');
    expect(await t.store.revision()).toBe(4);
  });

  test('changes neither sites nor sets with anything of rome, and rolls nothing back there', async () => {
    const as = await ofMilan();
    const site = { kind: 'Site', name: 'rome', description: 'x' };
    expect((await t.ask('PUT', '/v1/sites/rome', { as, body: site, headers: match(2) })).status).toBe(403);
    const changes = [
      { action: 'put', revision: 3, resource: changed('pbx', ['milan']) },
      { action: 'put', revision: 4, resource: changed('both', ['milan', 'rome'], 5070) },
    ];
    expect((await t.ask('POST', '/v1/changes', { as, body: { changes } })).status).toBe(403);
    expect((await t.ask('POST', '/v1/rollbacks', { as, body: { to: 3 } })).status).toBe(403);
    // What stays as it is needs no right.
    const same = [
      changes[0],
      {
        action: 'put',
        revision: 4,
        resource: farm('both', ['milan', 'rome'], { listeners: [{ transport: 'udp', port: 5070 }] }),
      },
    ];
    expect((await t.ask('POST', '/v1/changes', { as, body: { changes: same } })).status).toBe(200);
  });

  test('changes no Secret that is used at rome', async () => {
    const secret = (value: string) => ({ kind: 'Secret', name: 'login', data: { username: 'u', password: value } });
    const as = await ofMilan();
    expect((await t.ask('PUT', '/v1/secrets/login', { as, body: secret('a'), headers: CREATE })).status).toBe(201);
    const check = { name: 'reg', type: 'register' as const, interval: '2m', timeout: '5s', credentials: 'login' };
    const both = farm('both', ['milan', 'rome'], { listeners: [{ transport: 'udp', port: 5070 }], checks: [check] });
    expect((await t.ask('PUT', '/v1/farms/both', { body: both, headers: match(4) })).status).toBe(200);
    expect((await t.ask('PUT', '/v1/secrets/login', { as, body: secret('b'), headers: match(5) })).status).toBe(403);
    // Nor learns whether it guessed the value: neither by storing it again, nor by a plan.
    const guess = await t.ask('PUT', '/v1/secrets/login', { as, body: secret('a'), headers: match(5) });
    expect([guess.status, problemOf(guess).detail]).toEqual([
      403,
      'secret login concerns site rome, which this token may not change',
    ]);
    const plan = (who: { bearer: string } | 'viewer' | 'operator') =>
      t.ask('POST', '/v1/plan', { as: who, body: { resources: [secret('a')] } });
    const by = await Promise.all([plan(as), plan('viewer'), plan('operator')]);
    expect(by.map(({ status }) => status)).toEqual([403, 403, 200]);
    expect(problemOf(by[1] as Asked).detail).toBe('comparing secret login needs the role operator; a-viewer is viewer');
  });

  test('brings no Secret of rome to its own agents by a farm that names it', async () => {
    const secret = { kind: 'Secret', name: 'roman', data: { username: 'u', password: 'p' } };
    const check = { name: 'reg', type: 'register' as const, interval: '2m', timeout: '5s', credentials: 'roman' };
    const using = (name: string, sites: string[], port: number) =>
      farm(name, sites, { listeners: [{ transport: 'udp', port }], checks: [check] });
    await t.ask('PUT', '/v1/secrets/roman', { body: secret, headers: CREATE });
    await t.put(using('roman', ['rome'], 5090));
    const as = await ofMilan();
    const take = (body: object) => t.ask('PUT', '/v1/farms/pbx', { as, body, headers: match(3) });
    const refused = await take(using('pbx', ['milan'], 5060));
    expect([refused.status, problemOf(refused).detail]).toEqual([
      403,
      'secret roman concerns site rome, which this token may not change',
    ]);
    // Once who may both has brought it there, it is there.
    expect((await t.put(using('shared', ['milan', 'rome'], 5091))).status).toBe(201);
    expect((await take(using('pbx', ['milan'], 5060))).status).toBe(200);
  });

  test('has checks made by agents of milan alone', async () => {
    const ping = { name: 'ping', type: 'options' as const };
    await t.put(farm('roman', ['rome'], { listeners: [{ transport: 'udp', port: 5090 }], checks: [ping] }));
    await t.put(farm('wide', ['milan', 'rome'], { listeners: [{ transport: 'udp', port: 5091 }], checks: [ping] }));
    const { agentId } = await t.enrol('rome');
    t.hub.connectedIds.add(agentId);
    const run = async (name: string, backend: string) =>
      (await t.ask('POST', `/v1/checks/${name}/${backend}/ping/run`, { as: await ofMilan() })).status;
    const [backend] = farm('x', ['milan']).backends;
    expect(await run('roman', backend!.name)).toBe(403);
    // Nobody there could make it.
    expect(await run('wide', backend!.name)).toBe(503);
    expect(t.hub.runs).toEqual([]);
  });

  test('invites and revokes agents at milan alone, and steers rollouts there alone', async () => {
    const invite = async (site: string) =>
      (await t.ask('POST', '/v1/join-tokens', { as: await ofMilan(), body: { site } })).status;
    expect([await invite('milan'), await invite('rome')]).toEqual([201, 403]);
    const roman = await t.enrol('rome');
    const refused = await t.ask('DELETE', `/v1/agents/${roman.agentId}`, { as: await ofMilan('admin') });
    expect([refused.status, problemOf(refused).detail]).toEqual([
      403,
      'agent edge-1 concerns site rome, which a-admin may not change',
    ]);
    const body = {
      rollout: {},
      changes: [{ action: 'put', revision: 4, resource: changed('both', ['milan', 'rome'], 5070) }],
    };
    await t.ask('POST', '/v1/changes', { body });
    const abort = await t.ask('POST', '/v1/rollouts/5/abort', { as: await ofMilan() });
    expect([abort.status, problemOf(abort).detail]).toEqual([
      403,
      'rollout 5 concerns site rome, which a-operator may not change',
    ]);
  });

  test('reads everything, and does not what concerns all sites', async () => {
    expect((await t.ask('GET', '/v1/farms/both', { as: await ofMilan('viewer') })).status).toBe(200);
    const rotate = await t.ask('POST', '/v1/signing-keys', { as: await ofMilan('admin') });
    expect([rotate.status, problemOf(rotate).detail]).toEqual([
      403,
      'the signing key concerns all sites; a-admin may change milan',
    ]);
  });
});

describe('tokens', () => {
  const make = (body: object, as?: { bearer: string }) => t.ask('POST', '/v1/tokens', { body, ...(as ? { as } : {}) });

  test('are made, listed without themselves, used, and revoked with effect on the next request', async () => {
    const made = await make({ name: 'ci', role: 'operator', sites: ['milan'], ttl: '1d' });
    expect(made).toMatchObject({ status: 201, body: { name: 'ci', role: 'operator', sites: ['milan'] } });
    const as = { bearer: made.body.token };
    expect((await t.ask('GET', '/v1/farms', { as })).status).toBe(200);
    const list = (await t.ask('GET', '/v1/tokens')).body.items.filter(({ name }: { name: string }) => name === 'ci');
    expect(list).toEqual([
      {
        id: expect.stringMatching(/^[0-9a-f]{12}$/),
        name: 'ci',
        role: 'operator',
        sites: ['milan'],
        createdAt: new Date(t.clock.now).toISOString(),
        expiresAt: new Date(t.clock.now + 86_400_000).toISOString(),
      },
    ]);
    expect(JSON.stringify(list) + t.logged.join('')).not.toContain(made.body.token);
    expect((await make({ name: 'ci', role: 'viewer' })).status).toBe(409);
    expect((await t.ask('DELETE', '/v1/tokens/ci')).status).toBe(204);
    expect((await t.ask('GET', '/v1/farms', { as })).status).toBe(401);
    expect((await t.ask('DELETE', '/v1/tokens/ci')).status).toBe(404);
    const log = (await t.store.audit({ limit: 99 })).items.map(({ action, details }) => [action, details]);
    expect(log).toContainEqual(['token.create', { name: 'ci', role: 'operator', sites: 'milan' }]);
    expect(log).toContainEqual(['token.revoke', { token: 'ci' }]);
  });

  test('end when their time is over', async () => {
    const { token } = (await make({ name: 'ci', role: 'operator', ttl: '1h' })).body;
    t.clock.now += 3_600_000;
    const asked = await t.ask('GET', '/v1/farms', { as: { bearer: token } });
    expect([asked.status, problemOf(asked).detail]).toEqual([
      401,
      expect.stringContaining('the API token ci has expired at'),
    ]);
  });

  test('are for admins; an admin of milan makes none that may more', async () => {
    for (const role of ['viewer', 'operator'] as const) {
      const refused = await t.ask('POST', '/v1/tokens', { as: role, body: { name: 'x', role: 'viewer' } });
      expect([refused.status, problemOf(refused).detail]).toEqual([
        403,
        `a-${role} has the role ${role}; this needs admin`,
      ]);
    }
    const as = await ofMilan('admin');
    expect((await make({ name: 'x', role: 'admin', sites: ['milan'] }, as)).status).toBe(201);
    expect((await make({ name: 'y', role: 'viewer', sites: ['milan', 'rome'] }, as)).status).toBe(403);
    expect((await make({ name: 'y', role: 'viewer' }, as)).status).toBe(403);
    await make({ name: 'all', role: 'viewer' });
    expect((await t.ask('DELETE', '/v1/tokens/all', { as })).status).toBe(403);
  });

  test.each([
    [{ name: 'x', role: 'root' }, 'role'],
    [{ name: 'X y', role: 'viewer' }, 'name'],
    [{ name: 'x', role: 'viewer', sites: [] }, 'sites'],
    [{ name: 'x', role: 'viewer', sites: ['oslo'] }, 'sites[0]'],
    [{ name: 'x', role: 'viewer', ttl: '5' }, 'ttl'],
  ])('%j is 422', async (body, field) => {
    const asked = await make(body);
    expect([asked.status, problemOf(asked).faults?.[0]?.field]).toEqual([422, field]);
  });
});

test('who comes with a JWT of the identity provider is held to the same', async () => {
  t = testApp({
    oidc: {
      async verify(jwt) {
        if (jwt !== 'good.jwt') throw new AuthError(401, 'the JWT is refused');
        return { name: 'oidc:ann', role: 'operator', sites: ['milan'] };
      },
    },
  });
  await t.put(milan);
  const as = { bearer: 'good.jwt' };
  const body = farm('pbx', ['milan']);
  expect((await t.ask('PUT', '/v1/farms/pbx', { as, body, headers: CREATE })).status).toBe(201);
  expect(
    (await t.ask('PUT', '/v1/sites/rome', { as, body: { kind: 'Site', name: 'rome' }, headers: CREATE })).status,
  ).toBe(403);
  expect((await t.store.audit({ limit: 9 })).items.at(-1)?.actor).toBe('oidc:ann');
  expect((await t.ask('GET', '/v1/farms', { as: { bearer: 'bad.jwt' } })).status).toBe(401);
});
