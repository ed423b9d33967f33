import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { SecretBundle } from '@sipfleet/contract';
import { beforeAll, expect, test } from 'vitest';
import { memoryKeys } from '../../control-plane/src/vault/keys.fixture.ts';
import { createVault } from '../../control-plane/src/vault/vault.ts';
import { openBundle, pointOf } from '../../edge-agent/src/link/seal.ts';

/** What the control plane seals, as an agent opens it. */

const vault = createVault(memoryKeys());
const key: KeyObject = generateKeyPairSync('x25519').privateKey;
const to = { agentId: 'agt_1', sealKey: pointOf(key) };
const data = { certificate: '-----BEGIN…', privateKey: 'ünïcode\n' };

async function sealed(): Promise<SecretBundle> {
  const spec = await vault.seal({ kind: 'Secret', name: 'tls', data }, undefined);
  return vault.bundle(to, [{ spec, revision: 7, updatedAt: '' }]);
}
let bundle: SecretBundle;
beforeAll(async () => {
  bundle = await sealed();
});

test('an agent opens what was sealed to it; no two bundles are alike', async () => {
  expect(openBundle(bundle, 'agt_1', key)).toEqual(new Map([['tls', data]]));
  expect(openBundle(await vault.bundle(to, []), 'agt_1', key)).toEqual(new Map());
  const other = await sealed();
  expect([other.ephemeralKey, other.box]).not.toEqual([bundle.ephemeralKey, bundle.box]);
});

test('another key, agent, revision or a changed bit opens nothing', () => {
  const flipped = Buffer.from(bundle.box, 'base64url');
  flipped[3]! ^= 4;
  const stranger = generateKeyPairSync('x25519');
  const strangers = stranger.publicKey.export({ format: 'jwk' }).x as string;
  const attempts: [SecretBundle, string, KeyObject][] = [
    [bundle, 'agt_1', stranger.privateKey],
    [bundle, 'agt_2', key],
    [{ ...bundle, secrets: { tls: 8 } }, 'agt_1', key],
    [{ ...bundle, secrets: { tls: 7, more: 7 } }, 'agt_1', key],
    [{ ...bundle, ephemeralKey: strangers }, 'agt_1', key],
    [{ ...bundle, box: flipped.toString('base64url') }, 'agt_1', key],
    [{ ...bundle, box: bundle.box.slice(0, 40) }, 'agt_1', key],
    [{ ...bundle, box: '' }, 'agt_1', key],
    // Of small order: the exchange would give zeroes that anybody knows (RFC 7748 §6.1).
    [{ ...bundle, ephemeralKey: Buffer.alloc(32).toString('base64url') }, 'agt_1', key],
  ];
  for (const [i, [of, agentId, by]] of attempts.entries())
    expect(() => openBundle(of, agentId, by), `attempt ${i}`).toThrow();
});
