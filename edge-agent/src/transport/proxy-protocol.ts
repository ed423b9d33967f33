import type { Endpoint } from '../ports.ts';
import { setAddress } from './endpoint.ts';

/** What {@link readProxyHeader} returns beside a header's length. */
export const PROXY_HEADER = {
  /** All right so far, and not at its end. */
  partial: 0,
  malformed: -1,
} as const;

/** PROXY protocol 2.1: "\r\n\r\n\0\r\nQUIT\n". */
const V2_SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
const V2_FIXED = 16;
/** Addresses and TLVs. The protocol allows 65,535; a header with a client certificate in it stays below this. */
const V2_LONGEST = 4096;
const V1_PREFIX = Uint8Array.from('PROXY ', (c) => c.charCodeAt(0));
/** With CRLF; PROXY protocol §2.1. */
const V1_LONGEST = 107;

/** The longest header that is accepted, in bytes. */
export const PROXY_HEADER_LONGEST = V2_FIXED + V2_LONGEST;

/**
 * Reads a PROXY protocol header, version 1 or 2, from the beginning of what a connection has sent so far. Returns its length once it is whole.
 * The announced source is written to `source`; what announces none (`UNKNOWN`, `LOCAL`: the balancer's own health checks) leaves it alone.
 *
 * @see https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
 * @example readProxyHeader(Buffer.from('PROXY TCP4 198.51.100.7 192.0.2.1 40000 5061\r\n'), source) // 46
 */
export function readProxyHeader(bytes: Uint8Array, source: Endpoint): number {
  if (bytes.length === 0) return PROXY_HEADER.partial;
  return bytes[0] === V2_SIGNATURE[0] ? readV2(bytes, source) : readV1(bytes, source);
}

/** How far `bytes` agree with `wanted`: all of what is there, and perhaps not all of it there. */
function begins(bytes: Uint8Array, wanted: Uint8Array): boolean {
  const length = Math.min(bytes.length, wanted.length);
  for (let i = 0; i < length; i++) if (bytes[i] !== wanted[i]) return false;
  return true;
}

function readV1(bytes: Uint8Array, source: Endpoint): number {
  if (!begins(bytes, V1_PREFIX)) return PROXY_HEADER.malformed;
  const searched = bytes.subarray(0, V1_LONGEST);
  const lf = searched.indexOf(10);
  if (lf < 0) return bytes.length < V1_LONGEST ? PROXY_HEADER.partial : PROXY_HEADER.malformed;
  if (bytes[lf - 1] !== 13) return PROXY_HEADER.malformed;
  const [family, from, to, fromPort, toPort, rest] = latin1(searched.subarray(V1_PREFIX.length, lf - 1)).split(' ');
  // What follows UNKNOWN is to be ignored (§2.1).
  if (family === 'UNKNOWN') return lf + 1;
  const colon = family === 'TCP6';
  if ((family !== 'TCP4' && !colon) || rest !== undefined) return PROXY_HEADER.malformed;
  const numbers = [portOf(fromPort), portOf(toPort)];
  if (numbers.includes(-1) || !isAddress(from, colon) || !isAddress(to, colon)) return PROXY_HEADER.malformed;
  // The destination is checked, and not kept: both are read into the same place, the source last.
  if (!setAddress(source, to as string) || !setAddress(source, from as string)) return PROXY_HEADER.malformed;
  source.port = numbers[0] as number;
  return lf + 1;
}

const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
const isAddress = (text: string | undefined, v6: boolean): boolean =>
  text !== undefined && (v6 ? /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/ : /^[0-9.]+$/).test(text);

/** Decimal without leading zeros; -1 for anything else. */
function portOf(text: string | undefined): number {
  return text !== undefined && /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535 ? Number(text) : -1;
}

function readV2(bytes: Uint8Array, source: Endpoint): number {
  if (!begins(bytes, V2_SIGNATURE)) return PROXY_HEADER.malformed;
  if (bytes.length < V2_FIXED) return PROXY_HEADER.partial;
  const [versionAndCommand, family] = [bytes[12] as number, bytes[13] as number];
  const length = ((bytes[14] as number) << 8) | (bytes[15] as number);
  // 0x20: LOCAL, 0x21: PROXY.
  if ((versionAndCommand !== 0x20 && versionAndCommand !== 0x21) || length > V2_LONGEST) return PROXY_HEADER.malformed;
  const needed = family === 0x11 ? 12 : family === 0x21 ? 36 : 0;
  const announces = versionAndCommand === 0x21 && family !== 0;
  // 0: unspecified, the connection's own address stands. Datagrams and Unix sockets are no clients of ours.
  if (announces && (needed === 0 || length < needed)) return PROXY_HEADER.malformed;
  if (bytes.length < V2_FIXED + length) return PROXY_HEADER.partial;
  if (announces) setSource(new DataView(bytes.buffer, bytes.byteOffset + V2_FIXED, needed), family === 0x11, source);
  return V2_FIXED + length;
}

function setSource(view: DataView, v4: boolean, source: Endpoint): void {
  source.ip0 = v4 ? 0 : view.getUint32(0);
  source.ip1 = v4 ? 0 : view.getUint32(4);
  source.ip2 = v4 ? 0xffff : view.getUint32(8);
  source.ip3 = view.getUint32(v4 ? 0 : 12);
  source.port = view.getUint16(v4 ? 8 : 32);
}
