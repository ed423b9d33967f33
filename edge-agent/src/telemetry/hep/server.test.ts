import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createAuthority } from '../../transport/certificates.fixture.ts';
import { type HepAddress, HepServer } from './server.ts';

const SOON = { timeout: 15_000, interval: 20 };

function way(address: HepAddress) {
  const seen = { sent: 0, failed: 0, changes: [] as [boolean, string | undefined][] };
  const server = new HepServer(
    address,
    {
      sent: () => seen.sent++,
      failed: () => seen.failed++,
      changed: (open, reason) => seen.changes.push([open, reason]),
    },
    // The shortest waits.
    () => 0,
  );
  onTestFinished(() => {
    server.close();
    server.close();
  });
  return { server, seen };
}

/** Collects what comes in on one port. */
async function listen(server: Server, port = 0) {
  let received = Buffer.alloc(0);
  const sockets: Socket[] = [];
  const take = (socket: Socket): void => {
    sockets.push(socket);
    socket
      .on('error', () => {})
      .on('data', (bytes) => {
        received = Buffer.concat([received, bytes]);
      });
  };
  server.on(
    server.listenerCount('tlsClientError') >= 0 && 'setTicketKeys' in server ? 'secureConnection' : 'connection',
    take,
  );
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(close);
  return { port: (server.address() as AddressInfo).port, text: () => received.toString(), close };
}

test('over TCP packets follow one another as they are, also what was sent just before the end', async () => {
  const peer = await listen(createServer());
  const { server, seen } = way({ transport: 'tcp', host: '127.0.0.1', port: peer.port });
  expect(server.ready).toBe(false);
  await expect.poll(() => server.ready, SOON).toBe(true);
  for (let i = 0; i < 100; i++) server.send(Buffer.from(`<${i}>`));
  server.close();
  await expect.poll(peer.text, SOON).toBe(Array.from({ length: 100 }, (_, i) => `<${i}>`).join(''));
  expect(seen).toEqual({ sent: 100, failed: 0, changes: [[true, undefined]] });
});

test('a server that goes away and comes back is found again; in between the way is not ready', async () => {
  const before = await listen(createServer());
  const { server, seen } = way({ transport: 'tcp', host: '127.0.0.1', port: before.port });
  await expect.poll(() => server.ready, SOON).toBe(true);
  before.close();
  await expect.poll(() => server.ready, SOON).toBe(false);
  const after = await listen(createServer(), before.port);
  await expect.poll(() => server.ready, SOON).toBe(true);
  server.send(Buffer.from('again'));
  await expect.poll(after.text, SOON).toBe('again');
  expect(seen.changes[0]).toEqual([true, undefined]);
  expect(seen.changes.at(-1)).toEqual([true, undefined]);
  expect(seen.changes[1]?.[0]).toBe(false);
});

test('a server that reads too slowly is given no more than its due', async () => {
  const deaf = createServer((socket) => socket.pause());
  deaf.listen(0, '127.0.0.1');
  await once(deaf, 'listening');
  onTestFinished(() => void deaf.close());
  const { server } = way({ transport: 'tcp', host: '127.0.0.1', port: (deaf.address() as AddressInfo).port });
  await expect.poll(() => server.ready, SOON).toBe(true);
  let sent = 0;
  for (let turn = 0; turn < 2000 && server.ready; turn++) {
    for (let i = 0; i < 16 && server.ready; i++) {
      server.send(Buffer.alloc(60_000));
      sent += 60_000;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(server.ready).toBe(false);
  // What the kernel's buffers hold on both sides, and one MiB.
  expect(sent).toBeLessThan(64 << 20);
});

test('over TLS the certificate must be the right one', async () => {
  const authority = createAuthority();
  const { certificate: cert, privateKey: key } = authority.issue('127.0.0.1');
  const peer = await listen(createTlsServer({ cert, key }));
  const { server, seen } = way({ transport: 'tls', host: '127.0.0.1', port: peer.port });
  await expect.poll(() => seen.changes.length, SOON).toBeGreaterThan(1);
  expect(seen.changes.every(([open]) => !open)).toBe(true);
  expect(seen.changes[0]?.[1]).toMatch(/certificate|issuer/);
  expect(server.ready).toBe(false);
});

test('datagrams arrive whole; a port where nobody listens is told, and tried again', async () => {
  const peer = createSocket('udp4').bind(0, '127.0.0.1');
  await once(peer, 'listening');
  const { port } = peer.address();
  const texts: string[] = [];
  peer.on('message', (bytes) => texts.push(bytes.toString()));
  const { server, seen } = way({ transport: 'udp', host: 'localhost', port });
  await expect.poll(() => server.ready, SOON).toBe(true);
  for (const text of ['a', 'b']) server.send(Buffer.from(text));
  await expect.poll(() => texts, SOON).toEqual(['a', 'b']);
  peer.close();
  await once(peer, 'close');
  await vi.waitUntil(() => {
    server.send(Buffer.from('lost'));
    return seen.changes.some(([open]) => !open);
  }, SOON);
  expect(seen.changes.find(([open]) => !open)?.[1]).toMatch(/ECONNREFUSED/);
  await expect.poll(() => seen.changes.filter(([open]) => open).length, SOON).toBeGreaterThan(1);
});

test('a name that does not exist is told, and the way stays closed', async () => {
  const { server, seen } = way({ transport: 'udp', host: 'homer.invalid', port: 9060 });
  await expect.poll(() => seen.changes.length, SOON).toBeGreaterThan(0);
  expect(seen.changes[0]).toEqual([false, expect.stringMatching(/homer\.invalid/)]);
  expect(server.ready).toBe(false);
});
