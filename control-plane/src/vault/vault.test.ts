import { createPublicKey, randomBytes, verify } from 'node:crypto';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canonicalJson, type Secret, signedText } from '@sipfleet/contract';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SealedSecret } from '../domain/secrets.ts';
import { changedKeys, sameSecret, viewOf } from '../domain/secrets.ts';
import { openSqliteStore } from '../store/sqlite.ts';
import type { KeyWrapper } from './key-wrapper.ts';
import { memoryKeys } from './keys.fixture.ts';
import { type KmsClient, kmsKeys } from './kms-keys.ts';
import { localKeys } from './local-keys.ts';
import { openBytes, sealBytes } from './sealed-bytes.ts';
import { createSigner } from './signer.ts';
import { createVault } from './vault.ts';

const CANARY = 'canary-in-a-coal-mine';
const secret = (data: Secret['data'], over: Partial<Secret> = {}): Secret => ({
  kind: 'Secret',
  name: 'tls',
  data,
  ...over,
});

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sipfleet-vault-'));
});
afterEach(() => rm(dir, { recursive: true }));

/** AWS KMS as far as it is used: what it wraps it opens again, under the same key and context. */
function fakeKms() {
  const master = randomBytes(32);
  const calls: string[] = [];
  const contextOf = (id: string, context: Record<string, string>) => canonicalJson([id, context]);
  const client: KmsClient = {
    async generateDataKey({ KeyId, KeySpec, EncryptionContext }) {
      calls.push(`generate ${KeySpec}`);
      const Plaintext = randomBytes(32);
      const wrapped = sealBytes(master, Plaintext, contextOf(KeyId, EncryptionContext));
      return { Plaintext, CiphertextBlob: Buffer.from(wrapped, 'base64url') };
    },
    async decrypt({ KeyId, CiphertextBlob, EncryptionContext }) {
      calls.push('decrypt');
      const wrapped = Buffer.from(CiphertextBlob).toString('base64url');
      return { Plaintext: openBytes(master, wrapped, contextOf(KeyId, EncryptionContext)) };
    },
  };
  return { client, calls };
}

describe.each<[string, () => Promise<KeyWrapper>]>([
  ['a file', () => localKeys(join(dir, 'secret.key'))],
  ['KMS', async () => kmsKeys(fakeKms().client, 'alias/sipfleet')],
])('the key in %s', (_where, open) => {
  test('unwraps what it wrapped, under the same context alone', async () => {
    const keys = await open();
    const made = await keys.generate('secret tls');
    expect(made.plain).toHaveLength(32);
    expect(made.wrapped).not.toContain(Buffer.from(made.plain).toString('base64url'));
    expect(Buffer.from(await keys.unwrap(made.wrapped, 'secret tls'))).toEqual(Buffer.from(made.plain));
    await expect(keys.unwrap(made.wrapped, 'secret other')).rejects.toThrow();
    await expect((await open()).unwrap('AAAA', 'secret tls')).rejects.toThrow();
  });
});

test('the key file is made once, for its owner only, and refused by name where it is damaged or another', async () => {
  const file = join(dir, 'secret.key');
  const { wrapped, plain } = await (await localKeys(file)).generate('x');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await (await localKeys(file)).unwrap(wrapped, 'x')).toEqual(plain);
  const other = join(dir, 'other.key');
  await expect((await localKeys(other)).unwrap(wrapped, 'x')).rejects.toThrow(`${other} is not the key`);
  await writeFile(file, 'short\n');
  await expect(localKeys(file)).rejects.toThrow(`${file} does not hold a key`);
});

test('KMS is asked once per key, and again after a restart', async () => {
  const { client, calls } = fakeKms();
  const keys = kmsKeys(client, 'alias/sipfleet');
  const { wrapped } = await keys.generate('x');
  await keys.unwrap(wrapped, 'x');
  expect(calls).toEqual(['generate AES_256']);
  const restarted = kmsKeys(client, 'alias/sipfleet');
  await restarted.unwrap(wrapped, 'x');
  await restarted.unwrap(wrapped, 'x');
  expect(calls).toEqual(['generate AES_256', 'decrypt']);
});

describe('a Secret', () => {
  const vault = createVault(memoryKeys());

  test('is sealed and opened; what is stored shows no value', async () => {
    const sealed = await vault.seal(secret({ privateKey: CANARY, password: '1' }), undefined);
    expect(await vault.open(sealed)).toEqual({ privateKey: CANARY, password: '1' });
    expect(JSON.stringify(sealed)).not.toContain(CANARY);
    expect(Buffer.from(sealed.box, 'base64url').toString('latin1')).not.toContain(CANARY);
    expect(Object.keys(viewOf(sealed))).toEqual(['kind', 'name', 'fingerprints']);
  });

  test('moved to another name, or changed by a bit, it opens no more', async () => {
    const sealed = await vault.seal(secret({ a: CANARY }), undefined);
    await expect(vault.open({ ...sealed, name: 'other' })).rejects.toThrow();
    const box = Buffer.from(sealed.box, 'base64url');
    box[20]! ^= 1;
    await expect(vault.open({ ...sealed, box: box.toString('base64url') })).rejects.toThrow();
    await expect(createVault(memoryKeys()).open(sealed)).rejects.toThrow();
  });

  test('is known to be the same by its fingerprints, which tell nothing across Secrets', async () => {
    const first = await vault.seal(secret({ a: '1', b: '2', c: '3' }), undefined);
    const again = await vault.seal(secret({ c: '3', b: '2', a: '1' }), first);
    expect(sameSecret(first, again)).toBe(true);
    const changed = await vault.seal(secret({ a: '1', b: 'x', d: '3' }), first);
    expect(changedKeys(first, changed)).toEqual(['b', 'c', 'd']);
    expect(sameSecret(first, await vault.seal(secret({ a: '1', b: '2', c: '3' }, { description: 'd' }), first))).toBe(
      false,
    );
    const other = await vault.seal(secret({ a: '1' }, { name: 'other' }), undefined);
    const [one, two]: SealedSecret['fingerprints'][] = [first.fingerprints, other.fingerprints];
    expect(one.a).not.toBe(two.a);
  });
});

describe('signatures', () => {
  const open = (keys = memoryKeys(), store = openSqliteStore(':memory:')) => ({
    keys,
    store,
    signer: createSigner({ store, keys, now: () => 0 }),
  });
  const verifies = (x: string, text: string, signature: string) =>
    verify(
      null,
      Buffer.from(text),
      createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }),
      Buffer.from(signature, 'base64url'),
    );

  test('the first key is made when it is needed, signs itself, and what it signs verifies for its purpose alone', async () => {
    const { signer } = open();
    const [sequence, signature] = (await signer.sign('snapshot', 'body')).split('.') as [string, string];
    const { x, sequence: current } = await signer.current();
    expect([sequence, current]).toEqual(['1', 1]);
    expect(verifies(x, signedText('snapshot', 'body'), signature)).toBe(true);
    expect(verifies(x, signedText('secrets', 'body'), signature)).toBe(false);
    const [first] = await signer.chain();
    expect(verifies(x, signedText('keys', canonicalJson({ sequence: 1, x })), first?.signature ?? '')).toBe(true);
  });

  test('a new key is signed by the one before it, and every process signs with it at once', async () => {
    const { signer, keys, store } = open();
    const other = open(keys, store).signer;
    await other.sign('snapshot', '');
    const { sequence, x } = await signer.rotate();
    expect(sequence).toBe(2);
    expect(await other.sign('snapshot', 'body')).toMatch(/^2\./);
    const [first, second] = await other.chain();
    const text = signedText('keys', canonicalJson({ sequence, x }));
    expect(verifies(first?.x ?? '', text, second?.signature ?? '')).toBe(true);
  });

  test('the same snapshot has the same signature, another one another, and a rotation makes a new one', async () => {
    const { signer } = open();
    const first = await signer.sign('snapshot', 'body');
    expect(await signer.sign('snapshot', 'body')).toBe(first);
    expect(await signer.sign('snapshot', 'other')).not.toBe(first);
    expect(await signer.sign('secrets', 'body')).not.toBe(first);
    await signer.rotate();
    const second = await signer.sign('snapshot', 'body');
    expect(second.slice(2)).not.toBe(first.slice(2));
    expect(await signer.sign('snapshot', 'body')).toBe(second);
  });

  test('two processes that start at once agree on the first key', async () => {
    const { signer, keys, store } = open();
    const other = open(keys, store).signer;
    await Promise.all([signer.sign('snapshot', ''), other.sign('snapshot', '')]);
    expect(await signer.chain()).toHaveLength(1);
    expect(await signer.current()).toEqual(await other.current());
  });

  test('another wrapper opens no stored key', async () => {
    const { signer, store } = open();
    await signer.sign('snapshot', '');
    await expect(open(memoryKeys(), store).signer.sign('snapshot', '')).rejects.toThrow();
  });
});
