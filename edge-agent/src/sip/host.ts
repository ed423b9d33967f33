import { toText } from './text.ts';

const out = new Uint32Array(4);

/**
 * An address literal in `bytes[start, end)` → four 32-bit words (IPv4 as ::ffff:a.b.c.d), in an array that the next call reuses.
 * Undefined for a host name. IPv4, the common case, makes no string.
 */
export function parseWords(bytes: Uint8Array, start: number, end: number): Uint32Array | undefined {
  const length = end - start;
  if (length < 2 || length > 45) return undefined;
  let value = 0;
  let part = 0;
  let digits = 0;
  let dots = 0;
  for (let i = start; i < end; i++) {
    const c = bytes[i]!;
    if (c >= 48 && c <= 57) {
      part = part * 10 + c - 48;
      if (++digits > 3 || part > 255) return hasColon(bytes, i, end) ? parseIPv6(bytes, start, end) : undefined;
    } else if (c === 46) {
      if (digits === 0 || ++dots > 3) return undefined;
      value = value * 256 + part;
      part = digits = 0;
    } else return hasColon(bytes, i, end) ? parseIPv6(bytes, start, end) : undefined;
  }
  if (dots !== 3 || digits === 0) return undefined;
  out[0] = out[1] = 0;
  out[2] = 0xffff;
  out[3] = value * 256 + part;
  return out;
}

function hasColon(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] === 58) return true;
  return false;
}

function parseIPv6(bytes: Uint8Array, start: number, end: number): Uint32Array | undefined {
  let text = toText(bytes, start, end);
  if (text.startsWith('[') && text.endsWith(']')) text = text.slice(1, -1);
  const dot = text.lastIndexOf(':');
  if (text.includes('.')) {
    const m = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text.slice(dot + 1));
    if (!m || m.slice(1).some((p) => Number(p) > 255)) return undefined;
    const hex = (a: number, b: number) => ((Number(m[a]) << 8) | Number(m[b])).toString(16);
    text = `${text.slice(0, dot + 1)}${hex(1, 2)}:${hex(3, 4)}`;
  }
  const halves = text.split('::');
  if (halves.length > 2 || !text.includes(':')) return undefined;
  const groups = (half: string): number[] | undefined => {
    if (half === '') return [];
    const parts = half.split(':');
    return parts.every((p) => /^[0-9a-fA-F]{1,4}$/.test(p)) ? parts.map((p) => Number.parseInt(p, 16)) : undefined;
  };
  const head = groups(halves[0]!);
  const tail = halves.length === 2 ? groups(halves[1]!) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const all = [...head, ...new Array<number>(missing).fill(0), ...tail];
  for (let i = 0; i < 4; i++) out[i] = ((all[i * 2]! << 16) | all[i * 2 + 1]!) >>> 0;
  return out;
}

/** Text of an address literal (no brackets) → a new array of four words; undefined for anything else. */
export function wordsOf(text: string): Uint32Array | undefined {
  const bytes = new TextEncoder().encode(text);
  const words = parseWords(bytes, 0, bytes.length);
  return words && Uint32Array.from(words);
}

/** Four words → text: dotted for IPv4, RFC 5952 without brackets for IPv6. */
export function formatWords(ip0: number, ip1: number, ip2: number, ip3: number): string {
  if (ip0 === 0 && ip1 === 0 && ip2 === 0xffff)
    return `${ip3 >>> 24}.${(ip3 >>> 16) & 255}.${(ip3 >>> 8) & 255}.${ip3 & 255}`;
  const groups = [ip0, ip1, ip2, ip3].flatMap((w) => [w >>> 16, w & 0xffff]);
  let at = -1;
  let longest = 1;
  for (let i = 0; i < 8; i++) {
    let e = i;
    while (e < 8 && groups[e] === 0) e++;
    if (e - i > longest) {
      at = i;
      longest = e - i;
    }
    if (e > i) i = e;
  }
  const hex = (part: number[]) => part.map((g) => g.toString(16)).join(':');
  return at < 0 ? hex(groups) : `${hex(groups.slice(0, at))}::${hex(groups.slice(at + longest))}`;
}
