import { hash32 } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { isBlank, skipAddress, skipQuoted } from '../sip/skip.ts';
import { equalsNoCase, readDecimal, toBytes } from '../sip/text.ts';

const EXPIRES = toBytes('expires');
/** What registrars grant where nobody names an expiry (RFC 3261 §10.2.1.1: at their own choice; an hour is theirs as a rule). */
const DEFAULT_EXPIRY_S = 3600;
/** RFC 3261 §20.19: up to 2^32−1; beyond a month it is no registration any more but a fault. */
const LONGEST_S = 31 * 86_400;

/** What {@link readBinding} read. `hash`: of address-of-record and Contact, never 0. `removed`: the REGISTER takes it away. */
export const binding = { hash: 0, removed: false };

/** Reads what a REGISTER binds: its To address and its first Contact. False: it only asks. */
export function readBinding(register: MessageView): boolean {
  const { bytes, first, valueStart, valueEnd } = register;
  const to = first[HEADER.to]!;
  const contact = first[HEADER.contact]!;
  if (contact < 0) return false;
  const start = valueStart[contact]!;
  const end = valueEnd[contact]!;
  const addressEnd = skipAddress(bytes, start, end);
  const aor = hash32(
    bytes,
    valueStart[to]!,
    Math.max(valueStart[to]!, skipAddress(bytes, valueStart[to]!, valueEnd[to]!)),
  );
  binding.hash = (aor ^ Math.imul(hash32(bytes, start, addressEnd < 0 ? end : addressEnd), 0x85ebca6b)) >>> 0 || 1;
  // RFC 3261 §10.2.2: an expiry of 0, or `*`, which goes with `Expires: 0`.
  binding.removed = (addressEnd < 0 ? -1 : contactExpiry(bytes, addressEnd, end)) === 0;
  const expires = first[HEADER.expires]!;
  if (!binding.removed && expires >= 0 && readDecimal(bytes, valueStart[expires]!, valueEnd[expires]!) === 0)
    binding.removed = addressEnd < 0 || contactExpiry(bytes, addressEnd, end) < 0;
  return true;
}

/** Seconds that the response to a REGISTER says it is stored for: the longest of its Contacts, 0 where none is stored. */
export function grantedExpiry(response: MessageView): number {
  const { bytes, first, valueStart, valueEnd } = response;
  if (first[HEADER.contact]! < 0) return 0;
  const expires = first[HEADER.expires]!;
  const common = expires < 0 ? -1 : readDecimal(bytes, valueStart[expires]!, valueEnd[expires]!);
  let longest = -1;
  for (let line = first[HEADER.contact]!; line < response.headerCount; line++) {
    if (response.code[line] !== HEADER.contact) continue;
    const end = valueEnd[line]!;
    let i = valueStart[line]!;
    while (i >= 0 && i < end) {
      i = skipAddress(bytes, i, end);
      if (i < 0) break;
      longest = Math.max(longest, contactExpiry(bytes, i, end));
      while (i >= 0 && i < end && bytes[i] !== 44) i = bytes[i] === 34 ? skipQuoted(bytes, i, end) : i + 1;
      if (i >= 0) i++;
    }
  }
  const granted = longest >= 0 ? longest : common >= 0 ? common : DEFAULT_EXPIRY_S;
  return Math.min(granted, LONGEST_S);
}

/** Value of the parameter `expires` among those from `start` up to the next comma; −1: there is none. */
function contactExpiry(bytes: Uint8Array, start: number, end: number): number {
  let i = start;
  while (i >= 0 && i < end && bytes[i] !== 44) {
    if (bytes[i] === 34) i = skipQuoted(bytes, i, end);
    else if (bytes[i++] === 59) {
      while (i < end && isBlank(bytes[i]!)) i++;
      const name = i;
      while (i < end && bytes[i] !== 61 && bytes[i] !== 59 && bytes[i] !== 44 && !isBlank(bytes[i]!)) i++;
      const named = equalsNoCase(bytes, name, i, EXPIRES);
      while (i < end && isBlank(bytes[i]!)) i++;
      if (!named || bytes[i] !== 61 || i >= end) continue;
      i++;
      while (i < end && isBlank(bytes[i]!)) i++;
      const value = i;
      while (i < end && bytes[i]! >= 48 && bytes[i]! <= 57) i++;
      if (i > value) return readDecimal(bytes, value, i);
    }
  }
  return -1;
}
