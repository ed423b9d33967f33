import { join } from 'node:path';
import type { ApiToken } from '../domain/identity.ts';
import { readOrMake } from '../secret-file.ts';
import { hashSecret, newSecret, type RandomBytes } from './secret.ts';

export interface AdminToken {
  /** `sft_…` */
  adminToken: string;
  /** It was made just now: print it once. */
  created: boolean;
}

export interface AdminTokenDeps {
  store: { apiToken(hash: string): Promise<ApiToken | undefined>; putApiToken(token: ApiToken): Promise<void> };
  dataDir: string;
  now: () => number;
  randomBytes: RandomBytes;
}

/** Where the local server keeps its own admin token, for its owner's CLI. */
export const tokenFile = (dataDir: string): string => join(dataDir, 'token');

/**
 * The admin token of a data directory: made on the first start and written readable by its owner only, read on later ones.
 * The file comes before its hash in the store, so that a crash between the two leaves a token that the next start registers.
 */
export async function ensureAdminToken({ store, dataDir, now, randomBytes }: AdminTokenDeps): Promise<AdminToken> {
  const file = tokenFile(dataDir);
  const { text: adminToken, made: created } = await readOrMake(file, newSecret('sft_', randomBytes));
  if (!/^sft_[\w-]{43}$/.test(adminToken))
    throw new Error(
      `${file} does not hold an API token (sft_ and 43 characters): put it right, or remove it to have one made`,
    );
  const hash = hashSecret(adminToken);
  if ((await store.apiToken(hash)) === undefined)
    await store.putApiToken({ hash, ...firstAdmin('local-admin', now()) });
  return { adminToken, created };
}

/** May everything, everywhere, for ever: with it the others are made. */
export const firstAdmin = (name: string, now: number): Omit<ApiToken, 'hash'> => ({
  ...{ name, role: 'admin', sites: null },
  createdAt: new Date(now).toISOString(),
  expiresAt: null,
});
