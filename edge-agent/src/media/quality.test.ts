import { expect, test } from 'vitest';
import { decode, PCMU } from './g711.ts';
import { type AudioReport, audioFault, LevelMeter } from './quality.ts';
import { SAMPLES } from './samples.ts';
import { defaultTone, melody } from './tone.ts';

const heard: AudioReport = { sent: 100, received: 98, lost: 2, loss: 0.02, jitterMs: 3, early: 0, levelDb: -20 };

test.each([
  [{}, undefined],
  [{ maxLoss: 0.02, maxJitterMs: 3, minLevelDb: -20 }, undefined],
  [{ maxLoss: 0.01 }, '2.0 % of the packets lost, at most 1.0 % allowed'],
  [{ maxJitterMs: 2 }, 'jitter 3.0 ms, at most 2 ms allowed'],
  [{ minLevelDb: -10 }, 'silence: -20.0 dBFS received, at least -10 dBFS asked for'],
])('within bounds or not: %j', (bounds, fault) => {
  expect(audioFault(heard, bounds)).toBe(fault);
});

test('one way is told from both ways, and from none', () => {
  const nothing = { ...heard, received: 0, lost: 0, loss: 0 };
  expect(audioFault(nothing, {})).toBe('one-way audio: 100 packets sent, none received');
  expect(audioFault({ ...nothing, sent: 0 }, {})).toBe('no audio in either direction');
  expect(audioFault({ ...heard, received: 9 }, {})).toBe('one-way audio: 100 packets sent, only 9 received');
  // A peer that talks where we were told not to.
  expect(audioFault({ ...heard, sent: 0 }, {})).toBeUndefined();
});

const levelOf = (samples: Int16Array): number | undefined => {
  const meter = new LevelMeter();
  meter.add(samples);
  return meter.levelDb;
};

test('level: full scale, half of it, silence, nothing', () => {
  expect(levelOf(new Int16Array(800).fill(-32_768))).toBe(0);
  expect(levelOf(new Int16Array(800).fill(16_384))).toBeCloseTo(-6.02, 2);
  expect(levelOf(new Int16Array(800))).toBe(-96);
  expect(new LevelMeter().levelDb).toBeUndefined();
});

test('tones are as long and as loud as they should be', () => {
  expect(defaultTone()).toHaveLength(8000);
  expect(levelOf(decode(PCMU, defaultTone()))).toBeCloseTo(-15, 0);
  const silence = melody([{ hertz: [], ms: 20 }]);
  expect(silence).toEqual(new Uint8Array(160).fill(0xff));
});

test.each(Object.keys(SAMPLES))('%s is what the generator makes', async (name) => {
  const { readFile } = await import('node:fs/promises');
  const made = melody(SAMPLES[name]!);
  const committed = await readFile(new URL(`../../../infra/examples/sounds/${name}`, import.meta.url));
  expect(committed.equals(made)).toBe(true);
});
