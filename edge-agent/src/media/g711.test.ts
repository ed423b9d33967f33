import { expect, test } from 'vitest';
import { decode, encode, PCMA, PCMU, transcode } from './g711.ts';

test('known values of ITU-T G.711', () => {
  // Silence, both extremes, and the first step of each sign.
  expect([...encode(PCMU, Int16Array.of(0, 32_767, -32_768, 8, -8))]).toEqual([0xff, 0x80, 0x00, 0xfe, 0x7e]);
  expect([...encode(PCMA, Int16Array.of(0, 32_767, -32_768, 16, -17))]).toEqual([0xd5, 0xaa, 0x2a, 0xd4, 0x54]);
  expect([...decode(PCMU, Uint8Array.of(0xff, 0x80, 0x00))]).toEqual([0, 32_124, -32_124]);
  expect([...decode(PCMA, Uint8Array.of(0xd5, 0xaa, 0x2a))]).toEqual([8, 32_256, -32_256]);
});

test.each([PCMU, PCMA] as const)(
  'codec %i: every byte survives decoding and encoding, and the error stays small',
  (codec) => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    const again = encode(codec, decode(codec, bytes));
    // µ-law has two zeros.
    expect([...again].filter((byte, i) => byte !== i && !(codec === PCMU && i === 0x7f))).toEqual([]);
    for (let sample = -32_000; sample <= 32_000; sample += 37) {
      const [heard] = decode(codec, encode(codec, Int16Array.of(sample)));
      expect(Math.abs(heard! - sample)).toBeLessThanOrEqual(Math.max(16, Math.abs(sample) / 16));
    }
  },
);

test('a file in PCMU goes out as what was agreed on', () => {
  const file = encode(PCMU, Int16Array.of(0, 1000, -1000));
  expect(transcode(PCMU, file)).toBe(file);
  const heard = decode(PCMA, transcode(PCMA, file));
  expect([...heard].map((s) => Math.round(s / 100))).toEqual([0, 10, -10]);
});
