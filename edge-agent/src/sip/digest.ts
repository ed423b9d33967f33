import { createHash, timingSafeEqual } from 'node:crypto';

/**
 * Digest access authentication (RFC 7616, RFC 8760 for SIP; RFC 2069's form without qop is kept because
 * RFC 3261 §22.4 demands it). Works on header values as text: authentication is never on the packet path.
 */

/** RFC 8760 §2.1 names → OpenSSL's. Strongest first: the order in which a server should send its challenges. */
const HASHES = { 'SHA-512-256': 'sha512-256', 'SHA-256': 'sha256', MD5: 'md5' } as const;
export type DigestHash = keyof typeof HASHES;
export type DigestAlgorithm = DigestHash | `${DigestHash}-sess`;

/** One `WWW-Authenticate` or `Proxy-Authenticate` of the scheme Digest. */
export interface DigestChallenge {
  realm: string;
  nonce: string;
  algorithm: DigestAlgorithm;
  /** Empty: the server speaks RFC 2069, no qop is to be sent. */
  qop: string[];
  /** Only the nonce was too old: the same password may be tried again without asking the user. */
  stale: boolean;
  opaque?: string;
}

/** One `Authorization` or `Proxy-Authorization` of the scheme Digest. */
export interface DigestCredentials {
  username: string;
  realm: string;
  nonce: string;
  uri: string;
  /** Lower-case hexadecimal. */
  response: string;
  algorithm: DigestAlgorithm;
  opaque?: string;
  qop?: string;
  cnonce?: string;
  /** Eight hexadecimal digits. */
  nc?: string;
}

type Params = Map<string, string>;

const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const SPACE = /[ \t\r\n]*/y;

/** Reads `Scheme name=value, …` one after the other. Undefined at the first byte that does not fit the grammar. */
function readSchemes(text: string): { scheme: string; params: Params }[] | undefined {
  const out: { scheme: string; params: Params }[] = [];
  let at = 0;
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  const quoted = (): string | undefined => {
    let value = '';
    for (at++; at < text.length; at++) {
      if (text[at] === '"') {
        at++;
        return value;
      }
      if (text[at] === '\\') at++;
      value += text[at] ?? '';
    }
    return undefined;
  };
  for (;;) {
    while (match(SPACE) !== undefined && text[at] === ',') at++;
    if (at >= text.length) return out;
    const word = match(TOKEN);
    if (word === undefined) return undefined;
    match(SPACE);
    const current = out.at(-1);
    if (text[at] !== '=') {
      // A token that no `=` follows starts the next challenge (RFC 7235 §4.1).
      out.push({ scheme: word.toLowerCase(), params: new Map() });
      continue;
    }
    at++;
    match(SPACE);
    const value = text[at] === '"' ? quoted() : match(TOKEN);
    if (value === undefined || !current) return undefined;
    const name = word.toLowerCase();
    // Said twice: which one a peer means is a guess, and guesses about credentials are refused.
    if (current.params.has(name)) return undefined;
    current.params.set(name, value);
  }
}

function algorithmOf(params: Params): DigestAlgorithm | undefined {
  const [, hash, sess] = /^(.+?)(-sess)?$/i.exec(params.get('algorithm') ?? 'MD5') ?? [];
  const name = (Object.keys(HASHES) as DigestHash[]).find((h) => h === hash?.toUpperCase());
  return name && (sess ? `${name}-sess` : name);
}

const optional = <K extends string>(params: Params, name: K) =>
  (params.has(name) ? { [name]: params.get(name) } : {}) as { [P in K]?: string };

/**
 * Every Digest challenge in the values of the header fields, in their order; other schemes, unknown algorithms
 * and what cannot be read are stepped over, so that one odd challenge does not hide a usable one.
 *
 * @example parseChallenges(['Digest realm="pbx", nonce="1", algorithm=SHA-256, qop="auth"'])
 */
export function parseChallenges(values: readonly string[]): DigestChallenge[] {
  const out: DigestChallenge[] = [];
  for (const { scheme, params } of values.flatMap((value) => readSchemes(value) ?? [])) {
    const realm = params.get('realm');
    const nonce = params.get('nonce');
    const algorithm = algorithmOf(params);
    if (scheme !== 'digest' || realm === undefined || nonce === undefined || !algorithm) continue;
    const qop = (params.get('qop') ?? '').toLowerCase().split(',');
    out.push({
      realm,
      nonce,
      algorithm,
      qop: qop.map((q) => q.trim()).filter((q) => q !== ''),
      stale: params.get('stale')?.toLowerCase() === 'true',
      ...optional(params, 'opaque'),
    });
  }
  return out;
}

/** Undefined where the value is no complete Digest credentials. */
export function parseCredentials(value: string): DigestCredentials | undefined {
  const schemes = readSchemes(value);
  const params = schemes?.[0]?.params;
  if (!params || schemes.length !== 1 || schemes[0]?.scheme !== 'digest') return undefined;
  const need = (name: string): string => params.get(name) ?? '';
  const algorithm = algorithmOf(params);
  for (const name of ['username', 'realm', 'nonce', 'uri', 'response']) if (!params.has(name)) return undefined;
  const qop = params.get('qop')?.toLowerCase();
  if (!algorithm || (qop !== undefined && !(params.has('cnonce') && /^[0-9a-f]{8}$/i.test(need('nc')))))
    return undefined;
  return {
    username: need('username'),
    realm: need('realm'),
    nonce: need('nonce'),
    uri: need('uri'),
    response: need('response').toLowerCase(),
    algorithm,
    ...optional(params, 'opaque'),
    ...(qop === undefined ? {} : { qop }),
    ...optional(params, 'cnonce'),
    ...optional(params, 'nc'),
  };
}

const quote = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;

/** The challenge as a header value. RFC 8760 §2.3: one header field per challenge, the preferred algorithm topmost. */
export function formatChallenge(c: DigestChallenge): string {
  return [
    `Digest realm=${quote(c.realm)}`,
    `nonce=${quote(c.nonce)}`,
    ...(c.opaque === undefined ? [] : [`opaque=${quote(c.opaque)}`]),
    `algorithm=${c.algorithm}`,
    ...(c.qop.length === 0 ? [] : [`qop=${quote(c.qop.join(','))}`]),
    ...(c.stale ? ['stale=true'] : []),
  ].join(', ');
}

/** The credentials as a header value, quoted where RFC 7616 §3.4 quotes: qop, nc and algorithm are bare. */
export function formatCredentials(c: DigestCredentials): string {
  return [
    `Digest username=${quote(c.username)}`,
    `realm=${quote(c.realm)}`,
    `nonce=${quote(c.nonce)}`,
    `uri=${quote(c.uri)}`,
    `response=${quote(c.response)}`,
    `algorithm=${c.algorithm}`,
    ...(c.opaque === undefined ? [] : [`opaque=${quote(c.opaque)}`]),
    ...(c.qop === undefined ? [] : [`qop=${c.qop}`, `nc=${c.nc ?? ''}`, `cnonce=${quote(c.cnonce ?? '')}`]),
  ].join(', ');
}

function hash(algorithm: DigestAlgorithm, text: string): string {
  return createHash(HASHES[algorithm.replace('-sess', '') as DigestHash])
    .update(text, 'utf8')
    .digest('hex');
}

/** `H(username ":" realm ":" password)`: what a server keeps instead of the password, one per hash. */
export function secretOf(algorithm: DigestAlgorithm, username: string, realm: string, password: string): string {
  return hash(algorithm, `${username}:${realm}:${password}`);
}

/** RFC 7616 §3.4.1. `secret` is {@link secretOf} of the same algorithm. */
export function digestResponse(
  c: Omit<DigestCredentials, 'response' | 'username' | 'realm'>,
  secret: string,
  method: string,
): string {
  const a1 = c.algorithm.endsWith('-sess') ? hash(c.algorithm, `${secret}:${c.nonce}:${c.cnonce ?? ''}`) : secret;
  const a2 = hash(c.algorithm, `${method}:${c.uri}`);
  const middle = c.qop === undefined ? c.nonce : `${c.nonce}:${c.nc ?? ''}:${c.cnonce ?? ''}:${c.qop}`;
  return hash(c.algorithm, `${a1}:${middle}:${a2}`);
}

/**
 * The credentials that answer a challenge; undefined where it asks only for what is not spoken here (`auth-int`).
 * The caller counts `nc` up by one with every use of the same nonce.
 */
export function answerChallenge(
  challenge: DigestChallenge,
  who: { username: string; password: string },
  request: { method: string; uri: string },
  client: { cnonce: string; nc: number },
): DigestCredentials | undefined {
  const { realm, nonce, algorithm, opaque } = challenge;
  if (challenge.qop.length > 0 && !challenge.qop.includes('auth')) return undefined;
  const withQop =
    challenge.qop.length > 0 || algorithm.endsWith('-sess')
      ? { cnonce: client.cnonce, nc: client.nc.toString(16).padStart(8, '0') }
      : {};
  const base = {
    nonce,
    uri: request.uri,
    algorithm,
    ...(opaque === undefined ? {} : { opaque }),
    ...(challenge.qop.length > 0 ? { qop: 'auth' } : {}),
    ...withQop,
  };
  const secret = secretOf(algorithm, who.username, realm, who.password);
  return { username: who.username, realm, ...base, response: digestResponse(base, secret, request.method) };
}

/**
 * True if the response proves the secret. Takes the same time wherever the two differ (no byte-by-byte guessing).
 * That realm, nonce and uri are the server's own is for the caller to check.
 */
export function verifyCredentials(c: DigestCredentials, secret: string, method: string): boolean {
  if (c.qop !== undefined && c.qop !== 'auth') return false;
  const expected = Buffer.from(digestResponse(c, secret, method));
  const given = Buffer.from(c.response);
  return given.length === expected.length && timingSafeEqual(given, expected);
}
