import { expect, test } from 'vitest';
import { digest, finish, hash32, hashKey, sipHash24 } from './hash.ts';

// Test vectors of the SipHash paper, appendix A and the reference implementation: key 00..0f, input 00..(n-1).
const VECTORS: [number, string][] = [
  [0, '310e0edd47db6f72'],
  [1, 'fd67dc93c539f874'],
  [7, '37d1018bf50002ab'],
  [8, '6224939a79f5f593'],
  [15, 'e545be4961ca29a1'],
  [16, 'db9bc2577fcc2a3f'],
  [63, '724506eb4c328a95'],
];

test.each(VECTORS)('SipHash-2-4 of %i bytes equals the reference', (length, hex) => {
  const key = hashKey(Uint8Array.from({ length: 16 }, (_, i) => i));
  const input = Uint8Array.from({ length: 70 }, (_, i) => (i < 3 ? 99 : i - 3));
  sipHash24(key, input, 3, 3 + length);
  const out = Buffer.alloc(8);
  out.writeInt32LE(digest[0]!, 0);
  out.writeInt32LE(digest[1]!, 4);
  expect(out.toString('hex')).toBe(hex);
});

test('a key of another length is refused', () => {
  expect(() => hashKey(new Uint8Array(15))).toThrow(/16 bytes, not 15/);
});

test('hash32 differs for inputs that differ in one bit and is unsigned', () => {
  const a = hash32(Uint8Array.of(1, 2, 3), 0, 3);
  expect(a).toBeGreaterThanOrEqual(0);
  expect(hash32(Uint8Array.of(1, 2, 2), 0, 3)).not.toBe(a);
  expect(finish(0)).toBe(0);
});
