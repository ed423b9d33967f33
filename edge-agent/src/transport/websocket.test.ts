import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { type ClientOptions, WebSocket } from 'ws';
import { type Endpoint, type StreamOptions, TRANSPORT } from '../ports.ts';
import { createAuthority } from './certificates.fixture.ts';
import { formatEndpoint } from './endpoint.ts';
import { atEnd, closeAll, condition, create, dial, request, turnsUntil, whole } from './streams.fixture.ts';

afterEach(closeAll);

const WS: StreamOptions = { transport: TRANSPORT.ws };

/** A SIP client over WebSocket, as a browser is one: what it received, and how it was closed. */
function client(url: string, options: ClientOptions = {}, protocols: string[] = ['sip']) {
  const socket = new WebSocket(url, protocols, { perMessageDeflate: true, ...options });
  const { changed, until } = condition();
  const got: { data: Buffer; binary: boolean }[] = [];
  let pings = 0;
  let ended: { code: number } | undefined;
  let refused: string | undefined;
  socket.on('message', (data, binary) => {
    got.push({ data: data as Buffer, binary });
    changed();
  });
  socket.on('ping', () => {
    pings++;
    changed();
  });
  socket.on('error', (error) => {
    refused = error.message;
  });
  socket.on('close', (code) => {
    ended = { code };
    changed();
  });
  atEnd(() => socket.terminate());
  return {
    socket,
    got,
    pings: () => pings,
    open: () => once(socket, 'open'),
    until,
    closed: async () => {
      await until(() => ended !== undefined);
      return { code: ended?.code, refused };
    },
  };
}

async function connected(port: number, path = '/') {
  const c = client(`ws://127.0.0.1:${port}${path}`);
  await c.open();
  return c;
}

describe('a WebSocket listener (RFC 7118)', () => {
  test('takes upgrades of any path, one SIP message per WebSocket message, text or binary, and answers on it', async () => {
    const { streams, counts, got, until } = create();
    const listener = await streams.listen('127.0.0.1', 0, 6, WS);
    const browser = await connected(listener.port, '/any/path?a=b');
    expect(browser.socket.protocol).toBe('sip');
    expect(browser.socket.extensions).toBe('');
    // Content-Length is optional here (§5.4): the frame says where the message ends.
    const bare = 'OPTIONS sip:bare SIP/2.0\r\n\r\n';
    browser.socket.send(request('text', 'body'));
    browser.socket.send(Buffer.from(bare));
    await until(() => got.length === 2);
    expect(got.map((m) => [m.text, m.listener, m.from.transport])).toEqual([
      [request('text', 'body'), 6, TRANSPORT.ws],
      [bare, 6, TRANSPORT.ws],
    ]);
    const { from } = got[0] as { from: Endpoint };
    expect(formatEndpoint(from)).toMatch(/^127\.0\.0\.1:\d+$/);
    const binary = Uint8Array.of(0x53, 0x49, 0x50, 0xff, 0xfe);
    expect(streams.send(from.connection, whole('as text é'))).toBe(true);
    expect(streams.send(from.connection, whole(binary))).toBe(true);
    await browser.until(() => browser.got.length === 2);
    expect(browser.got.map((m) => [m.binary, m.data.equals(m.binary ? binary : Buffer.from('as text é'))])).toEqual([
      [false, true],
      [true, true],
    ]);
    expect(listener.connections).toBe(1);
    expect(counts).toMatchObject({ received: 2, sent: 2, sendDropped: 0 });
    browser.socket.close();
    await browser.closed();
    await until(() => listener.connections === 0);
    expect(streams.send(from.connection, whole('too late'))).toBe(false);
    expect(streams.sendTo(from, whole('too late'), '127.0.0.1', 6)).toBe(false);
  });

  test.each([
    ['without a subprotocol', [], '400'],
    ['with another subprotocol', ['sips', 'msrp'], '400'],
  ])('an upgrade %s is refused', async (_how, protocols, status) => {
    const { streams } = create();
    const listener = await streams.listen('127.0.0.1', 0, 0, WS);
    const { refused } = await client(`ws://127.0.0.1:${listener.port}/`, {}, protocols).closed();
    expect(refused).toBe(`Unexpected server response: ${status}`);
    expect(listener.connections).toBe(0);
    await turnsUntil(() => streams.connectionCounts.handshakeFailed === 1);
  });

  test('sip among other subprotocols is chosen', async () => {
    const { streams } = create();
    const listener = await streams.listen('127.0.0.1', 0, 0, WS);
    const c = client(`ws://127.0.0.1:${listener.port}/`, {}, ['msrp', 'sip']);
    await c.open();
    expect(c.socket.protocol).toBe('sip');
  });

  test('pages of other origins are refused; a client that is no browser sends none', async () => {
    const { streams } = create();
    const options = { ...WS, origins: ['https://phone.example.com'] };
    const listener = await streams.listen('127.0.0.1', 0, 0, options);
    const url = `ws://127.0.0.1:${listener.port}/`;
    await client(url, { origin: 'https://phone.example.com' }).open();
    await client(url).open();
    for (const origin of ['https://evil.example.com', 'http://phone.example.com', 'null']) {
      const { refused } = await client(url, { origin }).closed();
      expect(refused, origin).toBe('Unexpected server response: 403');
    }
  });

  test.each([
    ['a page request', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', '426 Upgrade Required'],
    ['no HTTP', `${request('x')}`, '400 Bad Request'],
    [
      'half an upgrade',
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n',
      '400 Bad Request',
    ],
  ])('%s is answered with an HTTP error and the end of the connection', async (_what, text, status) => {
    const { streams, got } = create();
    const listener = await streams.listen('127.0.0.1', 0, 0, WS);
    const peer = await dial(listener.port);
    peer.socket.write(text);
    await peer.closed();
    expect(peer.text()).toMatch(`HTTP/1.1 ${status}\r\n`);
    expect(got).toEqual([]);
    await turnsUntil(() => streams.connectionCounts.handshakeFailed === 1);
  });

  test('an upgrade that does not end is cut off', async () => {
    const { streams } = create({ limits: { handshakeTime: 50 } });
    const listener = await streams.listen('127.0.0.1', 0, 0, WS);
    const peer = await dial(listener.port);
    peer.socket.write('GET / HTTP/1.1\r\nHost: a\r\n');
    await peer.closed();
    await turnsUntil(() => streams.connectionCounts.handshakeFailed === 1);
  });

  test('a message over the limit ends the connection with 1009, and is counted', async () => {
    const { streams, counts, closed, until } = create({ limits: { header: 600, body: 400 } });
    const listener = await streams.listen('127.0.0.1', 0, 0, WS);
    const browser = await connected(listener.port);
    browser.socket.send('x'.repeat(1001));
    expect((await browser.closed()).code).toBe(1009);
    await until(() => closed.length === 1);
    expect(counts).toMatchObject({ received: 0, oversized: 1 });
  });

  test('CRLF keepalives are answered and never delivered; what else is no SIP is the handler’s to judge', async () => {
    const { streams, got, until } = create();
    const listener = await streams.listen('127.0.0.1', 0, 0, WS);
    const browser = await connected(listener.port);
    for (const text of ['\r\n\r\n', '\r\n', '', 'nonsense']) browser.socket.send(text);
    await until(() => got.length === 1);
    await browser.until(() => browser.got.length === 1);
    expect(browser.got.map((m) => m.data.toString())).toEqual(['\r\n']);
    expect(got.map((m) => m.text)).toEqual(['nonsense']);
  });

  test('a silent client is pinged; its pong is a sign of life, and without one it expires', async () => {
    let now = 1000;
    const limits = { pingTime: 20, idleTime: 100 };
    const { streams, closed, until } = create({ now: () => now, limits });
    const listener = await streams.listen('127.0.0.1', 0, 0, WS);
    const alive = await connected(listener.port);
    const mute = client(`ws://127.0.0.1:${listener.port}/`, { autoPong: false });
    await mute.open();
    await until(() => listener.connections === 2).catch(() => {});
    for (let round = 1; round <= 4; round++) {
      const before = alive.pings();
      now += 30;
      await alive.until(() => alive.pings() > before);
      // Its pong is on its way before this, and so is taken in before the next ping is due.
      alive.socket.send('\r\n\r\n');
      await alive.until(() => alive.got.length === round);
    }
    await mute.closed();
    await until(() => closed.length === 1);
    expect(mute.pings()).toBeGreaterThan(0);
    expect(streams.connectionCounts.expired).toBe(1);
    expect(listener.connections).toBe(1);
  });

  test('closing sends what is queued and 1001', async () => {
    const { streams } = create({
      handler: (_bytes, _start, _end, from) => {
        streams.send(from.connection, whole('bye'));
        void streams.close();
      },
    });
    const listener = await streams.listen('127.0.0.1', 0, 0, WS);
    const browser = await connected(listener.port);
    browser.socket.send(request('last'));
    expect((await browser.closed()).code).toBe(1001);
    expect(browser.got.map((m) => m.data.toString())).toEqual(['bye']);
  });

  test('a client that does not read gets no more than its queue', async () => {
    const { streams, counts, got, until } = create({ limits: { queued: 200_000 } });
    const listener = await streams.listen('127.0.0.1', 0, 0, WS);
    const browser = await connected(listener.port);
    browser.socket.send(request('x'));
    await until(() => got.length === 1);
    browser.socket.pause();
    const { connection } = (got[0] as { from: Endpoint }).from;
    const piece = whole('x'.repeat(50_000));
    for (let i = 0; i < 1000 && counts.sendDropped === 0; i++) {
      expect(streams.send(connection, piece)).toBe(true);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(counts.sendDropped).toBe(1);
  });
});

test('WSS: the upgrade comes after the handshake, messages carry the code wss, certificates can be renewed', async () => {
  const authority = createAuthority();
  const options = (...names: string[]): StreamOptions => ({
    transport: TRANSPORT.wss,
    tls: { certificates: [authority.issue(...names)], clientCertificate: 'none' },
  });
  const { streams, got, until } = create();
  const listener = await streams.listen('127.0.0.1', 0, 2, options('old', '127.0.0.1'));
  const url = `wss://127.0.0.1:${listener.port}/`;
  const before = client(url, { ca: authority.certificate });
  await before.open();
  listener.renew(options('new', '127.0.0.1'))();
  const after = client(url, { ca: authority.certificate });
  await after.open();
  before.socket.send(request('before'));
  after.socket.send(request('after'));
  await until(() => got.length === 2);
  expect(new Set(got.map((m) => m.from.transport))).toEqual(new Set([TRANSPORT.wss]));
  streams.send((got[0] as { from: Endpoint }).from.connection, whole('answer'));
  await before.until(() => before.got.length + after.got.length === 1);
  // Clear text at a TLS port is no upgrade.
  await client(`ws://127.0.0.1:${listener.port}/`).closed();
  await turnsUntil(() => streams.connectionCounts.handshakeFailed === 1);
});
