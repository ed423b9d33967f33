import { randomBytes } from 'node:crypto';
import type { KeyWrapper } from './key-wrapper.ts';
import { openBytes, sealBytes } from './sealed-bytes.ts';

/** A wrapper whose key lives as long as the test. */
export function memoryKeys(): KeyWrapper {
  const master = randomBytes(32);
  return {
    async generate(context) {
      const plain = randomBytes(32);
      return { plain, wrapped: sealBytes(master, plain, context) };
    },
    unwrap: async (wrapped, context) => openBytes(master, wrapped, context),
  };
}
