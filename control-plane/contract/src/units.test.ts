import fc from 'fast-check';
import { expect, test } from 'vitest';
import { duration, formatDuration, parseDuration, parseRate, rate } from './units.ts';

test('durations carry their unit', () => {
  expect(['1500ms', '5s', '2m', '1h', '1d', '0s'].map(parseDuration)).toEqual([
    1500, 5000, 120_000, 3_600_000, 86_400_000, 0,
  ]);
  for (const text of ['5', 's', '5 s', '-5s', '1.5s', '5S', '5sec', '5m5s', '1000000000s', '', ' 5s'])
    expect(parseDuration(text)).toBeUndefined();
});

test('formatDuration is read back to the same number, in the largest unit that fits', () => {
  expect([0, 999, 1000, 90_000, 3_600_000, 172_800_000].map(formatDuration)).toEqual([
    '0ms',
    '999ms',
    '1s',
    '90s',
    '1h',
    '2d',
  ]);
  fc.assert(fc.property(fc.integer({ min: 0, max: 999_999_999 }), (ms) => parseDuration(formatDuration(ms)) === ms));
});

test('a duration field holds its bounds, compared as times', () => {
  const field = duration('100ms', '1d');
  for (const text of ['100ms', '1s', '24h', '1d', '1440m']) expect(field.safeParse(text).success).toBe(true);
  for (const value of ['99ms', '25h', '2d', '5', 5000, null, undefined]) {
    const result = field.safeParse(value);
    expect(result.error?.issues[0]?.message).toBe('a duration with its unit (ms, s, m, h, d) from 100ms to 1d');
  }
});

test('rates are events per second', () => {
  expect(['50/s', '600/m', '3600/h'].map(parseRate)).toEqual([50, 10, 1]);
  for (const text of ['50', '/s', '50/d', '50 /s', '-1/s', '1.5/s', '']) expect(parseRate(text)).toBeUndefined();
  expect(rate().safeParse('50').error?.issues[0]?.message).toBe('a rate with its unit, such as 50/s, 600/m or 1000/h');
});
