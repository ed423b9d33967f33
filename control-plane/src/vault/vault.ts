import { createHmac, hkdfSync } from 'node:crypto';
import type { Secret } from '@sipfleet/contract';
import type { SealedSecret, SecretSealer } from '../domain/secrets.ts';
import { sealBundle } from './bundle.ts';
import type { KeyWrapper } from './key-wrapper.ts';
import { openBytes, sealBytes } from './sealed-bytes.ts';

const contextOf = (name: string): string => `secret ${name}`;

/** The rooms around see a {@link SecretSealer}: only here, and in its tests, is a Secret opened. */
export interface Vault extends SecretSealer {
  open(sealed: SealedSecret): Promise<Record<string, string>>;
}

/** Seals each Secret with a key of its own, which the wrapper keeps. */
export function createVault(keys: KeyWrapper): Vault {
  const open = async ({ name, wrappedKey, box }: SealedSecret): Promise<Record<string, string>> => {
    const plain = await keys.unwrap(wrappedKey, contextOf(name));
    const values = openBytes(derived(plain, 'values'), box, contextOf(name));
    return JSON.parse(values.toString('utf8')) as Record<string, string>;
  };
  return {
    open,
    bundle: async (to, secrets) => sealBundle(to, secrets, await Promise.all(secrets.map(({ spec }) => open(spec)))),
    async seal(secret, before) {
      const { name, description, data } = secret;
      const { plain, wrapped } = await dataKey(keys, name, before);
      const values = Buffer.from(JSON.stringify(data));
      return {
        kind: 'Secret',
        name,
        ...(description === undefined ? {} : { description }),
        fingerprints: fingerprintsOf(plain, data),
        wrappedKey: wrapped,
        box: sealBytes(derived(plain, 'values'), values, contextOf(name)),
      };
    },
  };
}

async function dataKey(keys: KeyWrapper, name: string, before: SealedSecret | undefined) {
  if (before === undefined) return keys.generate(contextOf(name));
  return { plain: await keys.unwrap(before.wrappedKey, contextOf(name)), wrapped: before.wrappedKey };
}

const derived = (key: Uint8Array, purpose: string): Buffer =>
  Buffer.from(hkdfSync('sha256', key, '', `sipfleet ${purpose} 1`, 32));

/** Keyed, so that nobody can try passwords against one; 64 bits, enough to tell a value from the one before. */
function fingerprintsOf(key: Uint8Array, data: Secret['data']): Record<string, string> {
  const hmacKey = derived(key, 'fingerprints');
  const fingerprint = (name: string, value: string) =>
    createHmac('sha256', hmacKey).update(`${name}\n${value}`).digest('hex').slice(0, 16);
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, fingerprint(name, value)]));
}
