import { expect, test } from 'vitest';
import type { ApiToken, Role } from '../domain/identity.ts';
import { authenticateOperator } from './operator.ts';
import { hashSecret, newAgentId, newSecret } from './secret.ts';

let now = Date.parse('2026-01-02T03:04:04Z');
const secret = newSecret('sft_', (length) => new Uint8Array(length).fill(5));
const stored = (role: Role): ApiToken => ({
  ...{ hash: hashSecret(secret), name: 'ci', role, sites: null, createdAt: '' },
  expiresAt: '2026-01-02T03:04:05Z',
});
const store = (role: Role) => ({
  apiToken: async (hash: string) => (hash === hashSecret(secret) ? stored(role) : undefined),
  now: () => now,
});
const enter = (role: Role, needed: Role, header: string | undefined = `Bearer ${secret}`) =>
  authenticateOperator(store(role), header, needed);

test('each role may do what those before it may', async () => {
  expect((await enter('viewer', 'viewer')).name).toBe('ci');
  expect((await enter('admin', 'viewer')).role).toBe('admin');
  expect((await enter('operator', 'operator')).role).toBe('operator');
  await expect(enter('viewer', 'operator')).rejects.toMatchObject({
    status: 403,
    message: 'ci has the role viewer; this needs operator',
  });
  await expect(enter('operator', 'admin')).rejects.toMatchObject({ status: 403 });
});

test('unknown, missing and malformed tokens are 401', async () => {
  for (const header of [`Bearer ${secret}x`, 'Bearer sft_', 'Bearer sfj_abc', 'Basic abc', ''])
    await expect(enter('admin', 'viewer', header)).rejects.toMatchObject({ status: 401 });
  await expect(authenticateOperator(store('admin'), undefined, 'viewer')).rejects.toMatchObject({ status: 401 });
});

test('the hash of a token is no token', async () => {
  await expect(enter('admin', 'viewer', `Bearer ${hashSecret(secret)}`)).rejects.toMatchObject({ status: 401 });
});

test('secrets carry 256 random bits behind a prefix, agent ids 100', () => {
  expect(secret).toMatch(/^sft_[\w-]{43}$/);
  expect(newAgentId((length) => new Uint8Array(length).map((_, i) => i * 13))).toMatch(/^agt_[a-z2-7]{20}$/);
});

test('a token that has expired is 401 and says since when', async () => {
  now += 1000;
  await expect(enter('admin', 'viewer')).rejects.toMatchObject({
    status: 401,
    message: 'the API token ci has expired at 2026-01-02T03:04:05Z',
  });
});
