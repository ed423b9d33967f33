import { type CryptoKey, exportJWK, type GenerateKeyPairResult, generateKeyPair, SignJWT } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import type { AgentRecord } from '../domain/identity.ts';
import { authenticateAgent } from './agent.ts';
import { newAgentId } from './secret.ts';
import { VerifiedTokens } from './verified-tokens.ts';

const NOW = Date.parse('2026-01-02T03:04:05Z');
const seconds = NOW / 1000;
const agentId = newAgentId(() => new Uint8Array(20).fill(33));
let keys: GenerateKeyPairResult;
let agent: AgentRecord;

beforeAll(async () => {
  keys = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  agent = { agentId, publicKey: (await exportJWK(keys.publicKey)).x, site: 'milan' } as AgentRecord;
});

const claims = { iss: agentId, sub: agentId, aud: 'sipfleet', exp: seconds + 60 };
const sign = (over: Record<string, unknown> = {}, alg = 'EdDSA', key: CryptoKey = keys.privateKey) =>
  new SignJWT({ ...claims, ...over }).setProtectedHeader({ alg }).sign(key);
const authenticate = (header: string | undefined) =>
  authenticateAgent({ identity: async (id) => (id === agentId ? agent : undefined) }, header, () => NOW);

describe('an agent is known by', () => {
  test('a JWT it signed, under the old and the new name of the algorithm', async () => {
    expect(await authenticate(`Bearer ${await sign()}`)).toBe(agent);
    expect(await authenticate(`bearer ${await sign({}, 'Ed25519')}`)).toBe(agent);
  });

  test('a JWT that ended less than a minute ago, or ends five minutes ahead', async () => {
    expect(await authenticate(`Bearer ${await sign({ exp: seconds - 59 })}`)).toBe(agent);
    expect(await authenticate(`Bearer ${await sign({ exp: seconds + 300 })}`)).toBe(agent);
  });
});

test('a signature is checked once per token and key; whether the agent is still there, each time', async () => {
  const verified = new VerifiedTokens();
  let [there, at]: [AgentRecord | undefined, number] = [agent, NOW];
  const jwt = await sign();
  const ask = () => authenticateAgent({ identity: async () => there }, `Bearer ${jwt}`, () => at, verified);
  await ask();
  expect(verified.get(jwt)).toMatchObject({ agentId, publicKey: agent.publicKey });
  expect(await ask()).toBe(agent);
  there = undefined;
  await expect(ask()).rejects.toThrow('is not known here');
  there = { ...agent, publicKey: 'A'.repeat(43) };
  await expect(ask()).rejects.toThrow('signature');
  there = agent;
  at = NOW + 121_000;
  await expect(ask()).rejects.toThrow('"exp" claim');
});

test('tokens that were found to be right are forgotten, the oldest first', () => {
  const verified = new VerifiedTokens();
  const entry = { agentId, publicKey: 'x', expiresAt: 0 };
  for (let i = 0; i <= 20_000; i++) verified.add(`jwt-${i}`, entry);
  expect([verified.get('jwt-0'), verified.get('jwt-1'), verified.get('jwt-20000')]).toEqual([undefined, entry, entry]);
});

describe('refused with 401 and the reason', () => {
  const refused = (header: string | undefined) =>
    authenticate(header).then(
      () => expect.unreachable('it was let in'),
      (error: { status: number; message: string }) => {
        expect(error.status).toBe(401);
        return error.message;
      },
    );

  test.each([
    ['expired', { exp: seconds - 61 }, '"exp" claim'],
    ['too long', { exp: seconds + 361 }, 'more than 300 s ahead'],
    ['endless', { exp: undefined }, '"exp" claim'],
    ['for another audience', { aud: 'other' }, '"aud" claim'],
    ['issued by another', { iss: 'agt_someoneelse' }, '"iss" claim'],
    ['not valid yet', { nbf: seconds + 61 }, '"nbf" claim'],
    ['of a revoked agent', { sub: 'agt_aaaaaaaaaaaaaaaaaaaa' }, 'is not known here'],
    ['of no agent', { sub: 'root' }, 'is not an agent id'],
    ['without subject', { sub: undefined }, 'is not an agent id'],
  ])('a JWT %s', async (_what, over, reason) => {
    expect(await refused(`Bearer ${await sign(over)}`)).toContain(reason);
  });

  test('a JWT signed with another key, or not at all', async () => {
    const other = await generateKeyPair('EdDSA', { crv: 'Ed25519' });
    expect(await refused(`Bearer ${await sign({}, 'EdDSA', other.privateKey)}`)).toContain('signature');
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    expect(await refused(`Bearer ${part({ alg: 'none' })}.${part(claims)}.`)).toContain('alg');
    const hmac = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256' })
      .sign(Buffer.from(agent.publicKey, 'base64url'));
    expect(await refused(`Bearer ${hmac}`)).toContain('alg');
  });

  test('no header, another scheme, garbage', async () => {
    expect(await refused(undefined)).toContain('no agent JWT');
    expect(await refused('Basic abc')).toContain('not of that form');
    expect(await refused('Bearer a b')).toContain('not of that form');
    expect(await refused('Bearer garbage')).toContain('is not a JWT');
    expect(await refused(`Bearer sft_${'a'.repeat(43)}`)).toContain('is not a JWT');
  });
});
