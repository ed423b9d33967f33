import { memory, siphash } from './siphash.ts';

/** Hashes over bytes in shared buffers. Results land in module-wide registers, because a pair cannot be returned without allocating. */

/** A SipHash key as four 32-bit words. */
export type HashKey = Int32Array;

/** 16 bytes → key. */
export function hashKey(bytes: Uint8Array): HashKey {
  if (bytes.length !== 16) throw new RangeError(`a SipHash key has 16 bytes, not ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  return Int32Array.of(view.getInt32(0, true), view.getInt32(4, true), view.getInt32(8, true), view.getInt32(12, true));
}

/** Low and high word of the last {@link sipHash24}. */
export const digest = new Int32Array(memory, 0, 2);

/** Where inputs are copied to that lie elsewhere: a whole message at most, and the eight bytes that are read at a time. */
const COPY_AT = 8;
const COPY_BYTES = 65_536 + 8;
const copy = new Uint8Array(memory, COPY_AT, COPY_BYTES);
let free = COPY_AT + COPY_BYTES;

/** A buffer that {@link sipHash24} reads where it is. For the life of the thread: there is room for few. */
export function hashBuffer(length: number): Uint8Array<ArrayBuffer> {
  const at = free;
  free += (length + 15) & ~7;
  return new Uint8Array(memory, at, length);
}

/** SipHash-2-4 of `bytes[start, end)`, up to 64 KiB, fastest in a {@link hashBuffer}. The 64-bit result is in {@link digest}; returns the low word. */
export function sipHash24(key: HashKey, bytes: Uint8Array, start: number, end: number): number {
  let at = COPY_AT;
  if (bytes.buffer === memory) at = bytes.byteOffset + start;
  else for (let i = start; i < end; i++) copy[i - start] = bytes[i]!;
  return siphash(key[0]!, key[1]!, key[2]!, key[3]!, at, at + end - start);
}

/** Start value of {@link mix}. */
export const MIX_SEED = 0x811c9dc5 | 0;

/** One FNV-1a step. Not keyed: for values that every agent must compute alike and that need no secrecy. */
export const mix = (hash: number, byte: number): number => Math.imul(hash ^ byte, 0x01000193);

/** Spreads a hash's entropy over all 32 bits (MurmurHash3's finalizer); unsigned. */
export function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** 51 bits in one number, for tables with more entries than 32 bits keep apart. Like {@link hash32} not keyed. */
export function hash51(bytes: Uint8Array, start: number, end: number): number {
  let low = MIX_SEED;
  let high = 0x41c6ce57;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    low = Math.imul(low ^ byte, 0x01000193);
    high = Math.imul(high ^ byte, 0x5f356495);
  }
  return (finish(high) & 0x7ffff) * 4294967296 + finish(low);
}

/** Unkeyed 32-bit hash of `bytes[start, end)`; unsigned. */
export function hash32(bytes: Uint8Array, start: number, end: number): number {
  let h = MIX_SEED;
  for (let i = start; i < end; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193);
  return finish(h);
}
