import { beforeEach, expect, test } from 'vitest';
import type { FarmPlan, Plan } from '../../plan.ts';
import { METHOD, type MethodName } from '../../sip/method.ts';
import { type CallEvent, EVENT, FLAG, LEG } from '../events.ts';
import { Calls } from './calls.ts';
import type { DelayHistogram } from './delays.ts';
import { ORIGINS, REGISTRATION_COUNTS, SESSION_COUNTS } from './farms.ts';
import { trafficOf } from './traffic.ts';

const plan = (...names: string[]): Plan =>
  ({
    farms: [
      { name: 'pbx', backends: names.map((name) => ({ name })), sessions: new SharedArrayBuffer(names.length * 4) },
    ],
  }) as unknown as Plan;
const sessionsOf = (p: Plan): number[] => [...new Int32Array((p.farms[0] as FarmPlan).sessions)];

/** Milliseconds; the wall clock is 1,000,000 s ahead. */
let now: number;
let calls: Calls;
let running: Plan;
/** Backends whose last dialog has ended. */
const emptied: string[] = [];

beforeEach(() => {
  now = 10_000;
  emptied.length = 0;
  calls = new Calls(now, now + 1e9, undefined, (farm, backend) => void emptied.push(`${farm}/${backend}`));
  running = plan('a', 'b');
  calls.use(running, 1);
});

const NOTHING: Omit<CallEvent, 'time'> = {
  kind: 0,
  plan: 1,
  method: 0,
  call: 7,
  key: 0,
  farm: 0,
  leg: LEG.fromClient,
  flags: 0,
  backend: 0,
  source: -1,
  status: 0,
  transaction: 0,
  start: -1,
  binding: 0,
  value: 0,
  began: 0,
  provisional: 0,
  sent: 1,
  attempts: 1,
  failovers: 0,
};
const happens = (event: Partial<CallEvent>): void => calls.handle({ ...NOTHING, time: now, ...event });
let serial = 0;
/** A request that is sent on; returns how to answer it. */
function sent(name: MethodName, more: Partial<CallEvent> = {}): (status: number, value?: number) => void {
  const id = ++serial;
  const method = METHOD[name];
  happens({ kind: EVENT.request, method, key: id, transaction: id, ...more });
  return (status, value = 0) => happens({ kind: EVENT.response, method, key: more.key ?? id, status, value });
}
function pass(ms: number): void {
  for (const end = now + ms; now < end; ) {
    now = Math.min(end, now + 60_000);
    calls.advance(now, now + 1e9);
  }
}
const farm = () => calls.farms.list()[0]!;
/** Every delay that was timed, with its sum of seconds and how often. */
function delays(): [string, number, number][] {
  const { registration, sessionRequest, sessionDisconnect, sessionDuration } = farm().delays;
  const all: [string, DelayHistogram][] = [
    ['RRD', registration],
    ...sessionRequest.flatMap(({ success, failure }, i): [string, DelayHistogram][] => [
      [`SRD ${ORIGINS[i]} success`, success],
      [`SRD ${ORIGINS[i]} failure`, failure],
    ]),
    ...sessionDuration.map((h, i): [string, DelayHistogram] => [`SDT ${ORIGINS[i]}`, h]),
    ['SDD', sessionDisconnect],
  ];
  return all
    .map(([name, { sum, counts: c }]): [string, number, number] => [name, sum, c.reduce((a, b) => a + b)])
    .filter(([, , times]) => times > 0);
}
const counts = (list: readonly string[], values: Float64Array): Record<string, number> =>
  Object.fromEntries(list.map((name, i): [string, number] => [name, values[i]!]).filter(([, n]) => n > 0));
const sessions = (backend = 'a', origin: 0 | 1 = 0) =>
  counts(SESSION_COUNTS, farm().backends.get(backend)!.sessions[origin]);
const registrations = (backend = 'a') => counts(REGISTRATION_COUNTS, farm().backends.get(backend)!.registrations);

test('a call: request delay to its 180, duration from 200 to BYE, disconnect delay, and a session while it stands', () => {
  const invite = sent('INVITE');
  pass(300);
  invite(180);
  pass(5000);
  invite(200);
  expect(sessionsOf(running)).toEqual([1, 0]);
  pass(60_000);
  const bye = sent('BYE', { flags: FLAG.inDialog });
  pass(20);
  bye(200);
  expect(sessionsOf(running)).toEqual([0, 0]);
  expect(delays()).toEqual([
    ['SRD client success', 0.3, 1],
    ['SDT client', 60, 1],
    ['SDD', 0.02, 1],
  ]);
  expect(sessions()).toEqual({ requests: 1, established: 1, effective: 1, completed: 1 });
});

test('a session of ten seconds or less is completed, and short', () => {
  for (const [call, ms] of [
    [1, 10_000],
    [2, 10_001],
  ] as const) {
    sent('INVITE', { call })(200);
    pass(ms);
    sent('BYE', { call, flags: FLAG.inDialog })(200);
  }
  expect(sessions()).toEqual({ requests: 2, established: 2, effective: 2, completed: 2, short: 1 });
});

test('every final status counts where RFC 6076 has it', () => {
  const statuses = [200, 302, 401, 407, 402, 404, 408, 480, 486, 487, 500, 503, 504, 600, 603, 604];
  for (const [i, status] of statuses.entries()) sent('INVITE', { call: i })(status);
  expect(sessions()).toEqual({
    requests: 16,
    challenges: 2,
    redirects: 1,
    established: 1,
    effective: 5,
    ineffective: 4,
  });
  // Not of a redirect, a challenge, or a request for payment.
  expect(delays()).toEqual([
    ['SRD client success', 0, 1],
    ['SRD client failure', 0, 11],
  ]);
  expect(Object.fromEntries(farm().codes[0])).toEqual(Object.fromEntries(statuses.map((s) => [s, 1])));
});

test('retransmissions of request and response count nothing, also after the end', () => {
  const request = { call: 1, key: 50, transaction: 50 };
  const invite = sent('INVITE', request);
  sent('INVITE', request);
  invite(200);
  invite(200);
  sent('INVITE', request);
  pass(40_000);
  sent('INVITE', request)(200);
  expect(sessions()).toEqual({ requests: 1, established: 1, effective: 1 });
  expect(sessionsOf(running)).toEqual([1, 0]);
});

test('silence: an INVITE without any answer fails after Timer B, one that rings after Timer C; no delay is made up for the first', () => {
  sent('INVITE', { call: 1 });
  const ringing = sent('INVITE', { call: 2 });
  pass(1000);
  ringing(180);
  pass(40_000);
  expect(sessions()).toEqual({ requests: 1, ineffective: 1 });
  pass(200_000);
  expect(sessions()).toEqual({ requests: 2, ineffective: 2 });
  expect(delays()).toEqual([['SRD client failure', 1, 1]]);
  expect(farm().codes[0].get(0)).toBe(2);
});

test('a request that was sent to two backends is one, counted for the second', () => {
  sent('INVITE', { key: 1, transaction: 9, backend: 0 });
  sent('INVITE', { key: 2, transaction: 9, backend: 1 })(200);
  expect(sessions('a')).toEqual({});
  expect(sessions('b')).toEqual({ requests: 1, established: 1, effective: 1 });
  expect(sessionsOf(running)).toEqual([0, 1]);
});

test('a transaction that arrives whole counts as one that was put together', () => {
  const whole = { kind: EVENT.transaction, method: METHOD.INVITE, backend: 1, attempts: 2, failovers: 1, sent: 2 };
  pass(1000);
  happens({ ...whole, began: now - 700, provisional: now - 500, status: 200 });
  expect(sessions('b')).toEqual({ requests: 1, established: 1, effective: 1 });
  expect(sessionsOf(running)).toEqual([0, 1]);
  expect(delays()).toEqual([['SRD client success', 0.2, 1]]);
  happens({ ...whole, method: METHOD.BYE, flags: FLAG.inDialog, began: now, status: 200 });
  expect(sessionsOf(running)).toEqual([0, 0]);
});

test('what we answer ourselves counts, for no backend where none was reached', () => {
  happens({ kind: EVENT.answered, method: METHOD.INVITE, transaction: 1, call: 1, backend: -1, status: 503 });
  sent('INVITE', { call: 2, transaction: 2 });
  happens({ kind: EVENT.answered, method: METHOD.INVITE, transaction: 2, call: 2, status: 408 });
  expect(counts(SESSION_COUNTS, farm().none.sessions[0])).toEqual({ requests: 1, ineffective: 1 });
  expect(sessions('a')).toEqual({ requests: 1, ineffective: 1 });
});

test('registration: the delay includes the challenge, which is neither success nor failure', () => {
  const first = sent('REGISTER', { binding: 5 });
  pass(30);
  first(401);
  pass(100);
  const second = sent('REGISTER', { binding: 5, flags: FLAG.credentials });
  pass(50);
  second(200, 120);
  expect(delays()).toEqual([['RRD', 0.18, 1]]);
  expect(registrations()).toEqual({ requests: 2, challenges: 1, successes: 1 });
  expect(farm().backends.get('a')!.registered).toBe(1);
  for (const status of [403, 402, 503]) sent('REGISTER', { call: status })(status);
  sent('REGISTER', { call: 1 });
  pass(40_000);
  expect(registrations()).toEqual({ requests: 6, challenges: 1, successes: 1, failures: 3 });
  const codes = [...farm().backends.get('a')!.registrationCodes];
  expect(codes.toSorted(([a], [b]) => a - b)).toEqual([0, 200, 401, 402, 403, 503].map((code) => [code, 1]));
  expect(trafficOf(farm(), 4)).toMatchObject({ registrationAttempts: 5, registrationFailures: 3, checksFailed: 4 });
});

test('registrations end when they expire, are removed, or move with their backend', () => {
  const registered = () => ['a', 'b'].map((name) => farm().backends.get(name)!.registered);
  sent('REGISTER', { binding: 1 })(200, 60);
  sent('REGISTER', { binding: 2 })(200, 600);
  expect(registered()).toEqual([2, 0]);
  sent('REGISTER', { binding: 2, backend: 1 })(200, 600);
  expect(registered()).toEqual([1, 1]);
  pass(61_000);
  expect(registered()).toEqual([0, 1]);
  sent('REGISTER', { binding: 2, backend: 1 })(200, 600);
  pass(500_000);
  expect(registered()).toEqual([0, 1]);
  sent('REGISTER', { binding: 2, backend: 1, flags: FLAG.unregister })(200, 600);
  expect(registered()).toEqual([0, 0]);
  pass(1_000_000);
  expect(registered()).toEqual([0, 0]);
});

test('a dialog that began at another agent is taken up, and its duration comes from its token', () => {
  const start = (1_000_000 + 10 - 100) & 0xffffff;
  sent('INVITE', { flags: FLAG.inDialog, start, leg: LEG.toClient, backend: -1, source: 1 })(200);
  expect(sessionsOf(running)).toEqual([0, 1]);
  expect(sessions('b', 1)).toEqual({});
  sent('BYE', { flags: FLAG.inDialog, start, leg: LEG.toClient, backend: 1 })(200);
  expect(sessionsOf(running)).toEqual([0, 0]);
  // And one of which this agent sees nothing but the end.
  sent('BYE', { flags: FLAG.inDialog, start, call: 99 })(200);
  expect(delays().filter(([kind]) => kind.startsWith('SDT'))).toEqual([
    ['SDT client', 100, 1],
    ['SDT backend', 100, 1],
  ]);
  expect(sessions('a', 0)).toEqual({ completed: 1 });
});

test('a dialog ends with its BYE whatever the answer, but is complete only with a 2xx; a challenge ends nothing', () => {
  sent('INVITE', { call: 1 })(200);
  sent('BYE', { call: 1, flags: FLAG.inDialog })(407);
  expect(sessionsOf(running)).toEqual([1, 0]);
  sent('BYE', { call: 1, flags: FLAG.inDialog })(481);
  sent('INVITE', { call: 2 })(200);
  sent('BYE', { call: 2, flags: FLAG.inDialog });
  pass(40_000);
  expect(sessionsOf(running)).toEqual([0, 0]);
  expect(sessions()).toEqual({ requests: 2, established: 2, effective: 2 });
});

test('a dialog of which nothing is heard for four hours is forgotten, and not held for completed', () => {
  sent('INVITE', { call: 1 })(200);
  sent('INVITE', { call: 2 })(200);
  pass(3 * 3600_000);
  sent('UPDATE', { call: 2, flags: FLAG.inDialog })(200);
  pass(2 * 3600_000);
  expect(sessionsOf(running)).toEqual([1, 0]);
  expect(farm().expired).toBe(1);
  expect(sessions().completed).toBeUndefined();
});

test('both legs of a call through a PBX that keeps the Call-ID are sessions of their own', () => {
  sent('INVITE')(200);
  sent('INVITE', { leg: LEG.toClient, backend: -1, source: 0 })(200);
  expect(farm().backends.get('a')!.active).toEqual([1, 1]);
  sent('BYE', { flags: FLAG.inDialog })(200);
  expect(farm().backends.get('a')!.active).toEqual([0, 1]);
});

test('a new plan numbers anew: what goes on stays with its backend, events of the plan before are still understood', () => {
  sent('INVITE', { call: 1, backend: 1 })(200);
  const ringing = sent('INVITE', { call: 2, backend: 1 });
  const next = plan('c', 'b');
  next.farms[0]!.backends.reverse();
  calls.use(next, 2);
  expect(sessionsOf(next)).toEqual([1, 0]);
  ringing(200);
  sent('INVITE', { call: 3, backend: 1 })(200);
  sent('INVITE', { call: 4, backend: 1, plan: 2 })(200);
  expect(sessionsOf(next)).toEqual([3, 1]);
  expect(trafficOf(farm(), 0)).toMatchObject({ sessionAttempts: 4, sessionsEstablished: 4, activeSessions: 4 });
});

test('a backend’s last dialog is told of, and no other', () => {
  for (const call of [1, 2]) sent('INVITE', { call })(200);
  sent('INVITE', { call: 3, backend: 1 })(200);
  sent('BYE', { call: 1, flags: FLAG.inDialog })(200);
  expect(emptied).toEqual([]);
  sent('BYE', { call: 2, flags: FLAG.inDialog })(200);
  expect(emptied).toEqual(['pbx/a']);
});
