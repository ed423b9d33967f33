import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { ProbeTarget } from './options.ts';
import { type BackendHealth, HealthSchedule, type HealthTarget, type ProbeReport } from './schedule.ts';
import type { ProbeResult } from './verdict.ts';

const CHECK = { name: 'ping', intervalMs: 1000, timeoutMs: 200, rise: 2, fall: 3 };
const target = (backend: string, more: Partial<HealthTarget> = {}): HealthTarget => ({
  farm: 'pbx',
  backend,
  address: '192.0.2.1',
  port: 5060,
  transport: 'udp',
  localAddress: '192.0.2.9',
  checks: [CHECK],
  ...more,
});

let answers: Map<string, ProbeResult>;
let asked: ProbeTarget[];
let reports: ProbeReport[];
let changes: BackendHealth[];
let schedule: HealthSchedule;

beforeEach(() => {
  vi.useFakeTimers();
  answers = new Map();
  asked = [];
  reports = [];
  changes = [];
  schedule = new HealthSchedule({
    probe: async (t) => {
      asked.push(t);
      return { result: answers.get(t.address) ?? 'success', evidence: 'evidence' };
    },
    clock: { now: () => Date.now(), monotonic: () => performance.now() },
    random: () => 0.5,
    probed: (r) => reports.push(r),
    changed: (h) => changes.push(h),
  });
});

afterEach(() => {
  schedule.close();
  vi.useRealTimers();
});

test('a backend is unknown until its first probe, which comes within the first interval', async () => {
  schedule.replace([target('a')]);
  expect(schedule.backends()).toMatchObject([{ state: 'unknown', reason: 'not probed yet' }]);
  await vi.advanceTimersByTimeAsync(499);
  expect(asked).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(1);
  expect(asked).toMatchObject([{ address: '192.0.2.1', localAddress: '192.0.2.9', timeoutMs: 200 }]);
  expect(changes).toMatchObject([{ farm: 'pbx', backend: 'a', state: 'up', reason: 'check ping: evidence' }]);
});

test('fall failures take it down, rise successes bring it back, and every probe is reported', async () => {
  answers.set('192.0.2.1', 'failure');
  schedule.replace([target('a')]);
  await vi.advanceTimersByTimeAsync(2500);
  expect(changes.map((c) => c.state)).toEqual(['down']);
  answers.set('192.0.2.1', 'success');
  await vi.advanceTimersByTimeAsync(2000);
  expect(changes.map((c) => c.state)).toEqual(['down', 'up']);
  expect(reports.map((r) => r.result)).toEqual(['failure', 'failure', 'failure', 'success', 'success']);
});

test('backends are probed in parallel: one that hangs does not hold up another', async () => {
  const hanging = new HealthSchedule({
    probe: (t) => {
      asked.push(t);
      return t.address === '192.0.2.1' ? new Promise(() => {}) : Promise.resolve({ result: 'success', evidence: '' });
    },
    clock: { now: () => Date.now(), monotonic: () => performance.now() },
    random: () => 0,
    probed: (r) => reports.push(r),
    changed: () => {},
  });
  hanging.replace([target('a'), target('b', { address: '192.0.2.2' })]);
  await vi.advanceTimersByTimeAsync(2000);
  expect(reports.map((r) => r.backend)).toEqual(['b', 'b', 'b']);
  hanging.close();
});

test('a new configuration keeps the verdict of a backend that stays and forgets one that moved', async () => {
  answers.set('192.0.2.1', 'failure');
  schedule.replace([target('a'), target('b', { address: '192.0.2.2' })]);
  await vi.advanceTimersByTimeAsync(2500);
  schedule.replace([target('a', { checks: [{ ...CHECK, intervalMs: 5000 }] }), target('b', { address: '192.0.2.3' })]);
  expect(schedule.backends().map((h) => [h.backend, h.state])).toEqual([
    ['a', 'down'],
    ['b', 'unknown'],
  ]);
  expect(schedule.stateOf({ farm: 'pbx', backend: 'a', address: '192.0.2.1', port: 5060 })).toBe('down');
  expect(schedule.stateOf({ farm: 'pbx', backend: 'a', address: '192.0.2.1', port: 5070 })).toBe('unknown');
});

test('an unchanged check keeps its rhythm over a new configuration, and is not doubled', async () => {
  schedule.replace([target('a')]);
  await vi.advanceTimersByTimeAsync(900);
  schedule.replace([target('a')]);
  await vi.advanceTimersByTimeAsync(600);
  expect(asked).toHaveLength(2);
});

test('without its checks a backend serves again, as unknown, and is probed no more', async () => {
  answers.set('192.0.2.1', 'failure');
  schedule.replace([target('a')]);
  await vi.advanceTimersByTimeAsync(2500);
  schedule.replace([target('a', { checks: [] })]);
  expect(changes.at(-1)).toMatchObject({ state: 'unknown', reason: 'no checks configured' });
  await vi.advanceTimersByTimeAsync(5000);
  expect(asked).toHaveLength(3);
});

test('after close nothing is probed', async () => {
  schedule.replace([target('a')]);
  schedule.close();
  schedule.close();
  await vi.advanceTimersByTimeAsync(5000);
  expect(asked).toHaveLength(0);
});
