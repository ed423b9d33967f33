import { createHash } from 'node:crypto';

export type RandomBytes = (length: number) => Uint8Array;

/** `sft_`: an operator's API token. `sfj_`: an agent's one-time join token. The prefix lets secret scanners find a leaked one. */
export const newSecret = (prefix: 'sft_' | 'sfj_', randomBytes: RandomBytes): string =>
  prefix + Buffer.from(randomBytes(32)).toString('base64url');

/**
 * SHA-256 as hex, by which a token is stored and looked up. Plain SHA-256 serves: the token has 256 random bits, so there is
 * nothing to guess, and a look-up by hash leaks no timing of the token.
 */
export const hashSecret = (secret: string): string => createHash('sha256').update(secret).digest('hex');

/** 20 characters of base32: 100 random bits, safe in file names, URLs and labels. */
export const newAgentId = (randomBytes: RandomBytes): string =>
  'agt_' + Array.from(randomBytes(20), (byte) => 'abcdefghijklmnopqrstuvwxyz234567'[byte & 31]).join('');
