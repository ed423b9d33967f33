import { decodeJwt, errors, importJWK, jwtVerify } from 'jose';
import type { AgentIdentity } from '../domain/identity.ts';
import { AuthError, bearerOf } from './auth-error.ts';
import type { VerifiedTokens } from './verified-tokens.ts';

export interface Agents {
  identity(agentId: string): Promise<AgentIdentity | undefined>;
}

/** How far ahead an agent may set the end of a JWT: what leaks is soon worthless. */
const MAX_AHEAD_SECONDS = 300;
/** How far clocks may differ. */
const SKEW_SECONDS = 60;

/**
 * The agent that signed the JWT of an Authorization header: Ed25519 by the key it enrolled with, iss = sub = its id,
 * aud `sipfleet`. Throws {@link AuthError}.
 *
 * @param verified where tokens are kept that were found to be right
 */
export async function authenticateAgent(
  agents: Agents,
  header: string | undefined,
  now: () => number,
  verified?: VerifiedTokens,
): Promise<AgentIdentity> {
  const jwt = bearerOf(header, 'agent JWT');
  const known = verified?.get(jwt);
  const agentId = known?.agentId ?? subjectOf(jwt);
  const agent = await agents.identity(agentId);
  if (agent === undefined)
    throw new AuthError(401, `agent ${agentId} is not known here: it was revoked, or enrolled somewhere else`);
  const { publicKey } = agent;
  if (known?.publicKey === publicKey && now() / 1000 < known.expiresAt + SKEW_SECONDS) return agent;
  try {
    const key = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: publicKey }, 'EdDSA');
    const { payload } = await jwtVerify(jwt, key, {
      // RFC 9864 renames EdDSA with this curve to Ed25519: agents may use either.
      algorithms: ['EdDSA', 'Ed25519'],
      audience: 'sipfleet',
      issuer: agentId,
      subject: agentId,
      requiredClaims: ['exp'],
      clockTolerance: SKEW_SECONDS,
      currentDate: new Date(now()),
    });
    if ((payload.exp as number) > now() / 1000 + MAX_AHEAD_SECONDS + SKEW_SECONDS)
      throw new AuthError(401, `the JWT ends more than ${MAX_AHEAD_SECONDS} s ahead: check the clocks`);
    verified?.add(jwt, { agentId, publicKey, expiresAt: payload.exp as number });
    return agent;
  } catch (error) {
    if (error instanceof errors.JOSEError)
      throw new AuthError(401, `the JWT of agent ${agentId} is refused: ${error.message}`, { cause: error });
    throw error;
  }
}

/** Read before the signature is checked, to know whose key to check it with. */
function subjectOf(jwt: string): string {
  let subject: unknown;
  try {
    subject = decodeJwt(jwt).sub;
  } catch (error) {
    throw new AuthError(401, 'the bearer token is not a JWT', { cause: error });
  }
  if (typeof subject !== 'string' || !/^agt_[a-z2-7]{20}$/.test(subject))
    throw new AuthError(401, 'the subject of the JWT is not an agent id');
  return subject;
}
