import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { canonicalJson, type SigningKey, signedText } from '@sipfleet/contract';
import type { StoredSigningKey } from '../domain/identity.ts';
import type { Signer } from '../domain/signing.ts';
import type { KeyWrapper } from './key-wrapper.ts';

export interface SignerDeps {
  store: {
    signingKeys(): Promise<StoredSigningKey[]>;
    addSigningKey(key: StoredSigningKey): Promise<boolean>;
  };
  keys: KeyWrapper;
  /** Milliseconds since the epoch. */
  now: () => number;
}

/** RFC 8410: what stands before the 32 bytes of an Ed25519 private key in PKCS #8. */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Snapshots whose signature is kept: as many sites as change at a time. */
const MAX_SIGNED = 500;

const contextOf = (sequence: number): string => `signing key ${sequence}`;

const privateKeyOf = (seed: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: 'der', type: 'pkcs8' });

const signWith = (key: KeyObject, purpose: Parameters<typeof signedText>[0], body: string): string =>
  sign(null, Buffer.from(signedText(purpose, body)), key).toString('base64url');

/**
 * Signs with the newest key of the store; makes the first one where there is none. The store is asked each time, since another process
 * may have rotated: an agent that knows the new key takes no signature of the old one.
 */
export function createSigner({ store, keys, now }: SignerDeps): Signer {
  const opened = new Map<number, KeyObject>();
  /** Signatures of snapshots by the newest key. Every agent of a site asks for the same text, and a big one takes milliseconds to hash. */
  const signed = { by: 0, signatures: new Map<string, string>() };

  async function open({ sequence, wrapped }: StoredSigningKey): Promise<KeyObject> {
    const key = opened.get(sequence) ?? privateKeyOf(await keys.unwrap(wrapped, contextOf(sequence)));
    opened.set(sequence, key);
    return key;
  }

  async function chain(): Promise<StoredSigningKey[]> {
    const there = await store.signingKeys();
    if (there.length > 0) return there;
    await add(undefined);
    return store.signingKeys();
  }

  /** A key that follows on from `last`, signed by it; the first signs itself. */
  async function add(last: StoredSigningKey | undefined): Promise<void> {
    const sequence = (last?.sequence ?? 0) + 1;
    const { plain, wrapped } = await keys.generate(contextOf(sequence));
    const key = privateKeyOf(plain);
    const x = createPublicKey(key).export({ format: 'jwk' }).x as string;
    const by = last === undefined ? key : await open(last);
    const signature = signWith(by, 'keys', canonicalJson({ sequence, x } satisfies SigningKey));
    await store.addSigningKey({ sequence, x, signature, wrapped, createdAt: new Date(now()).toISOString() });
  }

  function remember(sequence: number, body: string, signature: string): void {
    const { signatures } = signed;
    if (signed.by !== sequence) signatures.clear();
    else if (signatures.size >= MAX_SIGNED) signatures.delete(signatures.keys().next().value as string);
    signed.by = sequence;
    signatures.set(body, signature);
  }

  const newest = async () => (await chain()).at(-1) as StoredSigningKey;

  return {
    chain,
    async current() {
      const { sequence, x } = await newest();
      return { sequence, x };
    },
    async sign(purpose, body) {
      const key = await newest();
      const known = signed.by === key.sequence && purpose === 'snapshot' ? signed.signatures.get(body) : undefined;
      const signature = known ?? signWith(await open(key), purpose, body);
      if (purpose === 'snapshot' && known === undefined) remember(key.sequence, body, signature);
      return `${key.sequence}.${signature}`;
    },
    async rotate() {
      await add(await newest());
      // Where another rotation came first, its key is the one that is new.
      return newest();
    },
  };
}
