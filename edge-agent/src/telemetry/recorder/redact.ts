import { createHmac } from 'node:crypto';

/** What must not leave the agent with a recorded message. */
export interface Redaction {
  /** Header names in lower case, beside those that always hide. */
  headers: readonly string[];
  /** Users in URIs are replaced by a keyed hash: the same user stays recognisable, by whoever has the key alone nobody else's name. */
  hashUsers: boolean;
  /** Of the hash; the same on every agent of a fleet, where hashes are to be comparable. */
  key: string;
}

/** Credentials of clients and proxies (RFC 3261 §20.7, §20.28), and cookies of WebSocket gateways. */
const ALWAYS = ['authorization', 'proxy-authorization', 'cookie'];

/**
 * A recorded message without what it must not tell. Header values are crossed out in place, so that lengths stay as they were on the wire;
 * hashed users change the length of the header part, never that of the body.
 */
export function createRedactor({ headers, hashUsers, key }: Redaction): (message: Uint8Array) => Buffer {
  const names = [...ALWAYS, ...headers].map((name) => name.replace(/[^a-z0-9-]/g, '')).join('|');
  // A value ends where the next line does not begin with white space (folding, RFC 3261 §7.3.1).
  const secret = new RegExp(`^((?:${names})[ \\t]*:[ \\t]*)([^\\r\\n]*(?:\\r\\n[ \\t][^\\r\\n]*)*)`, 'gim');
  return (message) => {
    const bytes = Buffer.from(message);
    const end = bytes.indexOf('\r\n\r\n');
    const head = bytes.subarray(0, end < 0 ? bytes.length : end).toString('latin1');
    let clean = head.replace(secret, (_all, name: string, value: string) => name + value.replace(/[^\r\n]/g, 'x'));
    // user, user:password and tel-like users; a URI without @ names no user.
    if (hashUsers)
      clean = clean.replace(
        /\b(sips?:)([^@\s<>;,:]+)(:[^@\s<>;,]*)?@/gi,
        (_all, scheme: string, user: string) => `${scheme}${hashed(user, key)}@`,
      );
    return Buffer.concat([Buffer.from(clean, 'latin1'), end < 0 ? Buffer.alloc(0) : bytes.subarray(end)]);
  };
}

const hashed = (user: string, key: string): string =>
  `u${createHmac('sha256', key).update(user).digest('hex').slice(0, 12)}`;
