import type { Endpoint } from '../../ports.ts';
import { isIPv4 } from '../endpoint.ts';
import { LINUX } from '../libc.ts';

/** Room for either family (sockaddr_in 16, sockaddr_in6 28), rounded up so that the next one stays aligned. */
export const SOCKADDR_BYTES = 32;
export const SOCKADDR_IN6_LENGTH = 28;
const SOCKADDR_IN_LENGTH = 16;

/** Writes sockaddr_in for IPv4 (also IPv4-mapped words), else sockaddr_in6; returns its length. */
export function writeSockaddr(bytes: Uint8Array, at: number, e: Readonly<Endpoint>): number {
  const v4 = isIPv4(e);
  bytes[at] = v4 ? LINUX.AF_INET : LINUX.AF_INET6;
  bytes[at + 1] = 0;
  bytes[at + 2] = e.port >>> 8;
  bytes[at + 3] = e.port;
  if (v4) {
    writeWord(bytes, at + 4, e.ip3);
    return SOCKADDR_IN_LENGTH;
  }
  // at + 4: flow label, at + 24: zone; both stay 0.
  writeWord(bytes, at + 8, e.ip0);
  writeWord(bytes, at + 12, e.ip1);
  writeWord(bytes, at + 16, e.ip2);
  writeWord(bytes, at + 20, e.ip3);
  return SOCKADDR_IN6_LENGTH;
}

/** Address and port of a sockaddr_in or sockaddr_in6 → endpoint; its other fields are left alone. */
export function readSockaddr(bytes: Uint8Array, at: number, e: Endpoint): void {
  e.port = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
  if (bytes[at] === LINUX.AF_INET) {
    e.ip0 = 0;
    e.ip1 = 0;
    e.ip2 = 0xffff;
    e.ip3 = readWord(bytes, at + 4);
    return;
  }
  e.ip0 = readWord(bytes, at + 8);
  e.ip1 = readWord(bytes, at + 12);
  e.ip2 = readWord(bytes, at + 16);
  e.ip3 = readWord(bytes, at + 20);
}

function writeWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word >>> 24;
  bytes[at + 1] = word >>> 16;
  bytes[at + 2] = word >>> 8;
  bytes[at + 3] = word;
}

function readWord(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}
