import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type Endpoint, type StreamOptions, TRANSPORT } from '../ports.ts';
import { createAuthority } from './certificates.fixture.ts';
import { formatEndpoint } from './endpoint.ts';
import { atEnd, closeAll, create, dial, endpoint, request, turnsUntil, watch, whole } from './streams.fixture.ts';

afterEach(closeAll);

const LOOPBACK = { ip: [0, 0, 0xffff, 0x7f000000] as const, bits: 104 };
const ELSEWHERE = { ip: [0, 0, 0xffff, 0x0a000000] as const, bits: 104 };
const authority = createAuthority();
const tls = { certificates: [authority.issue('127.0.0.1')], clientCertificate: 'none' } as const;
const PLAIN: StreamOptions = { transport: TRANSPORT.tcp, proxyFrom: [ELSEWHERE, LOOPBACK] };

const V1 = 'PROXY TCP4 198.51.100.7 192.0.2.1 40000 5060\r\n';
const V2 = Buffer.from('0d0a0d0a000d0a515549540a2111000cc6336407c00002019c4013c4', 'hex');

describe('PROXY protocol', () => {
  test.each([
    ['v1', Buffer.from(V1)],
    ['v2', V2],
  ])('%s: the announced address is the connection’s, wherever the bytes are cut', async (_version, header) => {
    const { streams, got, until } = create();
    const listener = await streams.listen('127.0.0.1', 0, 0, PLAIN);
    const text = Buffer.concat([header, Buffer.from(request('x'))]);
    const cuts = [1, 5, 12, 16, header.length - 1, header.length, header.length + 1, text.length];
    for (const [i, cut] of cuts.entries()) {
      const balancer = await dial(listener.port);
      balancer.socket.write(text.subarray(0, cut));
      // Two writes in two turns, with what the kernel made of the first one read before.
      await new Promise((resolve) => setImmediate(resolve));
      balancer.socket.write(text.subarray(cut));
      await until(() => got.length === i + 1);
      const { from, text: received } = got[i] as { from: Endpoint; text: string };
      expect([formatEndpoint(from), received]).toEqual(['198.51.100.7:40000', request('x')]);
      expect(streams.isPeer(from.connection, endpoint('198.51.100.7', 40000))).toBe(true);
      expect(streams.isPeer(from.connection, endpoint('127.0.0.1', balancer.port))).toBe(false);
      streams.send(from.connection, whole('answer'));
      await balancer.received('answer');
      balancer.socket.destroy();
      await until(() => listener.connections === 0);
    }
  });

  test('without an announced address (LOCAL, UNKNOWN) the connection’s own stands', async () => {
    const { streams, got, until } = create();
    const listener = await streams.listen('127.0.0.1', 0, 0, PLAIN);
    const balancer = await dial(listener.port);
    balancer.socket.write(`PROXY UNKNOWN\r\n${request('x')}`);
    await until(() => got.length === 1);
    expect(formatEndpoint((got[0] as { from: Endpoint }).from)).toBe(`127.0.0.1:${balancer.port}`);
  });

  test.each([
    ['is missing', request('x')],
    ['is malformed', 'PROXY TCP4 nonsense\r\n'],
  ])('a header that %s ends the connection', async (_how, text) => {
    const { streams, got } = create();
    const listener = await streams.listen('127.0.0.1', 0, 0, PLAIN);
    const peer = await dial(listener.port);
    peer.socket.write(text);
    await peer.closed();
    expect(got).toEqual([]);
    await turnsUntil(() => streams.connectionCounts.handshakeFailed === 1);
    expect(streams.connectionCounts.accepted).toBe(0);
  });

  test('one that does not end is cut off', async () => {
    const { streams } = create({ limits: { handshakeTime: 50 } });
    const listener = await streams.listen('127.0.0.1', 0, 0, PLAIN);
    const peer = await dial(listener.port);
    peer.socket.write(V1.slice(0, 20));
    await peer.closed();
    await turnsUntil(() => streams.connectionCounts.handshakeFailed === 1);
  });

  test('from anybody else it is not believed: to SIP it is a bad start line, or no text at all', async () => {
    const { streams, got, until } = create();
    const listener = await streams.listen('127.0.0.1', 0, 0, { ...PLAIN, proxyFrom: [ELSEWHERE] });
    const [v1, v2] = [await dial(listener.port), await dial(listener.port)];
    v1.socket.write(V1 + request('x'));
    v2.socket.write(Buffer.concat([V2, Buffer.from(request('x'))]));
    await v2.closed();
    await until(() => got.length === 1);
    expect(streams.connectionCounts.malformed).toBe(1);
    expect(got[0]).toMatchObject({ text: V1 + request('x'), from: { port: v1.port } });
  });

  test('before TLS: the handshake follows the header, in the same packet or later', async () => {
    const { streams, got, until } = create();
    const options = { ...PLAIN, transport: TRANSPORT.tls, tls } as const;
    const listener = await streams.listen('127.0.0.1', 0, 0, options);
    for (const cork of [true, false]) {
      const raw = (await dial(listener.port)).socket;
      raw.removeAllListeners('data');
      if (cork) raw.cork();
      raw.write(V2);
      const secure = watch(connectTls({ socket: raw, ca: authority.certificate, host: '127.0.0.1' }));
      if (cork) setImmediate(() => raw.uncork());
      await once(secure.socket, 'secureConnect');
      secure.socket.write(request(String(cork)));
      await until(() => got.some((m) => m.text === request(String(cork))));
    }
    expect(got.map((m) => [formatEndpoint(m.from), m.from.transport])).toEqual(
      Array(2).fill(['198.51.100.7:40000', TRANSPORT.tls]),
    );
  });

  test.each([TRANSPORT.ws, TRANSPORT.wss] as const)('before WebSocket (%i)', async (transport) => {
    const { streams, got, until } = create();
    const options = { ...PLAIN, transport, ...(transport === TRANSPORT.wss ? { tls } : {}) };
    const listener = await streams.listen('127.0.0.1', 0, 0, options);
    const { socket: raw } = await dial(listener.port);
    raw.removeAllListeners('data');
    raw.write(V1);
    const through =
      transport === TRANSPORT.ws ? raw : connectTls({ socket: raw, ca: authority.certificate, host: '127.0.0.1' });
    const socket = new WebSocket('ws://127.0.0.1/', 'sip', { createConnection: () => through });
    atEnd(() => socket.terminate());
    await once(socket, 'open');
    socket.send(request('x'));
    await until(() => got.length === 1);
    const { from } = got[0] as { from: Endpoint };
    expect([formatEndpoint(from), from.transport]).toEqual(['198.51.100.7:40000', transport]);
  });
});

describe('connections per source', () => {
  test('further ones are refused while as many are open, and counted', async () => {
    const { streams, got, until } = create();
    const listener = await streams.listen('127.0.0.1', 0, 0, { transport: TRANSPORT.tcp, connectionsPerSource: 2 });
    const [a, b] = [await dial(listener.port), await dial(listener.port)];
    for (const peer of [a, b]) peer.socket.write(request('x'));
    await until(() => got.length === 2);
    await (await dial(listener.port)).closed();
    expect(streams.connectionCounts).toMatchObject({ accepted: 2, refused: 1 });
    a.socket.destroy();
    await until(() => listener.connections === 1);
    const next = await dial(listener.port);
    next.socket.write(request('y'));
    await until(() => got.length === 3);
  });

  test('the announced source counts, not the load balancer', async () => {
    const { streams, got, until } = create();
    const listener = await streams.listen('127.0.0.1', 0, 0, { ...PLAIN, connectionsPerSource: 1 });
    const through = async (address: string) => {
      const peer = await dial(listener.port);
      peer.socket.write(`PROXY TCP4 ${address} 192.0.2.1 40000 5060\r\n${request(address)}`);
      return peer;
    };
    await through('198.51.100.1');
    await through('198.51.100.2');
    await until(() => got.length === 2);
    await (await through('198.51.100.1')).closed();
    expect(got).toHaveLength(2);
  });

  test('a handshake that is under way counts, and a failed one no more', async () => {
    const { streams, got, until } = create();
    const options = { transport: TRANSPORT.tls, tls, connectionsPerSource: 1 } as const;
    const listener = await streams.listen('127.0.0.1', 0, 0, options);
    const idle = await dial(listener.port);
    idle.socket.write(Buffer.from('1603', 'hex'));
    await (await dial(listener.port)).closed();
    idle.socket.end(request('no TLS at all'));
    await idle.closed();
    const phone = watch(connectTls({ port: listener.port, host: '127.0.0.1', ca: authority.certificate }));
    await once(phone.socket, 'secureConnect');
    phone.socket.write(request('x'));
    await until(() => got.length === 1);
  });
});

test('a listener’s own times hold, for open connections too when they change', async () => {
  let now = 1000;
  const { streams, closed, until } = create({ now: () => now, limits: { messageTime: 100 } });
  const listener = await streams.listen('127.0.0.1', 0, 0, { transport: TRANSPORT.tcp, idleTime: 1000 });
  const peer = await dial(listener.port);
  peer.socket.write('\r\n\r\n');
  await peer.received('\r\n');
  listener.renew({ transport: TRANSPORT.tcp, idleTime: 50 })();
  now += 60;
  await peer.closed();
  await until(() => closed.length === 1);
  expect(streams.connectionCounts.expired).toBe(1);
});
