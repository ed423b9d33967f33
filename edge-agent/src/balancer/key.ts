import { finish, hash32, MIX_SEED, mix } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { METHOD } from '../sip/method.ts';
import { address, nextAddress, SCHEME, UriView } from '../sip/uri.ts';

const to = new UriView();

/**
 * The affinity key's hash, the same on every agent. `uri` is the parsed Request-URI.
 *
 * - `user`: the callee. Of REGISTER the To address-of-record (its Request-URI names the registrar only), of other requests the Request-URI's user.
 * - `domain`: host of the same URI, the tenant.
 * - `call-id`.
 *
 * A URI without the part asked for falls back to the To URI's, then to its host: something is always hashed.
 */
export function affinityHash(key: 'user' | 'domain' | 'call-id', message: MessageView, uri: UriView): number {
  if (key === 'call-id') {
    const line = message.first[HEADER.callId]!;
    return hash32(message.bytes, message.valueStart[line]!, message.valueEnd[line]!);
  }
  const toLine = message.first[HEADER.to]!;
  const useTo = message.method === METHOD.REGISTER || (key === 'user' && uri.userEnd === uri.userStart);
  let subject = uri;
  if (useTo && nextAddress(message.bytes, message.valueStart[toLine]!, message.valueEnd[toLine]!)) {
    if (to.parse(message.bytes, address.uriStart, address.uriEnd)) subject = to;
  }
  return key === 'user' && subject.userEnd > subject.userStart
    ? userHash(message.bytes, subject)
    : hostHash(message.bytes, subject);
}

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
    const c = bytes[i]!;
    h = mix(h, c >= 65 && c <= 90 ? c | 32 : c);
  }
  return finish(h);
}

/** Value of a hexadecimal digit, negative for another character. */
function hexValue(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  const l = c | 32;
  return l >= 97 && l <= 102 ? l - 87 : -256;
}
