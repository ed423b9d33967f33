import { expect, test } from 'vitest';
import { digest, finish, hash32, hashBuffer, hashKey, sipHash24 } from './hash.ts';

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
  expect(result()).toBe(hex);
  // Where it need not be copied, whatever stands around it.
  for (const around of [0, 0xa5]) {
    const own = hashBuffer(70);
    own.fill(around);
    own.set(input.subarray(3, 3 + length), 5);
    sipHash24(key, own, 5, 5 + length);
    expect(result()).toBe(hex);
  }
});

function result(): string {
  const out = Buffer.alloc(8);
  out.writeInt32LE(digest[0]!, 0);
  out.writeInt32LE(digest[1]!, 4);
  return out.toString('hex');
}

test('the longest message can be hashed, and buffers do not touch each other', () => {
  const key = hashKey(new Uint8Array(16));
  const [one, other] = [hashBuffer(13), hashBuffer(13)];
  one.fill(1);
  other.fill(2);
  const long = new Uint8Array(65_536).fill(3);
  sipHash24(key, long, 0, long.length);
  const hash = result();
  long[65_535] = 4;
  sipHash24(key, long, 0, long.length);
  expect(result()).not.toBe(hash);
  expect([...one]).toEqual(new Array(13).fill(1));
  expect([...other]).toEqual(new Array(13).fill(2));
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
