import { type ApiToken, allows, type Role } from '../domain/identity.ts';
import { AuthError, bearerOf } from './auth-error.ts';
import { hashSecret } from './secret.ts';

export interface ApiTokens {
  apiToken(hash: string): Promise<ApiToken | undefined>;
}

/** Who holds the token of an Authorization header, if it may do what needs `role`. Throws {@link AuthError}. */
export async function authenticateOperator(
  tokens: ApiTokens,
  header: string | undefined,
  role: Role,
): Promise<ApiToken> {
  const secret = bearerOf(header, 'API token');
  const token = secret.startsWith('sft_') ? await tokens.apiToken(hashSecret(secret)) : undefined;
  if (token === undefined) throw new AuthError(401, 'this API token is not known here');
  if (!allows(token.role, role))
    throw new AuthError(403, `the token ${token.name} has the role ${token.role}; this needs ${role}`);
  return token;
}
