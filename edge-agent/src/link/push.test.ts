import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { PushSocket } from './push.ts';

const SOON = { timeout: 15_000 };
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

function push(base: URL, warned: string[] = []): PushSocket {
  let n = 0;
  const socket = new PushSocket({
    base,
    token: async () => `token-${++n}`,
    onOpen: () => {},
    onMessage: () => {},
    log: { info: () => {}, warn: (_: unknown, text?: string) => void warned.push(text ?? '') } as never,
    pingMs: 50,
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
