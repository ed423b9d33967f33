import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TICK_MS, TimerWheel } from './wheel.ts';

test('timers fire never early, at most one tick late, each once, at all ranges of the wheel', () => {
  const start = 1_000_003;
  const delays = [0, 1, 7, 8, 500, 2047, 2048, 2049, 32_000, 181_000, 524_288, 600_000, 3_600_000];
  const wheel = new TimerWheel(delays.length, start);
  for (const [i, d] of delays.entries()) wheel.start(i, start + d);
  const fired = new Map<number, number>();
  for (let now = start; now <= start + 3_600_100; now += TICK_MS)
    wheel.advance(now, (t) => {
      expect(fired.has(t)).toBe(false);
      fired.set(t, now);
    });
  expect(wheel.running).toBe(0);
  for (const [i, d] of delays.entries()) {
    expect(fired.get(i)).toBeGreaterThanOrEqual(start + d);
    expect(fired.get(i)! - start - d).toBeLessThanOrEqual(3 * TICK_MS);
  }
});

test('against a plain list: any mix of starts, restarts, stops and steps fires the same timers', () => {
  const command = fc.oneof(
    fc.record({ op: fc.constant('start' as const), timer: fc.nat(15), delay: fc.oneof(fc.nat(300), fc.nat(600_000)) }),
    fc.record({ op: fc.constant('stop' as const), timer: fc.nat(15), delay: fc.constant(0) }),
    fc.record({
      op: fc.constant('step' as const),
      timer: fc.constant(0),
      delay: fc.oneof(fc.nat(100), fc.nat(700_000)),
    }),
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 40 }), fc.nat(1 << 30), (commands, origin) => {
      let now = origin;
      const wheel = new TimerWheel(16, now);
      const due = new Map<number, number>();
      for (const { op, timer, delay } of commands) {
        if (op === 'start') {
          wheel.start(timer, now + delay);
          due.set(timer, Math.max(Math.ceil((now + delay) / TICK_MS), Math.floor(now / TICK_MS) + 1));
        } else if (op === 'stop') {
          wheel.stop(timer);
          due.delete(timer);
        } else {
          now += delay;
          const fired: number[] = [];
          wheel.advance(now, (t) => fired.push(t));
          const expected = [...due].filter(([, tick]) => tick <= Math.floor(now / TICK_MS)).map(([t]) => t);
          expect(fired.sort((a, b) => a - b)).toEqual(expected.sort((a, b) => a - b));
          for (const t of expected) due.delete(t);
        }
        expect(wheel.running).toBe(due.size);
      }
    }),
  );
});

test('a timer may start itself and stop others while firing', () => {
  const wheel = new TimerWheel(3, 0);
  const fired: number[] = [];
  wheel.start(0, 10);
  wheel.start(1, 10);
  wheel.start(2, 100);
  wheel.advance(400, (t) => {
    fired.push(t);
    if (t !== 2) wheel.stop(1 - t);
    if (fired.length < 3) wheel.start(t, 300);
  });
  expect(fired).toHaveLength(4);
  expect(new Set(fired).has(2)).toBe(true);
});

test('an unknown timer is refused', () => {
  expect(() => new TimerWheel(2, 0).start(2, 1)).toThrow(/timer 2; allowed: 0 to 1/);
});
