import type { Arena, Endpoint } from '../ports.ts';
import type { Splice } from '../sip/splice.ts';

/**
 * STUN Binding (RFC 8489 §5, §14.2) on the SIP port: how a phone behind a NAT keeps its UDP flow open and learns that it
 * has changed (RFC 5626 §3.5.2, §4.4.2).
 */
const REQUEST = 0x0001;
const COOKIE = 0x2112a442;
const HEADER = 20;
const V4 = 1;
const V6 = 2;

/** The bytes are a Binding request. SIP never starts with a NUL. */
export function isBindingRequest(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < HEADER) return false;
  const word = (at: number) => (bytes[start + at]! << 8) | bytes[start + at + 1]!;
  return (
    word(0) === REQUEST &&
    word(2) === end - start - HEADER &&
    word(4) === COOKIE >>> 16 &&
    word(6) === (COOKIE & 0xffff)
  );
}

/** Writes the success response: the address that the request came from, XORed with cookie and transaction id. */
export function answerBinding(bytes: Uint8Array, start: number, from: Endpoint, arena: Arena, splice: Splice): void {
  const v4 = from.ip0 === 0 && from.ip1 === 0 && from.ip2 === 0xffff;
  const size = v4 ? 8 : 20;
  const out = arena.bytes;
  const at = arena.used;
  out[at] = 0x01;
  out[at + 1] = 0x01;
  out[at + 2] = 0;
  out[at + 3] = size + 4;
  for (let i = 4; i < HEADER; i++) out[at + i] = bytes[start + i]!;
  const body = at + HEADER;
  out[body] = 0x00;
  out[body + 1] = 0x20;
  out[body + 2] = 0;
  out[body + 3] = size;
  out[body + 4] = 0;
  out[body + 5] = v4 ? V4 : V6;
  out[body + 6] = (from.port >>> 8) ^ (COOKIE >>> 24);
  out[body + 7] = (from.port & 255) ^ ((COOKIE >>> 16) & 255);
  const words = v4 ? [from.ip3] : [from.ip0, from.ip1, from.ip2, from.ip3];
  for (const [w, word] of words.entries())
    for (let b = 0; b < 4; b++)
      out[body + 8 + w * 4 + b] = ((word >>> (24 - 8 * b)) & 255) ^ bytes[start + 4 + w * 4 + b]!;
  arena.used = body + 4 + size;
  splice.reset();
  splice.add(out, at, arena.used);
}
