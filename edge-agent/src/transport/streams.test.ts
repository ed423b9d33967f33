import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { AgentError } from '../errors.ts';
import { type Endpoint, TRANSPORT } from '../ports.ts';
import { formatEndpoint } from './endpoint.ts';
import { loadLibc } from './libc.ts';
import { portTaken } from './probe.ts';
import {
  atEnd,
  closeAll,
  closeLast,
  condition,
  create,
  dial,
  endpoint,
  request,
  turnsUntil,
  type Watched,
  watch,
  whole,
} from './streams.fixture.ts';

const hasIPv6 = Object.values(networkInterfaces()).some((list) => list?.some((i) => i.address === '::1'));
const kinds = loadLibc() ? (['ffi', 'dgram'] as const) : (['dgram'] as const);

afterEach(closeAll);

/** A PBX that listens; `accepted` gives its connections in order. */
async function createPbx(host = '127.0.0.1') {
  const accepted: Watched[] = [];
  const { changed, until } = condition();
  const server: Server = createServer((socket) => {
    accepted.push(watch(socket));
    changed();
  });
  server.listen(0, host);
  await once(server, 'listening');
  atEnd(() => new Promise((resolve) => server.close(resolve)));
  const { port } = server.address() as { port: number };
  const connection = async (i = 0) => {
    await until(() => accepted.length > i);
    return accepted[i] as Watched;
  };
  return { port, accepted, connection };
}

describe.each(kinds)('listening by %s', (kind) => {
  test.each(hasIPv6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'])(
    'answers on the connection that a message came by, on %s',
    async (address) => {
      const { streams, got, until } = create({ kind });
      const listener = await streams.listen(address, 0, 2);
      const client = await dial(listener.port, address);
      client.socket.write(request('one') + request('two', 'body'));
      await until(() => got.length === 2);
      expect(got.map((m) => [m.text, m.listener, m.from.transport])).toEqual([
        [request('one'), 2, TRANSPORT.tcp],
        [request('two', 'body'), 2, TRANSPORT.tcp],
      ]);
      const { from } = got[0] as { from: Endpoint };
      expect(from.port).toBe(client.port);
      expect(from.connection).toBeGreaterThan(0);
      expect(from.connection).toBeLessThanOrEqual(0xffffff);
      expect(streams.isPeer(from.connection, endpoint(address, client.port))).toBe(true);
      expect(streams.isPeer(from.connection, endpoint(address, client.port ^ 1))).toBe(false);
      expect(streams.isPeer(from.connection ^ 1, endpoint(address, client.port))).toBe(false);
      expect(streams.send(from.connection, whole('first '))).toBe(true);
      expect(streams.send(from.connection, whole('second'))).toBe(true);
      expect(streams.send(from.connection ^ 1, whole('nobody'))).toBe(false);
      await client.received('first second');
      expect(listener.connections).toBe(1);
    },
  );

  test('workers share a port; a program that does not share it keeps it', async () => {
    const [first, second] = [create({ kind }), create({ kind })];
    const listener = await first.streams.listen('127.0.0.1', 0, 0);
    expect((await second.streams.listen('127.0.0.1', listener.port, 0)).port).toBe(listener.port);
    expect(await portTaken('tcp', '127.0.0.1', listener.port)).toBe(true);
    const pbx = await createPbx();
    const error = await first.streams.listen('127.0.0.1', pbx.port, 0).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(AgentError);
    expect((error as AgentError).code).toBe('LISTEN');
    expect((error as AgentError).message).toMatch(`cannot listen on tcp 127.0.0.1:${pbx.port}: EADDRINUSE`);
  });
});

test.runIf(kinds.length === 2)('listens where the address is not on this host yet (IP_FREEBIND)', async () => {
  const { streams } = create();
  expect((await streams.listen('192.0.2.1', 0, 0)).port).toBeGreaterThan(0);
});

describe('connections to a PBX', () => {
  test('the first message connects from the listener’s address, the next ones and the answers use the connection', async () => {
    const { streams, counts, got, until } = create();
    await streams.listen('127.0.0.1', 0, 5);
    const pbx = await createPbx();
    for (const id of ['a', 'b', 'c'])
      expect(streams.sendTo(endpoint('127.0.0.1', pbx.port), whole(request(id)), '127.0.0.1', 5)).toBe(true);
    const there = await pbx.connection();
    await there.received(request('c'));
    expect(there.text()).toBe(request('a') + request('b') + request('c'));
    streams.sendTo(endpoint('127.0.0.1', pbx.port), whole(request('d')), '127.0.0.1', 5);
    await there.received(request('d'));
    there.socket.write(request('back'));
    await until(() => got.length === 1);
    expect(got[0]).toMatchObject({ text: request('back'), listener: 5 });
    expect(formatEndpoint((got[0] as { from: Endpoint }).from)).toBe(`127.0.0.1:${pbx.port}`);
    expect(pbx.accepted).toHaveLength(1);
    expect(counts).toMatchObject({ sent: 4, sentBytes: 4 * request('a').length, sendDropped: 0, received: 1 });
    expect(streams.connectionCounts).toMatchObject({ connected: 1, accepted: 0, connectFailed: 0 });
  });

  test.runIf(hasIPv6)('over IPv6', async () => {
    const { streams } = create();
    const pbx = await createPbx('::1');
    streams.sendTo(endpoint('::1', pbx.port), whole(request('six')), '::1', 0);
    await (await pbx.connection()).received(request('six'));
  });

  test('a connection that the remote opened from exactly that address and port is used', async () => {
    const { streams, until, got } = create();
    const listener = await streams.listen('127.0.0.1', 0, 1);
    const client = await dial(listener.port);
    client.socket.write(request('hello'));
    await until(() => got.length === 1);
    streams.sendTo(endpoint('127.0.0.1', client.port), whole(request('to you')), '127.0.0.1', 1);
    await client.received(request('to you'));
    expect(streams.connectionCounts.connected).toBe(0);
  });

  test('listeners do not share connections: what comes back belongs to the one that asked', async () => {
    const { streams, got, until } = create();
    const first = await streams.listen('127.0.0.1', 0, 1);
    await streams.listen('127.0.0.1', 0, 2);
    const pbx = await createPbx();
    const to = endpoint('127.0.0.1', pbx.port);
    streams.sendTo(to, whole(request('x')), '127.0.0.1', 1);
    streams.sendTo(to, whole(request('x')), '127.0.0.1', 2);
    for (const i of [0, 1]) {
      const there = await pbx.connection(i);
      await there.received(request('x'));
      there.socket.write(request('answer'));
    }
    await until(() => got.length === 2);
    expect(got.map((m) => m.listener).sort()).toEqual([1, 2]);
    // A new plan numbers them anew: open connections follow.
    first.listener = 7;
    got.length = 0;
    for (const there of pbx.accepted) there.socket.write(request('later'));
    await until(() => got.length === 2);
    expect(got.map((m) => m.listener).sort()).toEqual([2, 7]);
    // A listener that goes takes its connections with it.
    await first.close();
    await Promise.race(pbx.accepted.map((there) => there.closed()));
    expect(first.connections).toBe(0);
  });

  test('a refused connection drops what waited, and counts it; the next message tries again', async () => {
    const { streams, counts, closed, unreachable, until } = create();
    const { port } = await createPbx();
    await closeLast();
    const to = endpoint('127.0.0.1', port);
    streams.sendTo(to, whole(request('a')), '127.0.0.1', 0);
    streams.sendTo(to, whole(request('b')), '127.0.0.1', 0);
    await until(() => closed.length === 1);
    expect(counts).toMatchObject({ sent: 0, sendDropped: 2 });
    streams.sendTo(to, whole(request('c')), '127.0.0.1', 0);
    await until(() => closed.length === 2);
    expect(streams.connectionCounts.connectFailed).toBe(2);
    expect(unreachable.map((u) => [formatEndpoint(u.to), u.listener, u.refused])).toEqual(
      Array(2).fill([`127.0.0.1:${port}`, 0, true]),
    );
    expect(counts.sendDropped).toBe(3);
  });

  test('only so many messages wait for a connection', async () => {
    const { streams, counts } = create({ limits: { connecting: 3 } });
    const pbx = await createPbx();
    const to = endpoint('127.0.0.1', pbx.port);
    const taken = ['a', 'b', 'c', 'd'].map((id) => streams.sendTo(to, whole(request(id)), '127.0.0.1', 0));
    expect(taken).toEqual([true, true, true, false]);
    await (await pbx.connection()).received(request('c'));
    expect(counts).toMatchObject({ sent: 3, sendDropped: 1 });
  });

  test('connections that match are closed, accepted and opened; of those opened it is told that they were open', async () => {
    const { streams, got, closed, unreachable, until } = create();
    const pbx = await createPbx();
    const to = endpoint('127.0.0.1', pbx.port);
    streams.sendTo(to, whole(request('a')), '127.0.0.1', 3);
    const opened = await pbx.connection();
    await opened.received(request('a'));
    const { port } = await streams.listen('127.0.0.1', 0, 4);
    const phone = await dial(port);
    phone.socket.write(request('b'));
    await until(() => got.length === 1);
    streams.closeWhere((_remote, listener) => listener === 5);
    expect(closed).toEqual([]);
    streams.closeWhere((remote, listener) => remote.port === pbx.port && listener === 3);
    await opened.closed();
    expect(unreachable).toMatchObject([{ listener: 3, refused: false }]);
    streams.closeWhere(() => true);
    await phone.closed();
    expect([closed.length, unreachable.length]).toEqual([2, 1]);
  });

  test('a connection that cannot be established in time is given up', async () => {
    const { streams, counts, closed, until } = create({ limits: { connectTime: 50 } });
    const port = await listenWithoutAccepting();
    const to = endpoint('127.0.0.1', port);
    streams.sendTo(to, whole(request('a')), '127.0.0.1', 0);
    await until(() => closed.length === 1);
    expect(counts).toMatchObject({ sent: 0, sendDropped: 1 });
    expect(streams.connectionCounts.connectFailed).toBe(1);
  });
});

/** A port whose SYNs get no answer: its thread stands still, and its backlog is full. */
async function listenWithoutAccepting(): Promise<number> {
  const thread = new Worker(
    `const { parentPort } = require('node:worker_threads');
     const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    { eval: true },
  );
  atEnd(() => thread.terminate());
  const [port] = (await once(thread, 'message')) as [number];
  // The kernel completes backlog + 1 connections by itself.
  await dial(port);
  await dial(port);
  return port;
}

test('a peer that does not read gets no more than its queue; the rest is dropped and counted', async () => {
  const { streams, counts, got, until } = create({ limits: { queued: 200_000 } });
  const listener = await streams.listen('127.0.0.1', 0, 0);
  const client = await dial(listener.port);
  client.socket.pause();
  client.socket.write(request('hello'));
  await until(() => got.length === 1);
  const { connection } = (got[0] as { from: Endpoint }).from;
  const piece = whole('x'.repeat(50_000));
  // The kernel's buffers take some MiB before the queue grows.
  for (let i = 0; i < 1000 && counts.sendDropped === 0; i++) {
    expect(streams.send(connection, piece)).toBe(true);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(counts.sendDropped).toBe(1);
  expect(streams.sendTo(endpoint('127.0.0.1', client.port), piece, '127.0.0.1', 0)).toBe(false);
  const { sentBytes } = counts;
  let read = 0;
  client.socket.on('data', (chunk) => {
    read += chunk.length;
    client.socket.emit('read');
  });
  client.socket.resume();
  while (read < sentBytes) await once(client.socket, 'read');
  expect(streams.send(connection, whole('again'))).toBe(true);
  await client.received('again');
  expect(read).toBe(sentBytes + 5);
});

test('peers that do not read share one budget: above it they get nothing on top, and others go on', async () => {
  const { streams, counts, got, until } = create({ limits: { queued: 4 << 20, queuedInAll: 1 << 20 } });
  const listener = await streams.listen('127.0.0.1', 0, 0);
  const [slow, fast] = [await dial(listener.port), await dial(listener.port)];
  slow.socket.pause();
  slow.socket.write(request('slow'));
  await until(() => got.length === 1);
  fast.socket.write(request('fast'));
  await until(() => got.length === 2);
  const [toSlow, toFast] = got.map(({ from }) => from.connection) as [number, number];
  const text = whole('x'.repeat(60_000));
  // The kernel takes some megabytes before anything waits here.
  for (let i = 0; i < 1000 && counts.overBudget === 0; i++) {
    streams.send(toSlow, text);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(counts).toMatchObject({ overBudget: 1, sendDropped: 0 });
  expect(streams.queuedBytes).toBeGreaterThan((1 << 20) - 60_000);
  expect(streams.queuedBytes).toBeLessThanOrEqual(1 << 20);
  streams.send(toFast, whole(request('still')));
  await fast.received(request('still'));
  slow.socket.destroy();
  await turnsUntil(() => streams.queuedBytes === 0);
});

test('a ping gets its pong', async () => {
  const { streams, got, until } = create();
  const listener = await streams.listen('127.0.0.1', 0, 0);
  const client = await dial(listener.port);
  client.socket.write('\r\n\r\n');
  await client.received('\r\n');
  client.socket.write(`${request('x')}\r\n`);
  await until(() => got.length === 1);
  streams.send((got[0] as { from: Endpoint }).from.connection, whole('end'));
  await client.received('end');
  expect(client.text()).toBe('\r\nend');
});

test.each([
  ['garbage', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'malformed'],
  ['a body over the limit', 'OPTIONS sip:a SIP/2.0\r\nl: 99999999999\r\n\r\n', 'oversized'],
  ['a header over the limit', 'x'.repeat(17_000), 'oversized'],
])('%s closes the connection, after what came before it', async (_name, text, counter) => {
  const { streams, counts, got, closed, until } = create();
  const listener = await streams.listen('127.0.0.1', 0, 0);
  const client = await dial(listener.port);
  client.socket.write(request('good') + text);
  await client.closed();
  await until(() => closed.length === 1);
  expect(got.map((m) => m.text)).toEqual([request('good')]);
  expect({ ...counts, ...streams.connectionCounts }).toMatchObject({ [counter]: 1 });
  expect(listener.connections).toBe(0);
});

test('a peer that ends its side is sent what is queued, then closed; an unfinished message is dropped', async () => {
  const { streams, counts, closed, until } = create({
    handler: (_bytes, _start, _end, from) => streams.send(from.connection, whole('answer')),
  });
  const listener = await streams.listen('127.0.0.1', 0, 0);
  const client = await dial(listener.port);
  client.socket.end(request('last') + 'OPTIONS sip:half');
  await client.closed();
  expect(client.text()).toBe('answer');
  await until(() => closed.length === 1);
  expect(streams.send(closed[0] as number, whole('too late'))).toBe(false);
  expect(counts.received).toBe(1);
});

test('idle and slow connections expire; a keepalive counts as a sign of life, not as progress of a message', async () => {
  let now = 1000;
  const { streams, closed, until, got } = create({ now: () => now, limits: { idleTime: 20, messageTime: 10 } });
  const listener = await streams.listen('127.0.0.1', 0, 0);
  const [alive, slow, idle] = [await dial(listener.port), await dial(listener.port), await dial(listener.port)];
  for (const c of [alive, slow, idle]) c.socket.write('\r\n\r\n');
  await Promise.all([alive, slow, idle].map((c) => c.received('\r\n')));
  slow.socket.write(`${request('whole')}OPTIONS sip:a`);
  await until(() => got.length === 1);
  now += 11;
  await slow.closed();
  expect(closed).toHaveLength(1);
  alive.socket.write('\r\n\r\n');
  await alive.received('\r\n\r\n');
  now += 11;
  await idle.closed();
  await until(() => closed.length === 2);
  expect(streams.connectionCounts.expired).toBe(2);
  expect(listener.connections).toBe(1);
});

test('the time for a message starts with that message', async () => {
  let now = 1000;
  const { streams, closed, until, got } = create({ now: () => now, limits: { messageTime: 10 } });
  const listener = await streams.listen('127.0.0.1', 0, 0);
  const [brisk, slow] = [await dial(listener.port), await dial(listener.port)];
  for (const c of [brisk, slow]) c.socket.write(`${request('first')}${request('second').slice(0, 9)}`);
  await until(() => got.length === 2);
  now += 6;
  brisk.socket.write(`${request('second').slice(9)}OPTIONS`);
  await until(() => got.length === 3);
  now += 6;
  await slow.closed();
  expect(closed).toHaveLength(1);
  expect(listener.connections).toBe(1);
});

test('connections over the limit are closed at once', async () => {
  const { streams, got, until } = create({ limits: { connections: 1 } });
  const listener = await streams.listen('127.0.0.1', 0, 0);
  const first = await dial(listener.port);
  first.socket.write(request('a'));
  await until(() => got.length === 1);
  const second = await dial(listener.port);
  await second.closed();
  expect(streams.connectionCounts).toMatchObject({ accepted: 1, refused: 1 });
  first.socket.write(request('b'));
  await until(() => got.length === 2);
});

test('ids increase and are not reused soon', async () => {
  const { streams, got, until } = create();
  const listener = await streams.listen('127.0.0.1', 0, 0);
  for (let i = 1; i <= 5; i++) {
    const client = await dial(listener.port);
    client.socket.end(request(i));
    await until(() => got.length === i);
  }
  const ids = got.map((m) => m.from.connection);
  expect(new Set(ids).size).toBe(5);
  const steps = ids.slice(1).map((id, i) => (id - (ids[i] as number) + 0xffffff) % 0xffffff);
  expect(steps).toEqual([1, 1, 1, 1]);
});

test('the end of a batch is told once per chunk, behind its messages', async () => {
  const events: string[] = [];
  const { changed, until } = condition();
  const { streams } = create({
    handler: () => events.push('message'),
    onBatchEnd: () => {
      events.push('end');
      changed();
    },
  });
  const listener = await streams.listen('127.0.0.1', 0, 0);
  const client = await dial(listener.port);
  client.socket.write(request(1) + request(2));
  await until(() => events.includes('end'));
  expect(events).toEqual(['message', 'message', 'end']);
});

test('closing sends what is queued, ends every connection, tells each once, and is safe twice and in a handler', async () => {
  let closing: Promise<void> | undefined;
  const { streams, counts, closed } = create({
    handler: (_bytes, _start, _end, from) => {
      streams.send(from.connection, whole('bye'));
      closing = streams.close();
    },
  });
  const listener = await streams.listen('127.0.0.1', 0, 0);
  const pbx = await createPbx();
  streams.sendTo(endpoint('127.0.0.1', pbx.port), whole(request('x')), '127.0.0.1', 9);
  const there = await pbx.connection();
  await there.received(request('x'));
  const client = await dial(listener.port);
  client.socket.write(request('one') + request('two'));
  await client.closed();
  await there.closed();
  expect(client.text()).toBe('bye');
  await Promise.all([closing, streams.close(), listener.close()]);
  expect(closed).toHaveLength(2);
  expect(counts.received).toBe(1);
  expect(streams.sendTo(endpoint('127.0.0.1', pbx.port), whole(request('x')), '127.0.0.1', 9)).toBe(false);
  await expect(streams.listen('127.0.0.1', 0, 0)).rejects.toMatchObject({ code: 'LISTEN' });
});
