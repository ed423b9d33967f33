import { z } from 'zod';

/** Four octets → unsigned 32-bit integer; undefined where the text is no IPv4 address. */
export function parseIPv4(text: string): number | undefined {
  const m = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!m) return undefined;
  let value = 0;
  for (let i = 1; i <= 4; i++) {
    const part = m[i] as string;
    // A leading zero is octal to some resolvers and decimal to others: refused (CVE-2021-29921 and its kin).
    if (Number(part) > 255 || (part.length > 1 && part[0] === '0')) return undefined;
    value = value * 256 + Number(part);
  }
  return value;
}

/** An IPv4 or IPv6 address → 4 unsigned 32-bit words, IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2); undefined if neither. */
export function parseIP(text: string): [number, number, number, number] | undefined {
  const v4 = parseIPv4(text);
  if (v4 !== undefined) return [0, 0, 0xffff, v4];
  if (!text.includes(':')) return undefined;
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = (half: string, last: boolean): number[] | undefined => {
    if (half === '') return [];
    const out: number[] = [];
    const parts = half.split(':');
    for (const [i, part] of parts.entries()) {
      // Dotted octets may only stand at the very end (RFC 4291 §2.2.3).
      const embedded = last && i === parts.length - 1 ? parseIPv4(part) : undefined;
      if (embedded !== undefined) out.push(embedded >>> 16, embedded & 0xffff);
      else if (/^[0-9a-fA-F]{1,4}$/.test(part)) out.push(Number.parseInt(part, 16));
      else return undefined;
    }
    return out;
  };
  const head = groups(halves[0] as string, halves.length === 1);
  const tail = halves.length === 2 ? groups(halves[1] as string, true) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const all = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const word = (i: number) => (((all[i] as number) << 16) | (all[i + 1] as number)) >>> 0;
  return [word(0), word(2), word(4), word(6)];
}

/** The address is IPv4, or IPv6 written as ::ffff:a.b.c.d. */
export const isIPv4 = (ip: readonly number[]): boolean => ip[0] === 0 && ip[1] === 0 && ip[2] === 0xffff;

/** 4 words → text: dotted for IPv4, RFC 5952 for IPv6. */
export function formatIP(ip: readonly number[]): string {
  if (isIPv4(ip)) {
    const a = ip[3] as number;
    return `${a >>> 24}.${(a >>> 16) & 255}.${(a >>> 8) & 255}.${a & 255}`;
  }
  const groups = ip.flatMap((word) => [word >>> 16, word & 0xffff]);
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > best.length) best = { at: i, length: end - i };
    if (end > i) i = end;
  }
  const hex = (part: number[]) => part.map((g) => g.toString(16)).join(':');
  if (best.at < 0) return hex(groups);
  return `${hex(groups.slice(0, best.at))}::${hex(groups.slice(best.at + best.length))}`;
}

/** An address in the one way that {@link formatIP} writes it, so that texts can be compared; other text stays as it is. */
export function canonicalIP(text: string): string {
  const ip = parseIP(text);
  return ip === undefined ? text : formatIP(ip);
}

/** `10.0.0.0/8`, `2001:db8::/32`, or a bare address → words and prefix length counted in the 128-bit form. */
export function parseCidr(text: string): { ip: [number, number, number, number]; bits: number } | undefined {
  const [address, length, rest] = text.split('/');
  const ip = parseIP(address as string);
  if (!ip || rest !== undefined) return undefined;
  const width = (address as string).includes(':') ? 128 : 32;
  if (length === undefined) return { ip, bits: 128 };
  if (!/^\d{1,3}$/.test(length) || Number(length) > width) return undefined;
  return { ip, bits: Number(length) + 128 - width };
}

const allowedIP = 'an IPv4 or IPv6 address, such as 192.0.2.10 or 2001:db8::1';
export const ipAddress = z.string({ error: allowedIP }).refine((t) => parseIP(t) !== undefined, { error: allowedIP });

const allowedCidr = 'an address or a CIDR block, such as 10.0.0.0/8 or 2001:db8::/32';
export const cidr = z.string({ error: allowedCidr }).refine((t) => parseCidr(t) !== undefined, { error: allowedCidr });

const allowedPort = 'a whole number from 1 to 65535';
export const port = z.int({ error: allowedPort }).min(1, { error: allowedPort }).max(65535, { error: allowedPort });

const allowedName = '1 to 63 characters: lower-case letters, digits and inner hyphens';
/** Resource and backend names: an RFC 1123 label, so that they fit URLs, metric labels and unit names alike. */
export const resourceName = z
  .string({ error: allowedName })
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, { error: allowedName });

/** `host:port` → parts; IPv6 hosts stand in brackets. Undefined where it is neither. */
export function parseHostPort(text: string): { host: string; port: number } | undefined {
  const m = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (!m || Number(m[3]) > 65535) return undefined;
  return { host: (m[1] ?? m[2]) as string, port: Number(m[3]) };
}
