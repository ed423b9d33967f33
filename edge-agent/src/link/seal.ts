import { createDecipheriv, createPublicKey, diffieHellman, hkdfSync, type KeyObject } from 'node:crypto';
import { canonicalJson, SEAL_INFO, type SecretBundle } from '@sipfleet/contract';
import type { Secrets } from '../ports.ts';

const TAG = 16;

/** The `x` of an X25519 key's JWK. */
export const pointOf = (key: KeyObject): string => createPublicKey(key).export({ format: 'jwk' }).x as string;

/**
 * Opens a bundle that was sealed to this key, as the contract's `SecretBundle` describes it.
 * Throws where it was sealed to another key or agent, or was changed on its way.
 */
export function openBundle(bundle: SecretBundle, agentId: string, key: KeyObject): Secrets {
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: bundle.ephemeralKey }, format: 'jwk' });
  const shared = diffieHellman({ privateKey: key, publicKey });
  const salt = Buffer.concat([Buffer.from(bundle.ephemeralKey, 'base64url'), Buffer.from(pointOf(key), 'base64url')]);
  const derived = Buffer.from(hkdfSync('sha256', shared, salt, SEAL_INFO, 44));
  const box = Buffer.from(bundle.box, 'base64url');
  const decipher = createDecipheriv('aes-256-gcm', derived.subarray(0, 32), derived.subarray(32), {
    authTagLength: TAG,
  });
  const { format, secrets } = bundle;
  decipher.setAAD(Buffer.from(canonicalJson({ format, agentId, secrets })));
  decipher.setAuthTag(box.subarray(-TAG));
  const plain = Buffer.concat([decipher.update(box.subarray(0, -TAG)), decipher.final()]);
  return new Map(Object.entries(JSON.parse(plain.toString('utf8')) as Record<string, Record<string, string>>));
}
