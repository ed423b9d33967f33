import { expect, test } from 'vitest';
import { createLimits, LimitError, Meter } from './limits.ts';

const clock = { now: 1_000_000 };
const now = () => clock.now;
/** How many of these are let through. */
const through = (meter: Meter, key: string, tries: number) =>
  Array.from({ length: tries }, () => meter.take(key)).filter((wait) => wait === undefined).length;

test('ten seconds of the rate come at once, then the rate; what is refused does not count', () => {
  const meter = new Meter(5, now);
  expect(through(meter, 'a', 200)).toBe(50);
  clock.now += 1000;
  expect(through(meter, 'a', 200)).toBe(5);
  clock.now += 3_600_000;
  expect(through(meter, 'a', 200)).toBe(50);
});

test('it says when the next is let through', () => {
  const meter = new Meter(0.5, now);
  through(meter, 'a', 5);
  const wait = meter.take('a') as number;
  clock.now += wait * 1000 - 1;
  expect(meter.take('a')).toBe(1);
  clock.now += 1;
  expect(meter.take('a')).toBeUndefined();
});

test('everybody has a meter of their own, and a clock that was set back locks nobody out', () => {
  const meter = new Meter(1, now);
  expect([through(meter, 'a', 20), through(meter, 'b', 20)]).toEqual([10, 10]);
  clock.now -= 3_600_000;
  const wait = meter.take('a') as number;
  expect(wait).toBeLessThanOrEqual(10);
});

test('keys do not grow without bound', () => {
  const meter = new Meter(1, now);
  through(meter, 'first', 10);
  expect(meter.take('first')).toBeGreaterThan(0);
  for (let i = 0; i < 50_000; i++) meter.take(`other-${i}`);
  // Forgotten, and so forgiven.
  expect(meter.take('first')).toBeUndefined();
});

test('IPv4 counts by address, IPv6 by /64, what is unknown together; mapped addresses are IPv4', () => {
  const limits = createLimits({ agent: undefined, operator: undefined, address: 0.1 }, now);
  const isFree = (address: string | undefined): boolean => {
    try {
      limits.address(address);
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(LimitError);
      return false;
    }
  };
  const addresses = ['192.0.2.1', '::ffff:192.0.2.1', '192.0.2.2', '2001:db8::1', '2001:db8::2', '2001:db8:0:1::1'];
  expect([...addresses, undefined, undefined].map(isFree)).toEqual([true, false, true, true, false, true, true, false]);
});

test('no rate, no limit', () => {
  const limits = createLimits({ agent: undefined, operator: undefined, address: undefined }, now);
  for (let i = 0; i < 10_000; i++) limits.agent('a');
});
