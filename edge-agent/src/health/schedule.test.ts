import { Check } from '@sipfleet/contract';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { BackendHealth, HealthTarget } from './backend.ts';
import type { ProbeTarget } from './probe.ts';
import { HealthSchedule, type ProbeReport, SHARED_MAX_AGE_MS } from './schedule.ts';
import type { ProbeResult } from './verdict.ts';

const RULES = { intervalMs: 1000, timeoutMs: 200, rise: 2, fall: 3 };
const CHECK = { ...RULES, name: 'ping', expensive: false, spec: Check.parse({ name: 'ping', type: 'options' }) };
const DUMMY = Check.parse({ name: 'dummy', type: 'call', from: 'sip:a@HOST', to: 'sip:b@HOST' });
const CALL = { ...RULES, name: 'dummy', expensive: true, spec: DUMMY };
const target = (backend: string, more: Partial<HealthTarget> = {}): HealthTarget => ({
  farm: 'pbx',
  backend,
  address: '192.0.2.1',
  port: 5060,
  transport: 'udp',
  localAddress: '192.0.2.9',
  checks: [CHECK],
  startAs: 'unknown',
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
  expect(schedule.stateOf(target('a'))).toBe('down');
  expect(schedule.stateOf(target('a', { port: 5070 }))).toBe('unknown');
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

test('where a control plane schedules, an expensive check is made in its slots by those assigned, and by nobody else', async () => {
  vi.setSystemTime(1_000_000);
  schedule.assign([{ farm: 'pbx', backend: 'a', check: 'dummy', periodMs: 10_000, phaseMs: 4_000 }]);
  schedule.replace([target('a', { checks: [CALL] }), target('b', { address: '192.0.2.2', checks: [CALL] })]);
  await vi.advanceTimersByTimeAsync(3_999);
  expect(asked).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(1);
  expect(asked.map((t) => t.address)).toEqual(['192.0.2.1']);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(asked.map((t) => t.address)).toEqual(['192.0.2.1', '192.0.2.1', '192.0.2.1']);
  schedule.assign([]);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(asked).toHaveLength(3);
  expect(schedule.checks()).toMatchObject([{ own: false, state: 'unknown' }, { own: false }]);
});

test('without a control plane this agent makes the expensive checks itself', async () => {
  schedule.replace([target('a', { checks: [CALL] })]);
  await vi.advanceTimersByTimeAsync(2_500);
  expect(asked).toHaveLength(3);
});

const said = (agent: string, state: 'up' | 'down') =>
  ({ farm: 'pbx', backend: 'a', check: 'dummy', agent, state, evidence: '503' }) as const;

test('what the assigned agents say counts where all of them say down, until it is too old', async () => {
  schedule.assign([]);
  schedule.replace([target('a', { checks: [CHECK, CALL] })]);
  await vi.advanceTimersByTimeAsync(500);
  expect(changes.map((c) => c.state)).toEqual(['up']);
  schedule.share([said('x', 'down'), said('y', 'up')]);
  expect(changes.map((c) => c.state)).toEqual(['up']);
  schedule.share([said('x', 'down'), said('y', 'down')]);
  expect(changes.at(-1)).toMatchObject({ state: 'down', reason: 'check dummy by y: 503' });
  await vi.advanceTimersByTimeAsync(SHARED_MAX_AGE_MS);
  expect(changes.at(-1)).toMatchObject({ state: 'up' });
});

test('an agent that makes the check itself believes itself', async () => {
  schedule.assign([{ farm: 'pbx', backend: 'a', check: 'dummy', periodMs: 1000, phaseMs: 0 }]);
  schedule.replace([target('a', { checks: [CALL] })]);
  await vi.advanceTimersByTimeAsync(1100);
  schedule.share([said('x', 'down')]);
  expect(schedule.backends()).toMatchObject([{ state: 'up' }]);
});

test('traffic that fails takes a backend down at once; a probe that succeeds afterwards brings it back', async () => {
  schedule.replace([target('a')]);
  await vi.advanceTimersByTimeAsync(600);
  answers.set('192.0.2.1', 'failure');
  schedule.reportPassive('pbx', 'a', 'refused');
  expect(changes.map((c) => c.state)).toEqual(['up']);
  schedule.reportPassive('pbx', 'a', 'refused');
  expect(changes.at(-1)).toMatchObject({ state: 'down', reason: 'traffic: 2 × refused in a row' });
  await vi.advanceTimersByTimeAsync(0);
  expect(asked).toHaveLength(2);
  answers.set('192.0.2.1', 'success');
  await vi.advanceTimersByTimeAsync(1000);
  expect(changes.map((c) => c.state)).toEqual(['up', 'down', 'up']);
});

test('an answer between failures clears the suspicion that was building up', async () => {
  schedule.replace([target('a')]);
  for (const signal of ['timeout', 'timeout', 'timeout', 'timeout', 'answered', 'timeout'] as const)
    schedule.reportPassive('pbx', 'a', signal);
  expect(schedule.backends()).toMatchObject([{ state: 'unknown' }]);
});

test('503s of traffic take a backend down where a check can ask it at once, and not where none can', async () => {
  schedule.replace([target('a'), target('b', { checks: [] }), target('c', { checks: [CALL] })]);
  for (const backend of ['a', 'b', 'c']) for (let i = 0; i < 20; i++) schedule.reportPassive('pbx', backend, '503');
  expect(schedule.backends().map(({ backend, state }) => [backend, state])).toEqual([
    ['a', 'down'],
    ['b', 'unknown'],
    ['c', 'unknown'],
  ]);
  await vi.advanceTimersByTimeAsync(0);
  expect(asked.length).toBeGreaterThan(0);
});

test('a backend that flaps is held down', async () => {
  const damping = { flaps: 2, withinMs: 60_000, holdMs: 20_000 };
  const flapping = { ...CHECK, rise: 1, fall: 1 };
  schedule.replace([target('a', { checks: [flapping], damping })]);
  for (const result of ['success', 'failure', 'success', 'failure', 'success', 'success'] as const) {
    answers.set('192.0.2.1', result);
    await vi.advanceTimersByTimeAsync(1000);
  }
  expect(changes.map((c) => c.state)).toEqual(['up', 'down', 'up', 'down']);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(changes.at(-1)).toMatchObject({ state: 'up' });
});

test('a backend that starts as down serves only once it is proven up', async () => {
  schedule.replace([target('a', { startAs: 'down' })]);
  expect(schedule.backends()).toMatchObject([{ state: 'down', reason: 'not proven yet (health.startAs: down)' }]);
  await vi.advanceTimersByTimeAsync(600);
  expect(changes.map((c) => c.state)).toEqual(['up']);
});

test('a check can be run now, beside its rhythm', async () => {
  schedule.assign([]);
  schedule.replace([target('a', { checks: [CALL] })]);
  expect(await schedule.run('pbx', 'a', 'dummy')).toMatchObject({ result: 'success', evidence: 'evidence' });
  expect(await schedule.run('pbx', 'a', 'other')).toBeUndefined();
});
