import { isBlank, skipAddress, skipQuoted } from './skip.ts';
import { readDecimal } from './text.ts';

/** `other`: well-formed and not ours to read. `malformed`: what stands there begins with no scheme at all. */
export const SCHEME = { other: 0, sip: 1, sips: 2, tel: 3, malformed: 4 } as const;

/** A SIP, SIPS or tel URI as offsets. Reused; see {@link parseUri}. */
export class UriView {
  scheme = 0;
  start = 0;
  end = 0;
  /** User part without password; empty where there is none. For tel the number. */
  userStart = 0;
  userEnd = 0;
  /** Host without brackets. */
  hostStart = 0;
  hostEnd = 0;
  /** 0 where none is given. */
  port = 0;
  /** URI parameters and headers: from the first `;` or `?`. */
  paramsStart = 0;

  /** Reads `bytes[start, end)`. False where it is no URI of a known scheme. */
  parse(bytes: Uint8Array, start: number, end: number): boolean {
    this.start = start;
    this.end = end;
    this.userStart = this.userEnd = this.hostStart = this.hostEnd = start;
    this.port = 0;
    this.scheme = schemeOf(bytes, start, end);
    if (this.scheme === SCHEME.other || this.scheme === SCHEME.malformed) return false;
    let i = start + (this.scheme === SCHEME.sips ? 5 : 4);
    if (this.scheme === SCHEME.tel) {
      this.userStart = i;
      while (i < end && bytes[i] !== 59 && bytes[i] !== 63) i++;
      this.userEnd = this.hostStart = this.hostEnd = this.paramsStart = i;
      return i > this.userStart;
    }
    // The user part may hold ; and ? unescaped, so the @ is looked for first (RFC 3261 §25.1, user-unreserved).
    let at = -1;
    for (let k = i; k < end; k++)
      if (bytes[k] === 64) {
        at = k;
        break;
      }
    if (at >= 0) {
      this.userStart = i;
      let k = i;
      while (k < at && bytes[k] !== 58) k++;
      this.userEnd = k;
      i = at + 1;
    }
    return this.#hostPort(bytes, i, end);
  }

  #hostPort(bytes: Uint8Array, start: number, end: number): boolean {
    let i = start;
    if (bytes[i] === 91 && i < end) {
      this.hostStart = ++i;
      while (i < end && bytes[i] !== 93) i++;
      this.hostEnd = i++;
      if (i > end) return false;
    } else {
      this.hostStart = i;
      while (i < end && isHostChar(bytes[i]!)) i++;
      this.hostEnd = i;
    }
    if (this.hostEnd === this.hostStart) return false;
    if (i < end && bytes[i] === 58) {
      const portStart = ++i;
      while (i < end && bytes[i]! >= 48 && bytes[i]! <= 57) i++;
      this.port = readDecimal(bytes, portStart, i);
      if (this.port < 1 || this.port > 65535) return false;
    }
    this.paramsStart = i;
    return i === end || bytes[i] === 59 || bytes[i] === 63;
  }
}

const isHostChar = (c: number): boolean =>
  (c >= 48 && c <= 57) || ((c | 32) >= 97 && (c | 32) <= 122) || c === 46 || c === 45 || c === 95;

function schemeOf(bytes: Uint8Array, i: number, end: number): number {
  if (end - i < 5) return foreignScheme(bytes, i, end);
  const a = bytes[i]! | 32;
  const b = bytes[i + 1]! | 32;
  const c = bytes[i + 2]! | 32;
  if (a === 115 && b === 105 && c === 112) {
    if (bytes[i + 3] === 58) return SCHEME.sip;
    if ((bytes[i + 3]! | 32) === 115 && bytes[i + 4] === 58) return SCHEME.sips;
  } else if (a === 116 && b === 101 && c === 108 && bytes[i + 3] === 58) return SCHEME.tel;
  return foreignScheme(bytes, i, end);
}

/** scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) ":" */
function foreignScheme(bytes: Uint8Array, start: number, end: number): number {
  let i = start;
  while (i < end && isSchemeChar(bytes[i]!)) i++;
  return i > start && bytes[i] === 58 && i < end && isLetter(bytes[start]!) ? SCHEME.other : SCHEME.malformed;
}

const isLetter = (c: number): boolean => (c | 32) >= 97 && (c | 32) <= 122;
const isSchemeChar = (c: number): boolean => isLetter(c) || (c >= 48 && c <= 57) || c === 43 || c === 45 || c === 46;

/** Where {@link nextAddress} found things. */
export const address = { uriStart: 0, uriEnd: 0, end: 0 };

/**
 * Reads one element of a comma-separated list of addresses (Route, Path, Contact) from `start`. The URI's range and the end
 * of the element (at its comma or at `end`) land in {@link address}. False where nothing usable stands there.
 */
export function nextAddress(bytes: Uint8Array, start: number, end: number): boolean {
  let i = start;
  while (i < end && (isBlank(bytes[i]!) || bytes[i] === 44)) i++;
  if (i >= end) return false;
  const afterAddress = skipAddress(bytes, i, end);
  if (afterAddress < 0) return false;
  const open = openBracket(bytes, i, afterAddress);
  if (open >= 0) {
    address.uriStart = open + 1;
    address.uriEnd = afterAddress - 1;
  } else {
    address.uriStart = i;
    address.uriEnd = afterAddress;
    while (address.uriEnd > i && isBlank(bytes[address.uriEnd - 1]!)) address.uriEnd--;
  }
  let e = afterAddress;
  while (e < end && bytes[e] !== 44) {
    e = bytes[e] === 34 ? skipQuoted(bytes, e, end) : e + 1;
    if (e < 0) return false;
  }
  address.end = e;
  return address.uriEnd > address.uriStart;
}

/** Position of the bracket that opens an address which {@link skipAddress} found to end at `end`; -1 where it has none. */
function openBracket(bytes: Uint8Array, start: number, end: number): number {
  for (let i = start; i >= 0 && i < end; ) {
    const c = bytes[i]!;
    if (c === 60) return i;
    i = c === 34 ? skipQuoted(bytes, i, end) : i + 1;
  }
  return -1;
}
