import { type ApiToken, allows, type Operator, type Role } from '../domain/identity.ts';
import { AuthError, bearerOf } from './auth-error.ts';
import type { Oidc } from './oidc.ts';
import { hashSecret } from './secret.ts';

export interface OperatorProofs {
  apiToken(hash: string): Promise<ApiToken | undefined>;
  /** Undefined: API tokens alone are good here. */
  oidc?: Oidc | undefined;
  /** Milliseconds since the epoch. */
  now: () => number;
}

/** Who holds the API token or JWT of an Authorization header, if they may do what needs `role`. Throws {@link AuthError}. */
export async function authenticateOperator(
  proofs: OperatorProofs,
  header: string | undefined,
  role: Role,
): Promise<Operator> {
  const secret = bearerOf(header, 'API token');
  const operator = secret.startsWith('sft_') ? await byToken(proofs, secret) : await byJwt(proofs, secret);
  if (!allows(operator.role, role))
    throw new AuthError(403, `${operator.name} has the role ${operator.role}; this needs ${role}`);
  return operator;
}

async function byToken({ apiToken, now }: OperatorProofs, secret: string): Promise<Operator> {
  const token = await apiToken(hashSecret(secret));
  if (token === undefined)
    throw new AuthError(401, 'this API token is not known here: it was revoked, or made elsewhere');
  if (token.expiresAt !== null && Date.parse(token.expiresAt) <= now())
    throw new AuthError(401, `the API token ${token.name} has expired at ${token.expiresAt}`);
  return token;
}

async function byJwt({ oidc, now }: OperatorProofs, jwt: string): Promise<Operator> {
  if (oidc === undefined) throw new AuthError(401, 'this API token is not known here');
  return oidc.verify(jwt, now());
}
