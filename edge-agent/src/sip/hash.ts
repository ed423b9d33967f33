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
export const digest = new Int32Array(2);

/**
 * SipHash-2-4 (Aumasson, Bernstein 2012) of `bytes[start, end)`, on 32-bit halves since BigInt allocates.
 * The 64-bit result is in {@link digest}; returns the low word.
 */
export function sipHash24(key: HashKey, bytes: Uint8Array, start: number, end: number): number {
  // v0..v3 as low and high words, all of them local: the optimizer keeps them in registers.
  let a = key[0]! ^ 0x70736575;
  let A = key[1]! ^ 0x736f6d65;
  let b = key[2]! ^ 0x6e646f6d;
  let B = key[3]! ^ 0x646f7261;
  let c = key[0]! ^ 0x6e657261;
  let C = key[1]! ^ 0x6c796765;
  let d = key[2]! ^ 0x79746573;
  let D = key[3]! ^ 0x74656462;
  const whole = end - ((end - start) & 7);
  const last = whole + 8;
  // Blocks of eight bytes, then the rest with the length, then the finalization as a block of zeroes: one copy of the rounds for all.
  for (let i = start; i <= last; i += 8) {
    let ml = 0;
    let mh = 0;
    let rounds = 2;
    if (i < whole) {
      ml = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
      mh = bytes[i + 4]! | (bytes[i + 5]! << 8) | (bytes[i + 6]! << 16) | (bytes[i + 7]! << 24);
    } else if (i === whole) {
      mh = ((end - start) & 255) << 24;
      for (let at = i, shift = 0; at < end; at++, shift += 8) {
        if (shift < 32) ml |= bytes[at]! << shift;
        else mh |= bytes[at]! << (shift - 32);
      }
    } else {
      c ^= 0xff;
      rounds = 4;
    }
    d ^= ml;
    D ^= mh;
    do {
      let t = (a >>> 0) + (b >>> 0);
      a = t | 0;
      A = (A + B + (t > 0xffffffff ? 1 : 0)) | 0;
      t = (b << 13) | (B >>> 19);
      B = (B << 13) | (b >>> 19);
      b = t ^ a;
      B ^= A;
      t = a;
      a = A;
      A = t;
      t = (c >>> 0) + (d >>> 0);
      c = t | 0;
      C = (C + D + (t > 0xffffffff ? 1 : 0)) | 0;
      t = (d << 16) | (D >>> 16);
      D = (D << 16) | (d >>> 16);
      d = t ^ c;
      D ^= C;
      t = (a >>> 0) + (d >>> 0);
      a = t | 0;
      A = (A + D + (t > 0xffffffff ? 1 : 0)) | 0;
      t = (d << 21) | (D >>> 11);
      D = (D << 21) | (d >>> 11);
      d = t ^ a;
      D ^= A;
      t = (c >>> 0) + (b >>> 0);
      c = t | 0;
      C = (C + B + (t > 0xffffffff ? 1 : 0)) | 0;
      t = (b << 17) | (B >>> 15);
      B = (B << 17) | (b >>> 15);
      b = t ^ c;
      B ^= C;
      t = c;
      c = C;
      C = t;
    } while (--rounds > 0);
    a ^= ml;
    A ^= mh;
  }
  digest[0] = a ^ b ^ c ^ d;
  digest[1] = A ^ B ^ C ^ D;
  return digest[0]!;
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
