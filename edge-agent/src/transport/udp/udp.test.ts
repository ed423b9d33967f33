import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, test } from 'vitest';
import { AgentError } from '../../errors.ts';
import { type Endpoint, type MessageHandler, type Segments, TRANSPORT, type UdpTransport } from '../../ports.ts';
import { createCounts } from '../counts.ts';
import { copyEndpoint, createEndpoint, formatEndpoint, setAddress } from '../endpoint.ts';
import { loadLibc } from '../libc.ts';
import { portTaken } from '../probe.ts';
import { createUdpTransport } from './index.ts';

const hasIPv6 = Object.values(networkInterfaces()).some((list) => list?.some((i) => i.address === '::1'));
const kinds = loadLibc() ? (['ffi', 'dgram'] as const) : (['dgram'] as const);

const endpoint = (address: string, port: number): Endpoint => {
  const e = createEndpoint(TRANSPORT.udp);
  setAddress(e, address);
  e.port = port;
  return e;
};

const segments = (...pieces: [Uint8Array, number, number][]): Segments => ({
  count: pieces.length,
  bytes: pieces.map(([bytes]) => bytes),
  start: Int32Array.from(pieces, ([, start]) => start),
  end: Int32Array.from(pieces, ([, , end]) => end),
  length: pieces.reduce((sum, [, start, end]) => sum + end - start, 0),
});
const whole = (text: string | Uint8Array): Segments => {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  return segments([bytes, 0, bytes.length]);
};

/** A UA: counts on its own dgram socket, and hands out what arrives in order. */
async function createPeer(address = '127.0.0.1') {
  const socket: Socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.bind(0, address);
  await once(socket, 'listening');
  socket.setRecvBufferSize(4 << 20);
  const got: { text: string; from: string }[] = [];
  socket.on('message', (m, from) => {
    got.push({ text: m.toString('latin1'), from: `${from.address}:${from.port}` });
    socket.emit('got');
  });
  closers.push(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  return {
    port: socket.address().port,
    got,
    async take(count: number) {
      while (got.length < count) await once(socket, 'got');
      return got.splice(0, count);
    },
    send: (data: string | Uint8Array, port: number) =>
      new Promise<void>((resolve, reject) => socket.send(data, port, address, (e) => (e ? reject(e) : resolve()))),
  };
}

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

describe.each(kinds)('%s', (kind) => {
  function create(handler: MessageHandler, maxDatagram?: number) {
    const counts = createCounts();
    const udp = createUdpTransport({ kind, handler, counts, ...(maxDatagram && { maxDatagram }) });
    closers.push(() => udp.close());
    expect(udp.kind).toBe(kind);
    return { udp, counts };
  }

  /** Keeps what arrives; `until` waits for the n-th. */
  function collector() {
    const got: { text: string; from: Endpoint; listener: number }[] = [];
    let wake = () => {};
    const handler: MessageHandler = (bytes, start, end, from, listener) => {
      const text = Buffer.from(bytes.subarray(start, end)).toString('latin1');
      got.push({ text, from: copyEndpoint(createEndpoint(TRANSPORT.udp), from), listener });
      wake();
    };
    const until = async (count: number) => {
      while (got.length < count)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      return got;
    };
    return { handler, until, got };
  }

  test.each(hasIPv6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'])(
    'echoes on %s, from the address and port it listens on',
    async (address) => {
      const views = new Set<Uint8Array>();
      const { udp, counts } = create((bytes, start, end, from, listener) => {
        views.add(bytes);
        expect(listener).toBe(3);
        socket.send(from, segments([bytes, start, end]));
      });
      const socket = await udp.open(address, 0, 3);
      const peer = await createPeer(address);
      for (const text of ['OPTIONS one', 'OPTIONS two']) {
        await peer.send(text, socket.port);
        expect(await peer.take(1)).toEqual([{ text, from: `${address}:${socket.port}` }]);
      }
      expect(views.size).toBe(1);
      expect(counts).toEqual({ ...createCounts(), received: 2, receivedBytes: 22, sent: 2, sentBytes: 22 });
    },
  );

  test('the handler learns the source, and the listener number as it is now', async () => {
    const { handler, until } = collector();
    const { udp } = create(handler);
    const socket = await udp.open('127.0.0.1', 0, 0);
    const peer = await createPeer();
    await peer.send('a', socket.port);
    await until(1);
    socket.listener = 9;
    await peer.send('b', socket.port);
    const got = await until(2);
    expect(got.map((m) => [formatEndpoint(m.from), m.listener])).toEqual([
      [`127.0.0.1:${peer.port}`, 0],
      [`127.0.0.1:${peer.port}`, 9],
    ]);
  });

  test('pieces of the received message, the arena and foreign buffers go out in order, back to back', async () => {
    const foreign = Buffer.from(`<${'x'.repeat(100)}>`);
    const { udp } = create((bytes, start, end, from) => {
      const { arena } = udp;
      const at = arena.used;
      arena.bytes.set(Buffer.from('Via: me'), at);
      arena.used += 7;
      const middle = start + 3;
      socket.send(
        from,
        segments(
          [bytes, start, middle],
          [arena.bytes, at, at + 7],
          [foreign, 0, 102],
          [bytes, middle, end],
          [foreign, 0, 1],
        ),
      );
      // Sent text is copied at once: this must not show.
      bytes.fill(33, start, end);
    });
    const socket = await udp.open('127.0.0.1', 0, 0);
    const peer = await createPeer();
    await peer.send('onetwo', socket.port);
    expect((await peer.take(1))[0]?.text).toBe(`oneVia: me${foreign}two<`);
  });

  test('a flush empties the arena', async () => {
    const { udp } = create(() => {});
    const empty = udp.arena.used;
    udp.arena.used += 100;
    udp.flush();
    expect(udp.arena.used).toBe(empty);
    expect(udp.arena.bytes.length - empty).toBeGreaterThanOrEqual(64 << 10);
  });

  test('what is sent outside of a batch leaves with the flush, in the order of sending', async () => {
    const { udp, counts } = create(() => {});
    const socket = await udp.open('127.0.0.1', 0, 0);
    const peer = await createPeer();
    const to = endpoint('127.0.0.1', peer.port);
    const texts = Array.from({ length: 300 }, (_, i) => `message ${i}`);
    for (const text of texts) {
      const at = socket.send(to, whole(text));
      // Also of the last one that fits, which makes it send at once.
      if (kind === 'ffi') expect(Buffer.from(udp.arena.bytes.subarray(at, at + text.length)).toString()).toBe(text);
      else expect(at).toBe(-1);
    }
    expect(socket.send(endpoint('::1', peer.port), whole('not of this family'))).toBe(-1);
    udp.flush();
    expect((await peer.take(300)).map((m) => m.text)).toEqual(texts);
    await expect.poll(() => counts.sent).toBe(300);
  });

  test('a batch of messages that together exceed the send memory goes out whole', async () => {
    const { udp, counts } = create(() => {});
    const socket = await udp.open('127.0.0.1', 0, 0);
    const peer = await createPeer();
    const to = endpoint('127.0.0.1', peer.port);
    for (let i = 0; i < 50; i++) {
      socket.send(to, whole(`${i}:`.padEnd(60_000, 'x')));
      // The peer's socket holds a few MiB only.
      if (i % 25 === 24) {
        udp.flush();
        expect((await peer.take(25)).map((m) => [m.text.split(':')[0], m.text.length])).toEqual(
          Array.from({ length: 25 }, (_, k) => [String(i - 24 + k), 60_000]),
        );
      }
    }
    await expect.poll(() => counts.sent).toBe(50);
  });

  test('every packet of a burst is delivered, in order, and answered', async () => {
    const seen: number[] = [];
    const { udp, counts } = create((bytes, start, end, from) => {
      seen.push(Number(Buffer.from(bytes.subarray(start, end)).toString()));
      socket.send(from, segments([bytes, start, end]));
    });
    const socket = await udp.open('127.0.0.1', 0, 0);
    const peer = await createPeer();
    const burst = 1500;
    // The bursting side does not yield to the event loop between packets: they all wait in the socket.
    await Promise.all(Array.from({ length: burst }, (_, i) => peer.send(String(i), socket.port)));
    const answers = await peer.take(burst);
    expect(seen).toEqual(Array.from({ length: burst }, (_, i) => i));
    expect(answers.map((m) => Number(m.text))).toEqual(seen);
    expect(counts.received).toBe(burst);
    expect(counts.sendDropped).toBe(0);
  });

  test('IPv4 and IPv6 sources in turn keep their addresses', async () => {
    if (!hasIPv6) return;
    const { handler, until } = collector();
    const { udp } = create(handler);
    const v4 = await udp.open('127.0.0.1', 0, 4);
    const v6 = await udp.open('::1', 0, 6);
    const [a, b] = [await createPeer('127.0.0.1'), await createPeer('::1')];
    const burst = [0, 1, 2, 3, 4];
    for (let round = 1; round <= 3; round++) {
      await Promise.all([...burst.map(() => a.send('4', v4.port)), ...burst.map(() => b.send('6', v6.port))]);
      const got = await until(10 * round);
      for (const m of got)
        expect([m.listener, formatEndpoint(m.from)]).toEqual(
          m.text === '4' ? [4, `127.0.0.1:${a.port}`] : [6, `[0:0:0:0:0:0:0:1]:${b.port}`],
        );
    }
  });

  test('the longest datagram passes whole in both directions', async () => {
    const { udp } = create((bytes, start, end, from) => socket.send(from, segments([bytes, start, end])));
    const socket = await udp.open('127.0.0.1', 0, 0);
    const peer = await createPeer();
    const text = 'x'.repeat(65_507);
    await peer.send(text, socket.port);
    expect((await peer.take(1))[0]?.text).toBe(text);
  });

  test('datagrams beyond the limit are counted and not delivered, also behind others of a burst', async () => {
    const { handler, until, got } = collector();
    const { udp, counts } = create(handler, 1000);
    const socket = await udp.open('127.0.0.1', 0, 0);
    const peer = await createPeer();
    const long = 'y'.repeat(1001);
    await Promise.all([long, 'a', long, 'z'.repeat(1000), long].map((text) => peer.send(text, socket.port)));
    await peer.send('last', socket.port);
    await until(3);
    expect(got.map((m) => m.text.length)).toEqual([1, 1000, 4]);
    expect(counts.oversized).toBe(3);
    expect(counts.received).toBe(6);
  });

  test('an empty datagram is delivered as an empty message', async () => {
    const { handler, until } = collector();
    const { udp } = create(handler);
    const socket = await udp.open('127.0.0.1', 0, 0);
    const peer = await createPeer();
    await peer.send('', socket.port);
    await peer.send('next', socket.port);
    expect((await until(2)).map((m) => m.text)).toEqual(['', 'next']);
  });

  test('a message of the other family is ignored; one that the kernel refuses is counted, and the rest goes out', async () => {
    const { udp, counts } = create(() => {});
    const socket = await udp.open('127.0.0.1', 0, 0);
    const peer = await createPeer();
    const to = endpoint('127.0.0.1', peer.port);
    socket.send(to, whole('one'));
    socket.send(endpoint('::1', peer.port), whole('lost'));
    // A broadcast without SO_BROADCAST, no port, too long: three ways to be refused.
    socket.send(endpoint('255.255.255.255', 5060), whole('refused'));
    socket.send(to, whole('two'));
    socket.send(endpoint('127.0.0.1', 0), whole('refused'));
    socket.send(to, whole(new Uint8Array(65_530)));
    socket.send(to, whole(new Uint8Array(65_520)));
    socket.send(to, whole('three'));
    udp.flush();
    expect((await peer.take(3)).map((m) => m.text)).toEqual(['one', 'two', 'three']);
    await expect.poll(() => [counts.sent, counts.sentBytes, counts.sendDropped]).toEqual([3, 11, 4]);
  });

  test('a taken port is refused with the address and the port', async () => {
    const { udp } = create(() => {});
    const peer = await createPeer();
    const error = await udp.open('127.0.0.1', peer.port, 0).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(AgentError);
    expect(error).toMatchObject({ code: 'LISTEN' });
    expect((error as AgentError).message).toMatch(`cannot listen on udp 127.0.0.1:${peer.port}: EADDRINUSE`);
    expect(await portTaken('udp', '127.0.0.1', peer.port)).toBe(true);
  });

  test('workers share a port, and the probe sees that it is taken', async () => {
    const [first, second] = [create(() => {}), create(() => {})];
    const socket = await first.udp.open('127.0.0.1', 0, 0);
    expect((await second.udp.open('127.0.0.1', socket.port, 0)).port).toBe(socket.port);
    expect(await portTaken('udp', '127.0.0.1', socket.port)).toBe(true);
    await Promise.all([first.udp.close(), second.udp.close()]);
    expect(await portTaken('udp', '127.0.0.1', socket.port)).toBe(false);
  });

  test('closing is safe twice, in a handler, and silences what comes after', async () => {
    let closed: Promise<void> | undefined;
    const { udp, counts } = create((bytes, start, end, from) => {
      socket.send(from, segments([bytes, start, end]));
      closed = udp.close();
      socket.send(from, segments([bytes, start, end]));
      socket.send(from, whole('never'));
    });
    const socket = await udp.open('127.0.0.1', 0, 0);
    const peer = await createPeer();
    await Promise.all(Array.from({ length: 20 }, (_, i) => peer.send(String(i), socket.port)));
    expect(await peer.take(1)).toEqual([{ text: '0', from: `127.0.0.1:${socket.port}` }]);
    await Promise.all([closed, udp.close(), socket.close(), udp.close()]);
    socket.send(endpoint('127.0.0.1', peer.port), whole('after'));
    udp.flush();
    expect(counts.received).toBe(1);
    expect(counts.sendDropped).toBe(0);
  });
});

describe.runIf(kinds.length === 2)('ffi only', () => {
  test('binds where the address is not on this host yet (IP_FREEBIND)', async () => {
    const udp: UdpTransport = createUdpTransport({ kind: 'ffi', handler: () => {} });
    closers.push(() => udp.close());
    expect((await udp.open('192.0.2.1', 0, 0)).port).toBeGreaterThan(0);
    if (hasIPv6) expect((await udp.open('2001:db8::1', 0, 0)).port).toBeGreaterThan(0);
    const error = await udp.open('pbx.example.com', 5060, 0).catch((e: unknown) => e);
    expect((error as AgentError).message).toMatch('pbx.example.com:5060: EINVAL');
  });

  test('auto takes it', () => {
    const udp = createUdpTransport({ kind: 'auto', handler: () => {} });
    closers.push(() => udp.close());
    expect(udp.kind).toBe('ffi');
  });

  test('timers run while a flood keeps the socket full', async () => {
    // Each datagram causes another one to the socket itself: the socket is never empty.
    const counts = createCounts();
    const udp = createUdpTransport({
      kind: 'ffi',
      counts,
      handler: (bytes, start, end) => socket.send(self, segments([bytes, start, end])),
    });
    closers.push(() => udp.close());
    const socket = await udp.open('127.0.0.1', 0, 0);
    const self = endpoint('127.0.0.1', socket.port);
    for (let i = 0; i < 100; i++) socket.send(self, whole('again'));
    udp.flush();
    for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(counts.received).toBeGreaterThan(500);
  });
});

/** Holds this thread, and so the event loop. */
const stall = (milliseconds: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);

test.runIf(kinds.length === 2)('each batch tells how long its oldest datagram stood in the socket', async () => {
  const waits: number[] = [];
  const emptied = Promise.withResolvers<void>();
  let got = 0;
  const SENT = 700;
  const udp = createUdpTransport({
    kind: 'ffi',
    handler: () => {
      if (++got === SENT + 1) emptied.resolve();
    },
    onWaited: (milliseconds, dropped) => {
      if (got < SENT) waits.push(milliseconds);
      expect(dropped).toBe(0);
    },
  });
  closers.push(() => udp.close());
  const receiver = await udp.open('127.0.0.1', 0, 0);
  const sender = await udp.open('127.0.0.1', 0, 1);
  for (let i = 0; i < SENT; i++) sender.send(endpoint('127.0.0.1', receiver.port), whole('x'));
  udp.flush();
  stall(80);
  setTimeout(() => {
    sender.send(endpoint('127.0.0.1', receiver.port), whole('x'));
    udp.flush();
  }, 50);
  await emptied.promise;
  expect(waits.length).toBeGreaterThanOrEqual(Math.floor(SENT / 64));
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(75);
  // Against the same clock: not a time since the epoch, nor one of some other unit.
  expect(Math.max(...waits)).toBeLessThan(60_000);
});

test.runIf(kinds.length === 2)('what the socket was too full for is counted', async () => {
  const counts = createCounts();
  const last = Promise.withResolvers<void>();
  let told = 0;
  const udp = createUdpTransport({
    kind: 'ffi',
    counts,
    handler: (bytes, start) => {
      if (bytes[start] === 0x7a) last.resolve();
    },
    onWaited: (_milliseconds, dropped) => {
      told += dropped;
    },
  });
  closers.push(() => udp.close());
  const receiver = await udp.open('127.0.0.1', 0, 0);
  const sender = await udp.open('127.0.0.1', 0, 1);
  const to = endpoint('127.0.0.1', receiver.port);
  // More than any buffer that bound-socket.ts asks for holds, while this thread reads nothing.
  const big = whole('x'.repeat(60_000));
  for (let i = 0; i < 1000; i++) sender.send(to, big);
  udp.flush();
  // The count comes with what is received after the loss, other than the first datagram of a burst, which libuv reads itself.
  const again = setInterval(() => {
    for (let i = 0; i < 2; i++) sender.send(to, whole('y'));
    if (told > 0) sender.send(to, whole('z'));
    udp.flush();
  }, 5);
  await last.promise;
  clearInterval(again);
  expect(counts.receiveDropped).toBe(told);
  expect(told).toBeGreaterThan(0);
  expect(told).toBeLessThan(1000);
});
