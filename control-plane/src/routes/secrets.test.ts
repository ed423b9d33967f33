import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { KeyChain, parseWith, type Secret, SecretBundle, signedText } from '@sipfleet/contract';
import { beforeEach, describe, expect, test } from 'vitest';
import { CREATE, farm, match, milan, problemOf, type TestApp, testApp } from './app.fixture.ts';

const CANARY = 'canary-in-a-coal-mine';
const secret = (data: Secret['data'] = { username: '30', password: CANARY }): Secret => ({
  kind: 'Secret',
  name: 'pbx-check',
  data,
});
const checked = farm('pbx', ['milan'], {
  checks: [{ name: 'register', type: 'register', interval: '5m', credentials: 'pbx-check' }],
});

let t: TestApp;
/** Everything that was answered. */
let answers: string;
beforeEach(async () => {
  t = testApp();
  answers = '';
  await t.put(milan);
});

const ask: TestApp['ask'] = async (...args) => {
  const asked = await t.ask(...args);
  answers += JSON.stringify(asked.body) ?? '';
  return asked;
};
const put = (body: object | string, headers: Record<string, string> = CREATE) =>
  ask('PUT', '/v1/secrets/pbx-check', { body, headers });

describe('operators', () => {
  test('write a Secret and read back its keys, fingerprints and revision, never a value', async () => {
    const created = await put(secret());
    expect(created).toMatchObject({ status: 201, body: { spec: { kind: 'Secret', name: 'pbx-check' }, revision: 2 } });
    const read = await ask('GET', '/v1/secrets/pbx-check', { as: 'viewer' });
    expect(Object.keys(read.body.spec)).toEqual(['kind', 'name', 'fingerprints']);
    expect(Object.keys(read.body.spec.fingerprints)).toEqual(['username', 'password']);
    expect((await ask('GET', '/v1/secrets')).body.items).toEqual([read.body]);
    const same = await put(secret({ password: CANARY, username: '30' }), match(2));
    expect(same).toMatchObject({ status: 200, body: { revision: 2 } });
    const other = await put(secret({ username: '30', password: `${CANARY}2` }), match(2));
    expect(other).toMatchObject({ status: 200, body: { revision: 3 } });
    expect(other.body.spec.fingerprints.username).toBe(read.body.spec.fingerprints.username);
    expect(other.body.spec.fingerprints.password).not.toBe(read.body.spec.fingerprints.password);
    expect(answers + t.logged.join()).not.toContain(CANARY);
  });

  test('plan an update by its keys; the same values are no change', async () => {
    await put(secret());
    const plan = async (body: Secret) => (await ask('POST', '/v1/plan', { body: { resources: [body] } })).body.changes;
    expect(await plan(secret())).toEqual([{ kind: 'Secret', name: 'pbx-check', action: 'none', revision: 2 }]);
    expect(await plan(secret({ username: '31', realm: CANARY }))).toEqual([
      { kind: 'Secret', name: 'pbx-check', action: 'update', revision: 2, keys: ['password', 'realm', 'username'] },
    ]);
    expect(await t.store.revision()).toBe(2);
    expect(answers).not.toContain(CANARY);
  });

  test('are refused without hearing the value again', async () => {
    const faults = [
      await put({ ...secret(), data: { password: [CANARY] } }),
      await put({ ...secret(), data: CANARY }),
      await put({ ...secret(), kind: 'Farm' }),
      await put({ ...secret(), name: 'other' }),
      await ask('PUT', '/v1/sites/milan', { body: secret(), headers: match(1) }),
      await ask('POST', '/v1/plan', { body: { resources: [{ ...secret(), data: [CANARY] }] } }),
    ];
    expect(faults.map(({ status }) => status)).toEqual([422, 422, 422, 422, 422, 422]);
    expect((await put(`{"data":"${CANARY}"`)).status).toBe(400);
    expect(answers + t.logged.join()).not.toContain(CANARY);
  });

  test('cannot name a Secret that is not there, nor delete one that is named', async () => {
    const early = await t.put(checked);
    expect(problemOf(early).faults).toMatchObject([{ field: 'checks[0].credentials', message: 'no such Secret' }]);
    await put(secret());
    expect((await t.put(checked)).status).toBe(201);
    const remove = () => ask('DELETE', '/v1/secrets/pbx-check', { headers: match(2) });
    const refused = await remove();
    expect([refused.status, problemOf(refused).detail]).toEqual([409, 'secret pbx-check is still used by farm pbx']);
    await ask('DELETE', '/v1/farms/pbx', { headers: match(3) });
    expect((await remove()).status).toBe(204);
  });

  test('rotate the signing key as admins, and see its public half', async () => {
    expect((await ask('POST', '/v1/signing-keys', { as: 'operator' })).status).toBe(403);
    expect(await ask('POST', '/v1/signing-keys')).toMatchObject({ status: 201, body: { sequence: 2 } });
    const { items } = (await ask('GET', '/v1/signing-keys', { as: 'viewer' })).body;
    expect(items.map((key: object) => Object.keys(key))).toEqual(new Array(2).fill(['sequence', 'x', 'createdAt']));
  });
});

describe('agents', () => {
  const jwk = () => generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' }) as Record<string, string>;
  const asAgent = async (agent: Awaited<ReturnType<TestApp['enrol']>>, path: string, headers = {}) =>
    ask('GET', path, { as: { bearer: await agent.jwt() }, headers });

  beforeEach(async () => {
    await t.put(secret());
    await t.put(checked);
  });

  test('get the Secrets of their site sealed and signed, and 304 until one changes', async () => {
    const agent = await t.enrol('milan', jwk());
    const first = await asAgent(agent, '/v1/agent/secrets');
    expect([first.status, first.headers.get('cache-control')]).toEqual([200, 'no-store']);
    expect(parseWith(SecretBundle, first.body)).toMatchObject({ agentId: agent.agentId, secrets: { 'pbx-check': 2 } });
    const etag = { 'if-none-match': first.headers.get('etag') as string };
    expect((await asAgent(agent, '/v1/agent/secrets', etag)).status).toBe(304);
    await put(secret({ username: '30', password: 'another' }), match(2));
    const second = await asAgent(agent, '/v1/agent/secrets', etag);
    expect(second).toMatchObject({ status: 200, body: { secrets: { 'pbx-check': 4 } } });
    expect(answers).not.toContain(CANARY);
  });

  test('hear of a rotation by their snapshot, and its push', async () => {
    const agent = await t.enrol('milan', jwk());
    const before = await asAgent(agent, '/v1/agent/snapshot');
    expect(before.body.secrets).toEqual({ 'pbx-check': 2 });
    await put(secret({ username: '30', password: 'another' }), match(2));
    const after = await asAgent(agent, '/v1/agent/snapshot');
    expect([after.body.secrets, after.body.generation]).toEqual([{ 'pbx-check': 4 }, 4]);
    expect(after.headers.get('etag')).not.toBe(before.headers.get('etag'));
    expect((await t.store.outbox(10)).at(-1)).toEqual({ revision: 4, affects: ['milan'] });
  });

  test('of another site get none of it', async () => {
    await t.put({ kind: 'Site', name: 'rome' });
    const agent = await t.enrol('rome', jwk());
    expect((await asAgent(agent, '/v1/agent/secrets')).body.secrets).toEqual({});
  });

  test('without a key to seal to register one', async () => {
    const agent = await t.enrol();
    const none = await asAgent(agent, '/v1/agent/secrets');
    expect([none.status, problemOf(none).detail]).toEqual([409, expect.stringContaining('PUT /v1/agent/keys')]);
    const register = async (body: object) =>
      (await ask('PUT', '/v1/agent/keys', { as: { bearer: await agent.jwt() }, body })).status;
    const { kty, crv, x } = jwk();
    expect(await register({ sealKey: { kty, crv: 'Ed25519', x } })).toBe(422);
    expect(await register({ sealKey: { kty, crv, x } })).toBe(204);
    expect((await asAgent(agent, '/v1/agent/secrets')).body.recipientKey).toBe(x);
  });

  test('find their snapshot signed with the last key of the chain', async () => {
    const agent = await t.enrol();
    await ask('POST', '/v1/signing-keys');
    const response = await t.app.request('/v1/agent/snapshot', {
      headers: { authorization: `Bearer ${await agent.jwt()}` },
    });
    const text = await response.text();
    const { keys } = parseWith(KeyChain, (await asAgent(agent, '/v1/agent/keys')).body);
    const [sequence, signature] = (response.headers.get('sipfleet-signature') ?? '').split('.');
    expect([sequence, keys.length]).toEqual(['2', 2]);
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: keys[1]?.x ?? '' }, format: 'jwk' });
    const signed = Buffer.from(signedText('snapshot', text));
    expect(verify(null, signed, key, Buffer.from(signature ?? '', 'base64url'))).toBe(true);
  });
});
