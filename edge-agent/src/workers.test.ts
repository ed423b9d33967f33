import { afterEach, expect, test } from 'vitest';
import { createSignals, Signals } from './balancer/signals.ts';
import { type Plan, STATE } from './plan.ts';
import { TRANSPORT } from './ports.ts';
import { Workers } from './workers.ts';

const plan = (etag: string, backends = ['a', 'b']): Plan => ({
  etag,
  generation: 1,
  agent: 1,
  listeners: [
    { farm: 0, transport: TRANSPORT.udp, address: '127.0.0.1', port: 0, advertise: { clients: 'c', backends: 'b' } },
  ],
  farms: [
    {
      name: 'pbx',
      strategy: 'hash',
      key: { kind: 'user', header: '' },
      names: [],
      stateful: true,
      failover: { timeoutMs: 1500, codes: [503], release: true },
      registration: 'path',
      maxExpires: 0,
      backends: backends.map((name) => ({
        name,
        id: 1,
        address: '192.0.2.1',
        port: 5060,
        transport: TRANSPORT.udp,
        tcpAbove: 0,
        weight: 1,
        priority: 1,
        drain: false,
        sources: [],
      })),
      firstBackend: 0,
      tokenKeys: [{ id: 1, key: new Uint8Array(16) }],
      candidates: new SharedArrayBuffer(8),
      lag: {
        seconds: 0,
        transactionsOnly: true,
        before: [],
        unknown: { until: 0, candidates: new SharedArrayBuffer(0) },
      },
      recovered: new SharedArrayBuffer(4),
      sessions: new SharedArrayBuffer(4 * backends.length),
      nonces: new SharedArrayBuffer(0),
      turns: undefined,
      signals: createSignals(backends.length),
      traceparent: false,
      cutConnections: true,
      states: new SharedArrayBuffer(backends.length),
    },
  ],
});

const log: string[] = [];
const note = (_fields: unknown, message?: string): void => void log.push(message ?? '');
let workers: Workers;
/** Index 0: first-time marks of the fixture; 1 + i: aborts that worker i was told. */
let memory: Int32Array;

function start(count: number, deadlineMs = 60_000): Workers {
  log.length = 0;
  const mailboxes = new SharedArrayBuffer(64);
  memory = new Int32Array(mailboxes);
  const script = new URL('./workers.fixture.ts', import.meta.url);
  const quiet = { info: note, warn: note, error: note } as never;
  workers = new Workers({ count, mailboxes, datapath: 'dgram', log: quiet, script, deadlineMs });
  return workers;
}

afterEach(async () => {
  await workers.close();
  await workers.close();
});

test('a plan runs once every thread has committed it', async () => {
  start(3);
  expect(workers.notReady()).toBe('no snapshot applied yet');
  await workers.apply(plan('one'));
  expect(workers.notReady()).toBeUndefined();
  expect(workers.plan?.etag).toBe('one');
  expect(workers.ports).toEqual([40_000]);
  expect(workers.totals().drops[0]).toBe(111);
  expect(workers.totals().listeners).toMatchObject([{ farm: 'pbx', listener: '127.0.0.1:40000', transport: 'udp' }]);
});

test('one thread that cannot prepare aborts all, and the plan before goes on', async () => {
  start(2);
  await workers.apply(plan('one'));
  await expect(workers.apply(plan('fail:1'))).rejects.toMatchObject({
    code: 'PLAN',
    message: 'udp 127.0.0.1:5060: address already in use',
  });
  expect(workers.plan?.etag).toBe('one');
  expect(workers.notReady()).toBeUndefined();
  await workers.apply(plan('two'));
  expect([memory[1], memory[2]]).toEqual([1, 1]);
  expect(workers.totals().drops[0]).toBe(22);
});

test('a thread that dies while it prepares fails the plan and comes back with the one before', async () => {
  start(2);
  await workers.apply(plan('one'));
  await expect(workers.apply(plan('die:1'))).rejects.toThrow('data thread 1 ended');
  expect(workers.notReady()).toBe('data thread 1 is being restarted');
  await expect.poll(() => workers.notReady(), { timeout: 10_000 }).toBeUndefined();
  expect(workers.plan?.etag).toBe('one');
  expect(workers.health).toEqual({ running: 2, restarts: 1 });
});

test('a thread that never answers is ended, and the plan fails', async () => {
  start(2, 300);
  await expect(workers.apply(plan('hang:0'))).rejects.toThrow('no answer to prepare in 0.3s');
  expect(workers.notReady()).toBe('no snapshot applied yet');
});

test('after the first commit there is no way back: a thread that dies then gets the new plan', async () => {
  start(2);
  await workers.apply(plan('one'));
  await workers.apply(plan('late:1'));
  expect(workers.plan?.etag).toBe('late:1');
  await expect.poll(() => workers.notReady(), { timeout: 10_000 }).toBeUndefined();
  expect(workers.health.restarts).toBe(1);
});

test('a thread that crashes is logged, counted and restarted, and what it counted is kept', async () => {
  start(2);
  await workers.apply(plan('crash:1'));
  await expect.poll(() => workers.health, { timeout: 10_000 }).toEqual({ running: 2, restarts: 1 });
  expect(log).toContain('a data thread ended unexpectedly');
  expect(workers.totals().drops[0]).toBe(21);
});

test('states are written where the data threads read them', async () => {
  start(1);
  const running = plan('one');
  await workers.apply(running);
  workers.setState('pbx', 'b', STATE.down);
  workers.setState('pbx', 'nobody', STATE.down);
  workers.setState('nowhere', 'a', STATE.down);
  expect([...new Uint8Array(running.farms[0]!.states)]).toEqual([STATE.unknown, STATE.down]);
  // It went down once, and its connections are cut once.
  workers.setState('pbx', 'b', STATE.down);
  expect(new Signals(running.farms[0]!.signals).orders(1, 'cut')).toBe(1);
});

test('plans are applied one after the other, in the order they were given', async () => {
  start(2);
  await Promise.all([workers.apply(plan('one')), workers.apply(plan('two')), workers.apply(plan('three'))]);
  expect(workers.plan?.etag).toBe('three');
  expect(workers.totals().drops[0]).toBe(33);
});

test('after close nothing is applied', async () => {
  start(1);
  await workers.close();
  await expect(workers.apply(plan('one'))).rejects.toMatchObject({ code: 'PLAN', message: 'the agent is closing' });
});
