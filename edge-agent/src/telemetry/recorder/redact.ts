import { createHmac } from 'node:crypto';

/** What must not leave the agent with a recorded message. */
export interface Redaction {
  /** Header names in lower case, beside those that always hide. */
  headers: readonly string[];
  /** Users in URIs are replaced by a keyed hash: the same user stays recognisable, and nobody is named. */
  hashUsers: boolean;
  /** Of the hash; the same on every agent of a fleet, where hashes are to be comparable. */
  key: string;
}

/** A message as it may leave. */
export type Redactor = (message: Uint8Array) => Buffer;

/** Credentials of clients and proxies (RFC 3261 §20.7, §20.28), what proves that a server knows the password, and cookies of WebSocket gateways. */
const ALWAYS = [
  'authorization',
  'proxy-authorization',
  'authentication-info',
  'proxy-authentication-info',
  'cookie',
  'set-cookie',
];
/** Names callers and callees where users are hashed: numbers inside a signed token (RFC 8224). */
const NAMES_USERS = ['identity'];
/** RFC 3261 §7.3.3 and the registry of compact forms. */
const COMPACT: Readonly<Record<string, string>> = {
  'call-id': 'i',
  contact: 'm',
  'content-encoding': 'e',
  'content-length': 'l',
  'content-type': 'c',
  from: 'f',
  identity: 'y',
  'refer-to': 'r',
  'referred-by': 'b',
  subject: 's',
  supported: 'k',
  to: 't',
  via: 'v',
};

/** Keys of SRTP (RFC 4568 §6.1) and the password of ICE (RFC 8839 §5.4), wherever SDP stands. */
const SDP_SECRET = /^(a=crypto:[^\r\n]*?inline:|a=ice-pwd:)([^\r\n]*)/gim;
// Each of these goes over a message once, whatever stands in it: what one run takes, no other run begins in.
const USER = /\b(sips?:)([^@\s<>":;]+)(?:;[^@\s<>":]*)?(?::[^@\s<>":]*)?@/gi;
const NUMBER = /\b(tel:)([^\s<>":;,?]+)/gi;
/** A quoted display name, or the value of a parameter, which stays. */
const QUOTED = /(=[ \t]*)?"(?:[^"\\\r\n]|\\[^\r\n]?)*(?:"|$)/gm;
const UNQUOTED = /([:,])([^<>:,;"=\r\n]+)(?=<(?:sips?|tel):)/gi;
const ORIGIN = /^(o=)(\S+)/gm;

const crossed = (text: string): string => text.replace(/[^\s"]/g, 'x');
/** What is left of digest credentials (RFC 3261 §25.1), so that whoever reads the message still finds credentials: decoders call others malformed. */
const DIGEST = /^(\s*)digest(?=\s)/i;
const DIGEST_PART =
  /\b(?:username|realm|nonce|uri|response|algorithm|cnonce|opaque|qop|nc|auts|nextnonce|rspauth)=|\\[^\r\n]|[^\s",]/gi;
const crossOutHeader = (_all: string, before: string, value: string): string => {
  const kept = DIGEST.exec(value)?.[0] ?? '';
  if (kept === '') return before + value.replace(/[^\r\n]/g, 'x');
  const rest = value
    .slice(kept.length)
    .replace(DIGEST_PART, (part) => (/^\w+=$/.test(part) ? part : 'x'.repeat(part.length)));
  return before + kept + rest;
};
const crossOut = (_all: string, before: string, secret: string): string => before + secret.replace(/[^\r\n]/g, 'x');

/**
 * A recorded message without what it must not tell. What is secret is crossed out in place, also where a body holds a message (message/sipfrag), so
 * that lengths stay as they were on the wire. Hashed users change the length of the header part, never that of the body, where they are crossed out.
 */
export function createRedactor(redaction: Redaction): Redactor {
  const { headers, hashUsers } = redaction;
  const hidden = [...ALWAYS, ...headers, ...(hashUsers ? NAMES_USERS : [])].flatMap(bothForms);
  const names = hidden.map((name) => name.replace(/[^a-z0-9-]/g, '')).join('|');
  // A value ends where the next line does not begin with white space (folding, RFC 3261 §7.3.1).
  const secret = new RegExp(`^((?:${names})[ \\t]*:[ \\t]*)([^\\r\\n]*(?:(?:\\r\\n|\\r|\\n)[ \\t][^\\r\\n]*)*)`, 'gim');
  const hash = createUserHash(redaction);
  return (message) => {
    const text = Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString('latin1');
    const clean = text.replace(secret, crossOutHeader).replace(SDP_SECRET, crossOut);
    if (!hashUsers) return Buffer.from(clean, 'latin1');
    const end = /\r?\n\r?\n/.exec(clean)?.index ?? clean.length;
    return Buffer.from(withoutNames(clean.slice(0, end), hash) + withoutUsers(clean.slice(end)), 'latin1');
  };
}

/** The keyed hash of a user as it stands in recorded messages; the user itself where users are not hashed. */
export function createUserHash({ hashUsers, key }: Redaction): (user: string) => string {
  if (!hashUsers) return (user) => user;
  return (user) => `u${createHmac('sha256', key).update(plain(user)).digest('hex').slice(0, 16)}`;
}

/** Escaped or not, it is the same user (RFC 3261 §19.1.4). */
function plain(user: string): string {
  try {
    return decodeURIComponent(user);
  } catch {
    return user;
  }
}

const withoutNames = (head: string, hash: (user: string) => string): string =>
  head
    .replace(USER, (_all, scheme: string, user: string) => `${scheme}${hash(user)}@`)
    .replace(NUMBER, (_all, scheme: string, number: string) => scheme + hash(number))
    .replace(QUOTED, (all, parameter: string | undefined) => (parameter === undefined ? crossed(all) : all))
    .replace(UNQUOTED, (_all, before: string, name: string) => before + crossed(name));

const withoutUsers = (body: string): string =>
  body.replace(USER, crossOutUser).replace(NUMBER, crossOut).replace(ORIGIN, crossOut);

/** Between the scheme and the @. */
const crossOutUser = (all: string, scheme: string): string =>
  `${scheme}${all.slice(scheme.length, -1).replace(/[^\r\n]/g, 'x')}@`;

function bothForms(name: string): string[] {
  const long = Object.keys(COMPACT).find((key) => COMPACT[key] === name);
  return [name, COMPACT[name] ?? long ?? name];
}
