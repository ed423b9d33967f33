import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { type PushOptions, PushSocket } from './push.ts';

const SOON = { timeout: 15_000 };
/** Where a test is not about pings: a busy machine does not answer one within 50 ms. */
const PATIENT_MS = 60_000;
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function server(options: { autoPong: boolean }) {
  const http = createServer().listen(0, '127.0.0.1');
  await once(http, 'listening');
  const wss = new WebSocketServer({ server: http, ...options });
  const tokens: string[] = [];
  wss.on('connection', (_socket, req) => tokens.push(req.headers.authorization ?? ''));
  closers.push(() => {
    for (const socket of wss.clients) socket.terminate();
    http.close();
  });
  return { base: new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}/`), tokens, wss };
}

function push(base: URL, warned: string[] = [], more: Partial<PushOptions> = {}): PushSocket {
  let n = 0;
  const socket = new PushSocket({
    base,
    token: async () => `token-${++n}`,
    onOpen: () => {},
    onMessage: () => {},
    log: { info: () => {}, warn: (_: unknown, text?: string) => void warned.push(text ?? '') } as never,
    pingMs: 50,
    ...more,
  });
  closers.push(() => socket.close());
  socket.start();
  return socket;
}

test('a peer that answers no ping is given up, and every try brings a fresh token', async () => {
  const { base, tokens } = await server({ autoPong: false });
  const socket = push(base);
  await expect.poll(() => tokens.length, SOON).toBeGreaterThanOrEqual(2);
  expect(tokens.slice(0, 2)).toEqual(['Bearer token-1', 'Bearer token-2']);
  expect(socket.reconnects).toBeGreaterThanOrEqual(1);
});

test('a peer that answers stays', async () => {
  const { base, wss } = await server({ autoPong: true });
  const socket = push(base);
  await expect.poll(() => socket.connected, SOON).toBe(true);
  const [peer] = wss.clients;
  for (let pings = 0; pings < 4; pings++) await once(peer!, 'ping');
  expect([socket.connected, socket.reconnects]).toEqual([true, 0]);
});

test('an outage is one line in the log, however many tries it takes', async () => {
  const http = createServer().listen(0, '127.0.0.1');
  await once(http, 'listening');
  let tries = 0;
  http.on('upgrade', (_req, socket) => {
    tries++;
    // The client is closed with the test, in the middle of a try.
    socket.on('error', () => {});
    socket.end('HTTP/1.1 503 Unavailable\r\n\r\n');
  });
  closers.push(() => http.close());
  const warned: string[] = [];
  push(new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}/`), warned);
  await expect.poll(() => tries, SOON).toBeGreaterThanOrEqual(3);
  expect(warned).toHaveLength(1);
});

test('closed is closed: no try after it', async () => {
  const { base, tokens } = await server({ autoPong: true });
  const socket = push(base);
  socket.close();
  const other = push(base);
  await expect.poll(() => other.connected, SOON).toBe(true);
  expect([socket.connected, tokens.length]).toEqual([false, 1]);
});

test('before its time is up a socket is replaced, and there is no moment without one', async () => {
  const { base, wss } = await server({ autoPong: true });
  const open: number[] = [];
  const closed: number[] = [];
  wss.on('connection', (peer) => {
    open.push(wss.clients.size);
    peer.on('close', (code) => closed.push(code));
  });
  const warned: string[] = [];
  const socket = push(base, warned, { lifeMs: 100, pingMs: PATIENT_MS });
  await expect.poll(() => open.length, SOON).toBeGreaterThanOrEqual(4);
  // The new one is there before the old one goes.
  expect(open.slice(0, 4)).toEqual([1, 2, 2, 2]);
  await expect.poll(() => closed.length, SOON).toBeGreaterThanOrEqual(2);
  expect(new Set(closed)).toEqual(new Set([1000]));
  expect([socket.connected, socket.reconnects, warned]).toEqual([true, 0, []]);
});

test('a renewal that fails costs nothing: the old socket stays, and another renewal is tried', async () => {
  const { base, wss } = await server({ autoPong: true });
  let refuse = false;
  let refused = 0;
  wss.options.verifyClient = () => {
    if (refuse) refused++;
    return !refuse;
  };
  const socket = push(base, [], { lifeMs: 100, pingMs: PATIENT_MS, random: () => 0.01 });
  await expect.poll(() => socket.connected, SOON).toBe(true);
  refuse = true;
  await expect.poll(() => refused, SOON).toBeGreaterThanOrEqual(2);
  expect([socket.connected, socket.reconnects]).toEqual([true, 0]);
});

test('the control plane may name another address, of no less security', async () => {
  const [first, second] = [await server({ autoPong: true }), await server({ autoPong: true })];
  const socket = push(first.base);
  await expect.poll(() => socket.connected, SOON).toBe(true);
  socket.heard({ push: `ws://${second.base.host}/elsewhere` });
  await expect.poll(() => [first.wss.clients.size, second.wss.clients.size], SOON).toEqual([0, 1]);
  expect(socket.connected).toBe(true);
  const warned: string[] = [];
  const secure = push(new URL('https://127.0.0.1:1/'), warned);
  secure.heard({ push: `ws://${second.base.host}/` });
  expect(warned).toContain('push address without TLS: staying with the one of before');
});

test('a fleet that lost its control plane comes back over the time that it was told', async () => {
  const { base, wss } = await server({ autoPong: true });
  const random = (i: number) => () => i / 20;
  const sockets = Array.from({ length: 20 }, (_, i) => push(base, [], { random: random(i) }));
  await expect.poll(() => sockets.every((s) => s.connected), SOON).toBe(true);
  for (const socket of sockets) socket.heard({ spreadMs: 2_000 });
  const back: number[] = [];
  const lostAt = performance.now();
  wss.on('connection', () => back.push(performance.now() - lostAt));
  for (const peer of wss.clients) peer.terminate();
  await expect.poll(() => sockets.every((s) => s.connected), SOON).toBe(true);
  // Timers never fire early: agent i is back after i/20 of the spread, not before.
  for (const [i, ms] of back.entries()) expect(ms).toBeGreaterThanOrEqual(i * 100 - 5);
});
