import { createCipheriv, createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync } from 'node:crypto';
import { canonicalJson, SEAL_INFO, type SecretBundle } from '@sipfleet/contract';
import type { StoredSecret } from '../domain/configuration.ts';
import { type Recipient, revisionsOf } from '../domain/secrets.ts';

/**
 * Seals values so that only the recipient can open them: X25519 with a key made for this once, HKDF-SHA256, AES-256-GCM
 * (the shape of RFC 9180's base mode). Whom it is for and what is inside are authenticated with it.
 *
 * @param values in the order of `secrets`
 */
export function sealBundle(
  to: Recipient,
  secrets: readonly StoredSecret[],
  values: readonly Record<string, string>[],
): SecretBundle {
  const ephemeral = generateKeyPairSync('x25519');
  const ephemeralKey = ephemeral.publicKey.export({ format: 'jwk' }).x as string;
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: to.sealKey }, format: 'jwk' });
  const shared = diffieHellman({ privateKey: ephemeral.privateKey, publicKey });
  const salt = Buffer.concat([Buffer.from(ephemeralKey, 'base64url'), Buffer.from(to.sealKey, 'base64url')]);
  // The ephemeral key makes both unique to this bundle.
  const derived = Buffer.from(hkdfSync('sha256', shared, salt, SEAL_INFO, 44));
  const cipher = createCipheriv('aes-256-gcm', derived.subarray(0, 32), derived.subarray(32));
  const header = { format: 1 as const, agentId: to.agentId, secrets: revisionsOf(secrets) };
  cipher.setAAD(Buffer.from(canonicalJson(header)));
  const content = Object.fromEntries(secrets.map(({ spec }, i) => [spec.name, values[i]]));
  const sealed = [cipher.update(JSON.stringify(content), 'utf8'), cipher.final(), cipher.getAuthTag()];
  return { ...header, recipientKey: to.sealKey, ephemeralKey, box: Buffer.concat(sealed).toString('base64url') };
}
