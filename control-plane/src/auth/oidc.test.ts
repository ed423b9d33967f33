import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createOidc, type OidcOptions } from './oidc.ts';

const NOW = Date.parse('2026-01-02T03:04:05Z');
let issuer: string;
let key: CryptoKey;
let published: object[];
let asked: string[] = [];
const server = createServer((request, response) => {
  asked.push(request.url ?? '');
  const body = request.url?.startsWith('/realm/.well-known')
    ? { issuer, jwks_uri: `${issuer}/keys` }
    : { keys: published };
  response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}/realm`;
  const pair = await generateKeyPair('RS256');
  key = pair.privateKey;
  published = [{ ...(await exportJWK(pair.publicKey)), kid: 'one', alg: 'RS256' }];
});
afterAll(() => server.close());

const oidc = (over: Partial<OidcOptions> = {}) =>
  createOidc({
    issuer,
    audience: 'sipfleet',
    roleClaim: 'realm_access.roles',
    roles: { 'voice-view': 'viewer', 'voice-ops': 'operator', 'voice-admin': 'admin' },
    sitesClaim: 'https://sipfleet.example/sites',
    sitesDefault: 'all',
    ...over,
  });
const roles = (...names: string[]) => ({ realm_access: { roles: names } });
const sign = (claims: object, { signer = key, alg = 'RS256', kid = 'one', at = NOW } = {}) =>
  new SignJWT({ iss: issuer, aud: 'sipfleet', sub: 'u-1', preferred_username: 'ann', ...claims })
    .setProtectedHeader({ alg, kid })
    .setExpirationTime(at / 1000 + 300)
    .sign(signer);
const verify = async (claims: object, options?: Parameters<typeof sign>[1]) =>
  oidc().verify(await sign(claims, options), NOW);

describe('an operator is who the provider says', () => {
  test('with the greatest of their roles, and all sites', async () => {
    expect(await verify(roles('other', 'voice-ops', 'voice-view'))).toEqual({
      name: 'oidc:ann',
      role: 'operator',
      sites: null,
    });
  });

  test('with the sites of the claim, as a list or as words', async () => {
    const sites = (value: unknown) => verify({ ...roles('voice-ops'), 'https://sipfleet.example/sites': value });
    expect((await sites(['milan', 'rome'])).sites).toEqual(['milan', 'rome']);
    expect((await sites('milan rome')).sites).toEqual(['milan', 'rome']);
    expect((await sites(['*'])).sites).toBeNull();
    expect((await sites([])).sites).toEqual([]);
    expect((await sites(7)).sites).toEqual([]);
  });

  test('without the claim: nothing, where the default is none', async () => {
    expect((await oidc({ sitesDefault: 'none' }).verify(await sign(roles('voice-ops')), NOW)).sites).toEqual([]);
  });

  test('by a key that the provider brought in later', async () => {
    const checked = oidc();
    await checked.verify(await sign(roles('voice-ops')), NOW);
    const next = await generateKeyPair('ES256');
    published.push({ ...(await exportJWK(next.publicKey)), kid: 'two', alg: 'ES256' });
    const jwt = await sign(roles('voice-view'), { signer: next.privateKey, alg: 'ES256', kid: 'two' });
    // jose asks for the keys again at most twice a minute.
    expect((await oidc().verify(jwt, NOW)).role).toBe('viewer');
  });
});

describe('refused', () => {
  const refused = (claims: object, options?: Parameters<typeof sign>[1]) =>
    verify(claims, options).then(
      () => expect.unreachable('it was let in'),
      ({ status, message }: { status: number; message: string }) => `${status} ${message}`,
    );

  test('without a role: 403, and the claim is named', async () => {
    expect(await refused(roles('other'))).toBe(
      '403 oidc:ann has no role here: the claim realm_access.roles of its JWT holds none of voice-view, voice-ops, voice-admin',
    );
    expect(await refused({ roles: ['voice-admin'] })).toMatch(/^403 /);
    // Not what objects inherit either.
    expect(await refused(roles('constructor', '__proto__'))).toMatch(/^403 /);
  });

  test('for another audience, from another issuer, expired, without a subject', async () => {
    expect(await refused({ ...roles('voice-ops'), aud: 'other' })).toMatch(/^401 .*"aud"/);
    expect(await refused({ ...roles('voice-ops'), iss: 'https://evil.example' })).toMatch(/^401 .*"iss"/);
    expect(await refused(roles('voice-ops'), { at: NOW - 400_000 })).toMatch(/^401 .*"exp"/);
    expect(await refused({ ...roles('voice-ops'), sub: undefined })).toMatch(/^401 .*"sub"/);
  });

  test('signed by another key, by a shared secret, or not at all', async () => {
    const other = await generateKeyPair('RS256');
    expect(await refused(roles('voice-ops'), { signer: other.privateKey })).toMatch(/^401 .*signature/);
    asked = [];
    const secret = Buffer.alloc(32, 1) as unknown as CryptoKey;
    expect(await refused(roles('voice-ops'), { signer: secret, alg: 'HS256' })).toMatch(/^401 .*"HS256"/);
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const none = `${part({ alg: 'none' })}.${part({ iss: issuer, aud: 'sipfleet', sub: 'x', ...roles('voice-admin') })}.`;
    await expect(oidc().verify(none, NOW)).rejects.toMatchObject({ status: 401 });
    await expect(oidc().verify('garbage', NOW)).rejects.toMatchObject({ status: 401 });
    expect(asked).toEqual([]);
  });

  test('while the provider does not answer, and not once it does again', async () => {
    let up = false;
    const flaky = oidc({
      fetch: ((...args: Parameters<typeof fetch>) =>
        up ? fetch(...args) : Promise.reject(new Error('down'))) as typeof fetch,
    });
    const jwt = await sign(roles('voice-ops'));
    await expect(flaky.verify(jwt, NOW)).rejects.toMatchObject({
      status: 401,
      message: expect.stringContaining('does not answer'),
    });
    up = true;
    expect((await flaky.verify(jwt, NOW)).role).toBe('operator');
  });
});
