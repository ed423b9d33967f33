import { expect, test } from 'vitest';
import { createOpenConnections, LAST_ID, OpenConnections } from './open-connections.ts';

test('what one thread opens and closes, another sees; each thread by itself', () => {
  const memory = createOpenConnections(2);
  const owner = new OpenConnections(memory);
  const other = new OpenConnections(memory);
  for (const id of [1, 31, 32, LAST_ID]) owner.opened(1, id);
  expect([1, 31, 32, LAST_ID].map((id) => other.has(1, id))).toEqual([true, true, true, true]);
  expect(other.has(0, 31)).toBe(false);
  owner.closed(1, 31);
  expect([other.has(1, 31), other.has(1, 32)]).toEqual([false, true]);
  // Ids and workers as a token may claim them.
  expect([other.has(1, 0), other.has(2, 1), other.has(255, LAST_ID), other.has(1, LAST_ID + 1)]).toEqual(
    new Array(4).fill(false),
  );
});

test('a thread that starts again begins with none', () => {
  const memory = createOpenConnections(2);
  const connections = new OpenConnections(memory);
  connections.opened(0, 7);
  connections.opened(1, LAST_ID);
  connections.clear(1);
  expect([connections.has(0, 7), connections.has(1, LAST_ID)]).toEqual([true, false]);
});
