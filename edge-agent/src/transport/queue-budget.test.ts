import { expect, test } from 'vitest';
import { QueueBudget, QueueShare } from './queue-budget.ts';

test('shares add up; above the budget only those that have nothing waiting get one message on top', () => {
  const budget = new QueueBudget();
  const [slow, fast] = [new QueueShare(budget), new QueueShare(budget)];
  slow.set(900);
  expect([slow.admits(100, 1000), slow.admits(101, 1000), fast.admits(500, 1000)]).toEqual([true, false, true]);
  fast.set(500);
  expect([budget.bytes, fast.admits(1, 1000)]).toEqual([1400, false]);
  slow.set(0);
  expect([budget.bytes, fast.admits(500, 1000)]).toEqual([500, true]);
});
