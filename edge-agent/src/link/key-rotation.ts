import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { AgentKey, keyProofText, parseWith } from '@sipfleet/contract';
import type { Logger } from 'pino';
import { AgentError } from '../errors.ts';
import { Refusal } from './http.ts';
import { type Identity, type IdentityFile, readIdentity, writeIdentity } from './identity.ts';

export interface RotationPorts {
  data: string;
  identity: Identity;
  client: { registerKey(key: AgentKey): Promise<void> };
  /** Its socket was let in under the old key, and is asked nothing more by it. */
  push: { renew(): void };
  log: Pick<Logger, 'info' | 'warn'>;
}

/** What signs for an agent is replaced after this. */
export const KEY_LIFE_MS = 30 * 86_400_000;

/**
 * Replaces the key that this agent signs with where it is too old, or where a replacement was begun and not ended. The new one is on disk before it is
 * shown, and the old one until the control plane has said yes: whatever dies in between, one of the two is right. Never rejects: what runs goes on.
 */
export async function rotateKey(ports: RotationPorts, now: number): Promise<boolean> {
  const { data, push, log } = ports;
  try {
    const file = await readIdentity(data);
    if (!file?.agent) return false;
    const begun = file.nextKey !== undefined;
    if (!begun && file.keyMadeAt !== undefined && now - Date.parse(file.keyMadeAt) < KEY_LIFE_MS) return false;
    const nextKey = file.nextKey ?? generateKeyPairSync('ed25519').privateKey;
    if (!begun) await writeIdentity(data, { ...file, nextKey });
    await show(ports, nextKey, file);
    await writeIdentity(data, { ...file, key: nextKey, keyMadeAt: new Date(now).toISOString(), nextKey: undefined });
    push.renew();
    log.info('this agent signs with a new key');
    return true;
  } catch (error) {
    log.warn({ reason: (error as Error).message }, 'the key of this agent is not replaced yet');
    return false;
  }
}

/** By the old key, and where that is refused by the new one: an earlier try may have come through without an answer. */
async function show({ identity, client }: RotationPorts, nextKey: KeyObject, { key }: IdentityFile): Promise<void> {
  const publicKey = parseWith(AgentKey.shape.publicKey, createPublicKey(nextKey).export({ format: 'jwk' }));
  const proof = sign(null, Buffer.from(keyProofText(identity.agentId, publicKey.x)), nextKey).toString('base64url');
  try {
    await client.registerKey({ publicKey, proof });
    identity.adopt(nextKey);
  } catch (error) {
    const refused = error instanceof AgentError && error.cause instanceof Refusal && error.cause.status === 401;
    if (!refused) throw error;
    identity.adopt(nextKey);
    await client.registerKey({ publicKey, proof }).catch((second: unknown) => {
      identity.adopt(key);
      throw second;
    });
  }
}
