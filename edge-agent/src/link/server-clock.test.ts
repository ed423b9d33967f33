import { expect, test } from 'vitest';
import { ServerClock } from './server-clock.ts';

const NOW = Date.parse('2026-01-02T03:04:05Z');
const local = { now: () => NOW, monotonic: () => 0 };
const httpDate = (ms: number) => new Date(ms).toUTCString();

test('clocks that agree to some seconds are left alone', () => {
  const clock = new ServerClock(local);
  expect([-15_000, 0, 15_000].map((off) => clock.observe(httpDate(NOW + off)))).toEqual([false, false, false]);
  expect(clock.now()).toBe(NOW);
});

test('a clock that is off is told, once, and when it was put right', () => {
  const clock = new ServerClock(local);
  expect([clock.observe(httpDate(NOW + 3_600_000)), clock.observe(httpDate(NOW + 3_605_000))]).toEqual([true, false]);
  expect(clock.offsetMs).toBe(3_600_500);
  expect(clock.now()).toBe(NOW + 3_600_500);
  expect(clock.observe(httpDate(NOW))).toBe(true);
  expect(clock.offsetMs).toBe(0);
});

test('no date, garbage and another century change nothing', () => {
  const clock = new ServerClock(local);
  for (const date of [null, '', 'yesterday', httpDate(NOW + 90_000_000)]) expect(clock.observe(date)).toBe(false);
  expect(clock.offsetMs).toBe(0);
});
