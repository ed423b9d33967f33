import { expect, test } from 'vitest';
import { createSignals, Signals } from './signals.ts';

test('what data threads saw is taken once; orders stay and move the epoch', () => {
  const memory = createSignals(2);
  const [data, control] = [new Signals(memory), new Signals(memory)];
  expect(data.size).toBe(2);
  data.answered(1);
  data.answered(1);
  data.saw(1, 'timeout');
  data.saw(1, 'timeout');
  data.saw(0, 'refused');
  expect([control.take(1, 'answered'), control.take(1, 'timeout'), control.take(0, 'timeout')]).toEqual([1, 2, 0]);
  expect([control.take(1, 'timeout'), control.take(0, 'refused'), control.take(1, 'unavailable')]).toEqual([0, 1, 0]);
  const before = data.epoch;
  control.order(1, 'cut');
  expect(data.epoch).not.toBe(before);
  expect([data.orders(1, 'cut'), data.orders(1, 'refused'), data.orders(0, 'cut')]).toEqual([1, 0, 0]);
});
