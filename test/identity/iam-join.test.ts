import { createHash, createHmac } from 'node:crypto';
import type { IamProof } from '@sipfleet/contract';
import { exportJWK, generateKeyPair } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { AuthError } from '../../control-plane/src/auth/auth-error.ts';
import { askSts, StsUnavailable } from '../../control-plane/src/auth/iam.ts';
import { milan, problemOf, type TestApp, testApp } from '../../control-plane/src/routes/app.fixture.ts';
import { iamProof } from '../../edge-agent/src/link/iam.ts';

/** The agent's half and the control plane's half of joining by an IAM role, with an STS that checks signatures as AWS documents them. */

const credentials = { accessKeyId: 'ASIAEXAMPLEEXAMPLE01', secretAccessKey: 'a-secret', sessionToken: 'a-session' };
const ARN = 'arn:aws:sts::123456789012:assumed-role/sipfleet-edge/i-0abc';
const rules = [{ site: 'milan', arn: 'arn:aws:sts::123456789012:assumed-role/sipfleet-edge/*' }];

let asked: IamProof[];
let sts: { down: boolean; arn: string };

/** Recomputes the signature over what it was sent. */
function localSts(proof: IamProof): { account: string; arn: string } {
  asked.push(proof);
  if (sts.down) throw new StsUnavailable('AWS STS does not answer');
  const { authorization = '', ...headers } = proof.headers;
  const [, scope = '', names = '', signature] =
    /Credential=\w+\/([^,]+), SignedHeaders=([^,]+), Signature=(\w+)/.exec(authorization) ?? [];
  const all: Record<string, string> = { host: new URL(proof.url).host, ...headers };
  const sha = (text: string) => createHash('sha256').update(text).digest('hex');
  const lines = names.split(';').map((name) => `${name}:${all[name]}\n`);
  const canonical = `POST\n/\n\n${lines.join('')}\n${names}\n${sha(proof.body)}`;
  const [date = '', region = ''] = scope.split('/');
  const key = [region, 'sts', 'aws4_request'].reduce<Buffer>(
    (k, part) => createHmac('sha256', k).update(part).digest(),
    createHmac('sha256', `AWS4${credentials.secretAccessKey}`).update(date).digest(),
  );
  const toSign = `AWS4-HMAC-SHA256\n${all['x-amz-date']}\n${scope}\n${sha(canonical)}`;
  if (createHmac('sha256', key).update(toSign).digest('hex') !== signature)
    throw new AuthError(401, 'the IAM proof is refused: AWS STS says 403');
  return { account: '123456789012', arn: sts.arn };
}

let t: TestApp;
let keys: { publicKey: { kty: string; crv: string; x: string }; sealKey: { kty: string; crv: string; x: string } };
beforeEach(async () => {
  asked = [];
  sts = { down: false, arn: ARN };
  t = testApp({ iam: { audience: 'sipfleet', rules, ask: async (proof) => localSts(proof) } });
  await t.put(milan);
  keys = { publicKey: await newKey('Ed25519'), sealKey: await newKey('X25519') };
});

async function newKey(crv: 'Ed25519' | 'X25519') {
  const pair = await generateKeyPair(crv === 'Ed25519' ? 'EdDSA' : 'ECDH-ES', { crv, extractable: true });
  const { x = '' } = await exportJWK(pair.publicKey);
  return { kty: 'OKP', crv, x };
}

const prove = (over: Partial<Parameters<typeof iamProof>[0]> = {}) =>
  iamProof({ audience: 'sipfleet', ...keys, credentials, region: 'eu-south-1', at: new Date(t.clock.now), ...over });
const join = (iam: IamProof, more: object = keys) =>
  t.ask('POST', '/v1/agents/enrol', { as: null, body: { iam, name: 'edge-1', version: '1', ...more } });

test('an instance of the role joins the site of the rule; asking again gives the same identity', async () => {
  const proof = await prove();
  const joined = await join(proof);
  expect(joined).toMatchObject({ status: 201, body: { site: 'milan', agentId: expect.stringMatching(/^agt_/) } });
  expect((await join(await prove())).body).toMatchObject({ agentId: joined.body.agentId, number: joined.body.number });
  expect((await t.store.agents({ limit: 9 })).items).toHaveLength(1);
  // Nothing of what an agent makes up goes out to AWS.
  expect(Object.keys(asked[0]?.headers ?? {}).sort()).toEqual([
    ...['authorization', 'content-type', 'x-amz-content-sha256', 'x-amz-date', 'x-amz-security-token'],
    ...['x-sipfleet-audience', 'x-sipfleet-keys'],
  ]);
});

test('an agent that was revoked does not come back with the same keys', async () => {
  const { agentId } = (await join(await prove())).body;
  await t.ask('DELETE', `/v1/agents/${agentId}`);
  expect((await join(await prove())).status).toBe(401);
});

describe('refused', () => {
  const why = async (asking: Promise<Awaited<ReturnType<typeof join>>>) => {
    const answer = await asking;
    expect([answer.status, (await t.store.agents({ limit: 9 })).items]).toEqual([401, []]);
    return problemOf(answer).detail;
  };
  const altered = async (change: (proof: IamProof) => IamProof) => join(change(await prove()));
  const header = (name: string, text: string) => altered((p) => ({ ...p, headers: { ...p.headers, [name]: text } }));

  test('a proof that somebody else got hold of, for keys of their own', async () => {
    const stolen = await prove();
    const other = { publicKey: await newKey('Ed25519'), sealKey: keys.sealKey };
    expect(await why(join(stolen, other))).toContain('made for other keys');
    expect(asked).toEqual([]);
    // With the header replaced the signature is wrong.
    const forged = {
      ...stolen,
      headers: { ...stolen.headers, 'x-sipfleet-keys': `${other.publicKey.x}.${keys.sealKey.x}` },
    };
    expect(await why(join(forged, other))).toContain('AWS STS says 403');
  });

  test('a proof for another control plane, too old, or of the future', async () => {
    expect(await why(join(await prove({ audience: 'other' })))).toContain('audience');
    expect(await why(join(await prove({ at: new Date(t.clock.now - 301_000) })))).toMatch(/was made 30[12] s ago/);
    expect(await why(join(await prove({ at: new Date(t.clock.now + 302_000) })))).toContain('check the clocks');
    expect(asked).toEqual([]);
  });

  test.each([
    'https://sts.amazonaws.com.evil.example/',
    'https://evil.example/',
    'http://sts.eu-south-1.amazonaws.com/',
    'https://sts.eu-south-1.amazonaws.com/?Action=AssumeRole',
    'https://sts.eu-south-1.amazonaws.com:8443/',
    'https://x@sts.eu-south-1.amazonaws.com/',
    'https://sts.eu-south-1.amazonaws.com/other',
    'nonsense',
  ])('the URL %s: nothing is sent', async (url) => {
    expect(await why(altered((proof) => ({ ...proof, url })))).toContain('its URL is not that of AWS STS');
    expect(asked).toEqual([]);
  });

  test('another action, another host, headers that are not signed or come twice', async () => {
    expect(await why(altered((p) => ({ ...p, body: 'Action=AssumeRole&Version=2011-06-15' })))).toContain('its body');
    expect(await why(header('host', 'evil.example'))).toContain('its host');
    expect(await why(header('authorization', 'AWS4-HMAC-SHA256 x'))).toContain('not signed by AWS');
    expect(await why(header('X-Amz-Date', '20260102T030405Z'))).toContain('twice');
    expect(await why(header('x-amz-security-token', 'a\r\nb'))).toContain('printable');
    const unsigned = (p: IamProof) => ({
      ...p.headers,
      authorization: (p.headers.authorization ?? '').replace('x-sipfleet-keys', 'x-amz-none'),
    });
    expect(await why(altered((p) => ({ ...p, headers: unsigned(p) })))).toContain('x-sipfleet-keys is not signed');
    expect(asked).toEqual([]);
  });

  test('a role that no rule names, and everybody where there is no rule', async () => {
    sts.arn = 'arn:aws:sts::123456789012:assumed-role/other/i-0abc';
    expect(await why(join(await prove()))).toBe(`no rule lets ${sts.arn} join a site`);
    t = testApp();
    await t.put(milan);
    expect(await why(join(await prove()))).toContain('join by join token here');
  });

  test('both proofs at once, or none', async () => {
    const both = await join(await prove(), { ...keys, joinToken: 'sfj_x' });
    const none = await t.ask('POST', '/v1/agents/enrol', { as: null, body: { name: 'edge-1', version: '1', ...keys } });
    expect([both.status, none.status]).toEqual([422, 422]);
  });
});

test('while STS does not answer it is 503: the agent tries again', async () => {
  sts.down = true;
  expect((await join(await prove())).status).toBe(503);
  sts.down = false;
  expect((await join(await prove())).status).toBe(201);
});

describe('what STS answers', () => {
  const ask = (answer: Response | Error) =>
    askSts((async (url: string, init: RequestInit) => {
      expect([url, init.redirect, init.method]).toEqual(['https://sts.eu-south-1.amazonaws.com/', 'error', 'POST']);
      if (answer instanceof Error) throw answer;
      return answer;
    }) as typeof fetch)({ url: 'https://sts.eu-south-1.amazonaws.com/', body: '', headers: {} });

  test('names who signed', async () => {
    const result = { Account: '123456789012', Arn: ARN, UserId: 'AROA:i-0abc' };
    const body = { GetCallerIdentityResponse: { GetCallerIdentityResult: result } };
    expect(await ask(Response.json(body))).toEqual({ account: '123456789012', arn: ARN });
  });

  test('is a refusal, or a failure that passes', async () => {
    await expect(ask(new Response('', { status: 403 }))).rejects.toMatchObject({ status: 401 });
    for (const answer of [
      new Response('', { status: 500 }),
      new Response('<xml/>'),
      Response.json({}),
      new Error('reset'),
    ])
      await expect(ask(answer)).rejects.toBeInstanceOf(StsUnavailable);
  });
});
