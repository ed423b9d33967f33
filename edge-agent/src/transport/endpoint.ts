import type { Endpoint, TransportCode } from '../ports.ts';
import { isIPv4 } from '../sip/endpoint.ts';

export { copyEndpoint, isIPv4, sameAddress, sameEndpoint } from '../sip/endpoint.ts';

/** An endpoint of its own, `::` port 0 until somebody writes into it. */
export function createEndpoint(transport: TransportCode): Endpoint {
  return { transport, ip0: 0, ip1: 0, ip2: 0, ip3: 0, port: 0, connection: 0 };
}

/** Transport, address and port as the key of a map. */
export const endpointKey = (e: Readonly<Endpoint>): string =>
  `${e.transport}.${e.ip0}.${e.ip1}.${e.ip2}.${e.ip3}.${e.port}`;

/** The address as text: dotted for IPv4, eight groups (RFC 4291 §2.2 form 1) for IPv6. For sockets and messages, not for SIP. */
export function formatAddress(e: Readonly<Endpoint>): string {
  if (isIPv4(e)) return `${e.ip3 >>> 24}.${(e.ip3 >>> 16) & 255}.${(e.ip3 >>> 8) & 255}.${e.ip3 & 255}`;
  return [e.ip0, e.ip1, e.ip2, e.ip3].map((w) => `${(w >>> 16).toString(16)}:${(w & 0xffff).toString(16)}`).join(':');
}

/** `10.0.0.1:5060`, `[2001:db8:0:0:0:0:0:1]:5060`. */
export function formatEndpoint(e: Readonly<Endpoint>): string {
  return isIPv4(e) ? `${formatAddress(e)}:${e.port}` : `[${formatAddress(e)}]:${e.port}`;
}

/**
 * Writes the address that `text` names; false (nothing written) where it names none.
 * Runs for the first packet of every burst, so it makes no strings. A zone (`%eth0`) is dropped: four words cannot hold it.
 */
export function setAddress(to: Endpoint, text: string): boolean {
  const v4 = readDotted(text, 0, text.length);
  if (v4 >= 0) {
    to.ip0 = 0;
    to.ip1 = 0;
    to.ip2 = 0xffff;
    to.ip3 = v4;
    return true;
  }
  if (!readGroups(text)) return false;
  to.ip0 = word(0);
  to.ip1 = word(2);
  to.ip2 = word(4);
  to.ip3 = word(6);
  return true;
}

const DOT = 46;
const COLON = 58;
const groups = new Uint16Array(8);
const word = (at: number): number => (((groups[at] as number) << 16) | (groups[at + 1] as number)) >>> 0;

function readDotted(text: string, from: number, end: number): number {
  let value = 0;
  let part = -1;
  let dots = 0;
  for (let i = from; i < end; i++) {
    const c = text.charCodeAt(i);
    if (c === DOT) {
      if (part < 0) return -1;
      value = value * 256 + part;
      part = -1;
      dots++;
    } else if (c >= 48 && c <= 57) {
      part = (part < 0 ? 0 : part * 10) + c - 48;
      if (part > 255) return -1;
    } else return -1;
  }
  return part < 0 || dots !== 3 ? -1 : value * 256 + part;
}

function hexDigit(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  const lower = c | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

/** RFC 4291 §2.2 text → `groups`. */
function readGroups(text: string): boolean {
  const zone = text.indexOf('%');
  const end = zone < 0 ? text.length : zone;
  let gap = text.startsWith('::') ? 0 : -1;
  let at = gap === 0 ? 2 : 0;
  let count = 0;
  while (at < end) {
    if (count === 8) return false;
    const from = at;
    let value = 0;
    for (let digit = hexDigit(text.charCodeAt(at)); at < end && digit >= 0; digit = hexDigit(text.charCodeAt(at))) {
      value = value * 16 + digit;
      at++;
    }
    if (at < end && text.charCodeAt(at) === DOT) {
      const v4 = readDotted(text, from, end);
      if (v4 < 0 || count > 6) return false;
      groups[count++] = v4 >>> 16;
      groups[count++] = v4 & 0xffff;
      break;
    }
    if (at === from || at - from > 4) return false;
    groups[count++] = value;
    if (at === end) break;
    if (text.charCodeAt(at++) !== COLON || at === end) return false;
    if (text.charCodeAt(at) === COLON) {
      if (gap >= 0) return false;
      gap = count;
      at++;
    }
  }
  if (gap < 0) return count === 8;
  if (count > 7) return false;
  const tail = count - gap;
  groups.copyWithin(8 - tail, gap, count);
  groups.fill(0, gap, 8 - tail);
  return true;
}
