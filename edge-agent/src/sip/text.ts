/** Bytes and numbers as text, without strings on the packet path. */

const encoder = new TextEncoder();

/** Text → bytes. For configuration time: allocates. */
export const toBytes = (text: string): Uint8Array => encoder.encode(text);

/** Bytes → text, one character per byte, back again with Buffer's `latin1`. (TextDecoder's `latin1` is Windows-1252.) For errors, events and slow paths. */
export function toText(bytes: Uint8Array, start: number, end: number): string {
  const part = bytes.subarray(start, end);
  return Buffer.from(part.buffer, part.byteOffset, part.length).toString('latin1');
}

/** Copies all of `from` to `to` at `at`; returns the position behind it. A loop beats `set` for the short texts that headers are made of. */
export function put(to: Uint8Array, at: number, from: Uint8Array): number {
  const n = from.length;
  if (n > 64) {
    to.set(from, at);
    return at + n;
  }
  for (let i = 0; i < n; i++) to[at + i] = from[i]!;
  return at + n;
}

/** Copies `from[start, end)` to `to` at `at`; returns the position behind it. */
export function putRange(to: Uint8Array, at: number, from: Uint8Array, start: number, end: number): number {
  for (let i = start; i < end; i++) to[at++] = from[i]!;
  return at;
}

/** Writes an unsigned integer in decimal. */
/** Writes `length` bytes as hexadecimal digits in lower case; returns the position behind them. */
export function putHex(to: Uint8Array, at: number, from: Uint8Array, length: number): number {
  for (let i = 0; i < length; i++) {
    const byte = from[i]!;
    to[at++] = hexDigit(byte >>> 4);
    to[at++] = hexDigit(byte & 15);
  }
  return at;
}
const hexDigit = (value: number): number => (value < 10 ? 48 + value : 87 + value);

export function putDecimal(to: Uint8Array, at: number, value: number): number {
  let digits = 1;
  for (let v = value; v >= 10; v = Math.floor(v / 10)) digits++;
  let v = value;
  for (let i = at + digits - 1; i >= at; i--) {
    to[i] = 48 + (v % 10);
    v = Math.floor(v / 10);
  }
  return at + digits;
}

const ALPHABET = toBytes('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_');
const SEXTET = new Uint8Array(256).fill(255);
for (let i = 0; i < 64; i++) SEXTET[ALPHABET[i]!] = i;

/** Writes `from[0, length)` in base64url without padding (RFC 4648 §5). */
export function putBase64Url(to: Uint8Array, at: number, from: Uint8Array, length: number): number {
  let i = 0;
  for (; i + 2 < length; i += 3) {
    const v = (from[i]! << 16) | (from[i + 1]! << 8) | from[i + 2]!;
    to[at++] = ALPHABET[v >>> 18]!;
    to[at++] = ALPHABET[(v >>> 12) & 63]!;
    to[at++] = ALPHABET[(v >>> 6) & 63]!;
    to[at++] = ALPHABET[v & 63]!;
  }
  if (i < length) {
    const two = i + 1 < length;
    const v = (from[i]! << 16) | (two ? from[i + 1]! << 8 : 0);
    to[at++] = ALPHABET[v >>> 18]!;
    to[at++] = ALPHABET[(v >>> 12) & 63]!;
    if (two) to[at++] = ALPHABET[(v >>> 6) & 63]!;
  }
  return at;
}

/** Reads base64url into `to`; returns the number of bytes, or -1 for a foreign character, an impossible length, or too much for `to`. */
export function readBase64Url(from: Uint8Array, start: number, end: number, to: Uint8Array): number {
  const length = end - start;
  if (length % 4 === 1 || Math.floor((length * 3) / 4) > to.length) return -1;
  let at = 0;
  let bits = 0;
  let held = 0;
  for (let i = start; i < end; i++) {
    const s = SEXTET[from[i]!]!;
    if (s === 255) return -1;
    held = ((held << 6) | s) & 0xffffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      to[at++] = (held >>> bits) & 255;
    }
  }
  // Bits left over must be zero, or two texts would name one value.
  return (held & ((1 << bits) - 1)) === 0 ? at : -1;
}

/** An unsigned decimal in `bytes[start, end)`: at most 10 digits, nothing else; -1 otherwise. */
export function readDecimal(bytes: Uint8Array, start: number, end: number): number {
  if (end <= start || end - start > 10) return -1;
  let v = 0;
  for (let i = start; i < end; i++) {
    const d = bytes[i]! - 48;
    if (d < 0 || d > 9) return -1;
    v = v * 10 + d;
  }
  return v;
}

/** `bytes[start, end)` equals `lower` (given in lower case) without regard to ASCII case. */
export function equalsNoCase(bytes: Uint8Array, start: number, end: number, lower: Uint8Array): boolean {
  const n = lower.length;
  if (end - start !== n) return false;
  for (let i = 0; i < n; i++) {
    const c = bytes[start + i]!;
    if ((c >= 65 && c <= 90 ? c | 32 : c) !== lower[i]) return false;
  }
  return true;
}

/** `bytes[start, end)` equals `other`. */
export function equals(bytes: Uint8Array, start: number, end: number, other: Uint8Array): boolean {
  const n = other.length;
  if (end - start !== n) return false;
  for (let i = 0; i < n; i++) if (bytes[start + i] !== other[i]) return false;
  return true;
}
