import { randomBytes } from 'node:crypto';
import { readOrMake } from '../secret-file.ts';
import type { KeyWrapper } from './key-wrapper.ts';
import { openBytes, sealBytes } from './sealed-bytes.ts';

/**
 * The key in a file, made on the first start and readable by its owner only. A copy of the database without this file opens nothing,
 * and this file without the database holds nothing: back both up, apart from each other.
 */
export async function localKeys(file: string): Promise<KeyWrapper> {
  const { text } = await readOrMake(file, randomBytes(32).toString('base64url'));
  const master = Buffer.from(text, 'base64url');
  if (!/^[\w-]{43}$/.test(text) || master.length !== 32)
    throw new Error(`${file} does not hold a key (32 bytes as base64url): put the right one back`);
  return {
    async generate(context) {
      const plain = randomBytes(32);
      return { plain, wrapped: sealBytes(master, plain, context) };
    },
    async unwrap(wrapped, context) {
      try {
        return openBytes(master, wrapped, context);
      } catch (cause) {
        throw new Error(`${file} is not the key that this store was sealed with: put the right one back`, { cause });
      }
    },
  };
}
