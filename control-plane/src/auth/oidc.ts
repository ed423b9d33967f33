import { createRemoteJWKSet, customFetch, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose';
import { type Operator, ROLES, type Role } from '../domain/identity.ts';
import { AuthError } from './auth-error.ts';

/** How people who are known to an identity provider are let in. */
export interface OidcOptions {
  /** As the provider writes it into `iss`: `https://login.example.com/realms/voice`. */
  readonly issuer: string;
  /** What its tokens must be for: `aud`. */
  readonly audience: string;
  /** The claim that holds a role or a list of them; a dot goes inside (`realm_access.roles`). */
  readonly roleClaim: string;
  /** Values of that claim → role; what is not here is left aside. */
  readonly roles: Readonly<Record<string, Role>>;
  /** The claim that holds the sites that its holder may change; where it is missing, `sitesDefault`. */
  readonly sitesClaim: string;
  readonly sitesDefault: 'all' | 'none';
  readonly fetch?: typeof fetch;
}

export interface Oidc {
  /** Throws {@link AuthError}. */
  verify(jwt: string, now: number): Promise<Operator>;
}

/** Asymmetric ones: a shared secret would let who verifies also sign (RFC 8725 §3.1). */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
const SKEW_SECONDS = 60;
const DISCOVERY_MS = 10_000;

/** Verifies JWTs by the keys that the issuer publishes (OpenID Connect Discovery 1.0 §4); they are asked for when first needed. */
export function createOidc(options: OidcOptions): Oidc {
  const { issuer, audience, fetch: send = fetch } = options;
  let keys: Promise<ReturnType<typeof createRemoteJWKSet>> | undefined;

  async function discover() {
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const response = await send(url, { signal: AbortSignal.timeout(DISCOVERY_MS) });
    if (!response.ok) throw new Error(`${url} was answered ${response.status}`);
    const found = (await response.json()) as { issuer?: unknown; jwks_uri?: unknown };
    if (found.issuer !== issuer) throw new Error(`${url} is of another issuer: ${JSON.stringify(found.issuer)}`);
    if (typeof found.jwks_uri !== 'string') throw new Error(`${url} names no jwks_uri`);
    return createRemoteJWKSet(new URL(found.jwks_uri), { [customFetch]: send as never });
  }

  function keySet() {
    keys ??= discover().catch((error: unknown) => {
      // Asked again with the next request.
      keys = undefined;
      throw error;
    });
    return keys;
  }

  return {
    async verify(jwt, now) {
      checkAlgorithm(jwt);
      let set: Awaited<ReturnType<typeof discover>>;
      try {
        set = await keySet();
      } catch (error) {
        throw new AuthError(401, 'the identity provider does not answer: use an API token, or try again', {
          cause: error,
        });
      }
      const verify = { issuer, audience, algorithms: ALGORITHMS, requiredClaims: ['exp', 'sub'] };
      try {
        const currentDate = new Date(now);
        const { payload } = await jwtVerify(jwt, set, { ...verify, clockTolerance: SKEW_SECONDS, currentDate });
        return operatorOf(payload, options);
      } catch (error) {
        if (error instanceof errors.JOSEError)
          throw new AuthError(401, `the JWT is refused: ${error.message}`, { cause: error });
        throw error;
      }
    },
  };
}

/** Before anything is fetched: a stranger's token must not make us ask the provider. */
function checkAlgorithm(jwt: string): void {
  let alg: unknown;
  try {
    alg = decodeProtectedHeader(jwt).alg;
  } catch (error) {
    throw new AuthError(401, 'the bearer token is neither an API token nor a JWT', { cause: error });
  }
  if (typeof alg !== 'string' || !ALGORITHMS.includes(alg))
    throw new AuthError(401, `the JWT is refused: it is signed by ${JSON.stringify(alg)}`);
}

function operatorOf(payload: JWTPayload, options: OidcOptions): Operator {
  const { roleClaim, roles, sitesClaim, sitesDefault } = options;
  const subject = [payload.preferred_username, payload.email, payload.sub].find((v) => typeof v === 'string') as string;
  const name = `oidc:${subject.slice(0, 100)}`;
  const granted = listOf(claimAt(payload, roleClaim)).flatMap((value) =>
    Object.hasOwn(roles, value) ? roles[value] : [],
  );
  const role = ROLES.findLast((candidate) => granted.includes(candidate));
  if (role === undefined)
    throw new AuthError(
      403,
      `${name} has no role here: the claim ${roleClaim} of its JWT holds none of ${Object.keys(roles).join(', ')}`,
    );
  const claimed = claimAt(payload, sitesClaim);
  const sites = claimed === undefined ? (sitesDefault === 'all' ? null : []) : listOf(claimed);
  return { name, role, sites: sites?.includes('*') ? null : sites };
}

function claimAt(payload: JWTPayload, path: string): unknown {
  // A claim may have dots in its own name (a URL): as a whole it comes first.
  if (Object.hasOwn(payload, path)) return payload[path];
  let at: unknown = payload;
  for (const key of path.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Record<string, unknown>)[key];
  }
  return at;
}

const listOf = (value: unknown): string[] => {
  if (typeof value === 'string') return value.split(/[\s,]+/).filter(Boolean);
  return Array.isArray(value) ? value.filter((v) => typeof v === 'string') : [];
};
