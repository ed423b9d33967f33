import type { AffinityKey } from '../plan.ts';
import type { Endpoint } from '../ports.ts';
import { finish, hash32, MIX_SEED, mix } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { METHOD } from '../sip/method.ts';
import { address, nextAddress, SCHEME, UriView } from '../sip/uri.ts';

/** URI of From or To. */
const other = new UriView();

/**
 * The affinity key's hash, the same on every agent. `uri` is the parsed Request-URI, `from` where the request came from.
 *
 * - `user`: the callee. Of REGISTER the To address-of-record (its Request-URI names the registrar only), of other requests the Request-URI's user.
 * - `domain`: host of the same URI, the tenant.
 * - `from-user`: the caller. `call-id`. `source-ip`. `header`: the value of the named header, with the callee where it is absent.
 *
 * A URI without the part asked for falls back to the To URI's, then to its host: something is always hashed.
 */
export function affinityHash(key: AffinityKey, message: MessageView, uri: UriView, from: Endpoint): number {
  switch (key.kind) {
    case 'call-id':
      return valueHash(message, message.first[HEADER.callId]!);
    case 'source-ip':
      return finish(
        Math.imul(from.ip0 ^ Math.imul(from.ip1, 0x9e3779b1), 0x85ebca6b) ^ Math.imul(from.ip2, 31) ^ from.ip3,
      );
    case 'from-user':
      return uriOf(message, HEADER.from) ? subjectHash(message, other, false) : subjectHash(message, uri, false);
    case 'header': {
      const line = namedLine(message, key.header);
      return line < 0 ? calleeHash(message, uri, false) : valueHash(message, line);
    }
    default:
      return calleeHash(message, uri, key.kind === 'domain');
  }
}

function calleeHash(message: MessageView, uri: UriView, domain: boolean): number {
  const missing = domain ? uri.hostEnd === uri.hostStart : uri.userEnd === uri.userStart;
  const useTo = message.method === METHOD.REGISTER || missing;
  return subjectHash(message, useTo && uriOf(message, HEADER.to) ? other : uri, domain);
}

const subjectHash = (message: MessageView, uri: UriView, domain: boolean): number =>
  !domain && uri.userEnd > uri.userStart ? userHash(message.bytes, uri) : hostHash(message.bytes, uri);

/** Reads the URI of From or To into {@link other}. */
function uriOf(message: MessageView, code: number): boolean {
  const line = message.first[code]!;
  return (
    nextAddress(message.bytes, message.valueStart[line]!, message.valueEnd[line]!) &&
    other.parse(message.bytes, address.uriStart, address.uriEnd)
  );
}

const valueHash = (message: MessageView, line: number): number =>
  hash32(message.bytes, message.valueStart[line]!, message.valueEnd[line]!);

/** First line whose header has this name (lower case), -1 where there is none. */
function namedLine(message: MessageView, name: string): number {
  const { bytes } = message;
  for (let i = 0; i < message.headerCount; i++) {
    const start = message.lineStart[i]!;
    const behind = bytes[start + name.length];
    if (behind !== 58 && behind !== 32 && behind !== 9) continue;
    let k = 0;
    while (k < name.length && lower(bytes[start + k]!) === name.charCodeAt(k)) k++;
    if (k === name.length) return i;
  }
  return -1;
}

const lower = (c: number): number => (c >= 65 && c <= 90 ? c | 32 : c);

/**
 * Hash of a user part. Escapes count as the characters they stand for (RFC 3261 §19.1.4), parameters of a telephone-subscriber and
 * visual separators of a tel number do not count (RFC 3966 §3, §4), case does.
 */
function userHash(bytes: Uint8Array, uri: UriView): number {
  let h = MIX_SEED;
  const end = uri.userEnd;
  for (let i = uri.userStart; i < end; i++) {
    let c = bytes[i]!;
    if (c === 59) break;
    if (c === 37 && i + 2 < end) {
      const value = (hexValue(bytes[i + 1]!) << 4) | hexValue(bytes[i + 2]!);
      if (value >= 0) {
        c = value;
        i += 2;
      }
    }
    if (uri.scheme === SCHEME.tel && (c === 45 || c === 46 || c === 40 || c === 41)) continue;
    h = mix(h, c);
  }
  return finish(h);
}

function hostHash(bytes: Uint8Array, uri: UriView): number {
  let h = MIX_SEED;
  for (let i = uri.hostStart; i < uri.hostEnd; i++) {
    h = mix(h, lower(bytes[i]!));
  }
  return finish(h);
}

/** Value of a hexadecimal digit, negative for another character. */
function hexValue(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  const l = c | 32;
  return l >= 97 && l <= 102 ? l - 87 : -256;
}
