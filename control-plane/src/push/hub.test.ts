import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createHub, type Hub, jitterFor, type PushSocket } from './hub.ts';

class FakeSocket extends EventEmitter implements PushSocket {
  readonly sent: unknown[] = [];
  pings = 0;
  closed: number | 'terminated' | undefined;
  send(text: string) {
    this.sent.push(JSON.parse(text));
  }
  ping() {
    this.pings++;
  }
  close(code: number) {
    this.closed = code;
    this.emit('close');
  }
  terminate() {
    this.closed = 'terminated';
    this.emit('close');
  }
}

let hub: Hub;
beforeEach(() => {
  vi.useFakeTimers();
  hub = createHub(30_000);
});
afterEach(async () => {
  await hub.close();
  vi.useRealTimers();
});

function connect(agentId: string, site: string): FakeSocket {
  const socket = new FakeSocket();
  hub.add({ agentId, site }, socket);
  return socket;
}

test('hints go to the agents of the sites, and to no others', () => {
  const [a, b, c] = [connect('a', 'milan'), connect('b', 'milan'), connect('c', 'turin')];
  hub.hint(['milan', 'rome'], 7);
  const hint = { type: 'snapshot', site: 'milan', generation: 7, jitterMs: 0 };
  expect([a.sent, b.sent, c.sent]).toEqual([[hint], [hint], []]);
});

test('the jitter grows with the agents that are hinted to, of all sites together, up to a minute', () => {
  expect([0, 10, 11, 1000, 10_000, 1_000_000].map(jitterFor)).toEqual([0, 0, 4, 334, 3334, 60_000]);
  const sockets = Array.from({ length: 30 }, (_, i) =>
    connect(`agent-${i}`, ['milan', 'rome', 'turin'][i % 3] as string),
  );
  hub.hint(['milan', 'rome'], 1);
  expect(sockets.map((s) => s.sent)).toEqual(
    sockets.map((_, i) =>
      i % 3 === 2 ? [] : [{ type: 'snapshot', site: ['milan', 'rome'][i % 3], generation: 1, jitterMs: 7 }],
    ),
  );
});

test('a round of pings is dealt over its interval', () => {
  const sockets = Array.from({ length: 60 }, (_, i) => connect(`agent-${i}`, 'milan'));
  const pinged = () => sockets.reduce((sum, socket) => sum + socket.pings, 0);
  vi.advanceTimersByTime(1_000);
  expect(pinged()).toBe(2);
  vi.advanceTimersByTime(29_000);
  expect(sockets.every((socket) => socket.pings === 1)).toBe(true);
});

test('a connection that leaves a ping unanswered is cut at the next', () => {
  const [dead, live] = [connect('dead', 'milan'), connect('live', 'milan')];
  vi.advanceTimersByTime(30_000);
  expect([dead.pings, live.pings]).toEqual([1, 1]);
  live.emit('pong');
  vi.advanceTimersByTime(30_000);
  expect([dead.closed, live.closed]).toEqual(['terminated', undefined]);
  expect([hub.connected('dead'), hub.connected('live')]).toEqual([false, true]);
});

test('who says something needs no ping, and is pinged again once it is silent', () => {
  const talker = connect('talker', 'milan');
  for (let i = 0; i < 3; i++) {
    talker.emit('message');
    vi.advanceTimersByTime(30_000);
  }
  expect([talker.pings, talker.closed]).toEqual([0, undefined]);
  vi.advanceTimersByTime(30_000);
  expect([talker.pings, talker.closed]).toEqual([1, undefined]);
  // Not by a pong, but heard all the same.
  talker.emit('message');
  vi.advanceTimersByTime(60_000);
  expect([talker.pings, talker.closed]).toEqual([2, undefined]);
  vi.advanceTimersByTime(30_000);
  expect(talker.closed).toBe('terminated');
});

test('a revoked agent loses all its connections', () => {
  const [one, two, other] = [connect('a', 'milan'), connect('a', 'milan'), connect('b', 'milan')];
  hub.disconnect('a');
  expect([one.closed, two.closed, other.closed]).toEqual([4401, 4401, undefined]);
  expect(hub.connected('a')).toBe(false);
});

test('a socket error ends that connection, not the process', () => {
  const socket = connect('a', 'milan');
  socket.emit('error', new Error('reset'));
  expect(socket.closed).toBe('terminated');
  expect(hub.connected('a')).toBe(false);
});

test('close waits for the connections, cuts who does not answer, and takes no new ones', async () => {
  const [polite, stubborn] = [connect('polite', 'milan'), connect('stubborn', 'milan')];
  stubborn.close = () => {};
  const closing = hub.close();
  expect(polite.closed).toBe(1001);
  vi.advanceTimersByTime(1000);
  await closing;
  expect(stubborn.closed).toBe('terminated');
  const late = connect('late', 'milan');
  expect(late.closed).toBe('terminated');
  expect(hub.connected('late')).toBe(false);
});

test('a schedule is hinted to its sites, a check is asked of one agent', () => {
  const [a, b] = [connect('a', 'milan'), connect('b', 'turin')];
  hub.scheduleChanged(['turin']);
  const check = { id: '1', farm: 'pbx', backend: 'pbx1', check: 'dummy' };
  expect([hub.runCheck('a', check), hub.runCheck('c', check)]).toEqual([true, false]);
  expect([a.sent, b.sent]).toEqual([[{ type: 'check', ...check }], [{ type: 'schedule', site: 'turin', jitterMs: 0 }]]);
});

test('an agent is lost when its last connection ends, and not when the hub closes', async () => {
  const lost: string[] = [];
  const watched = createHub(30_000, (agentId) => lost.push(agentId));
  const add = (agentId: string): FakeSocket => {
    const socket = new FakeSocket();
    watched.add({ agentId, site: 'milan' }, socket);
    return socket;
  };
  const [first, second] = [add('a'), add('a')];
  add('b');
  first.terminate();
  expect(lost).toEqual([]);
  second.terminate();
  expect(lost).toEqual(['a']);
  await watched.close();
  expect(lost).toEqual(['a']);
});
