import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { validate } from './validate.ts';

const open: Socket[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
});

async function bound(): Promise<Socket> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

/** A proxy and a sink in one: answers 200 with the request as `forward` makes it in the body. */
async function proxy(forward: (request: string, own: string) => string): Promise<number> {
  const socket = await bound();
  open.push(socket);
  socket.on('message', (bytes, from) => {
    const request = bytes.toString();
    const field = (name: string) => new RegExp(`^${name}: .*$`, 'm').exec(request)?.[0]?.trim();
    const head = [
      'SIP/2.0 200 OK',
      field('Via'),
      field('From'),
      `${field('To')};tag=1`,
      field('Call-ID'),
      field('CSeq'),
    ];
    const body = forward(request, `127.0.0.1:${socket.address().port}`);
    socket.send(`${head.join('\r\n')}\r\n\r\n${body}`, from.port, from.address);
  });
  return socket.address().port;
}

async function freePort(): Promise<number> {
  const socket = await bound();
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}

const check = async (port: number) =>
  validate({ address: '127.0.0.1', port }, { address: '127.0.0.1', port: await freePort() }, true);

const rightly = (request: string, own: string): string =>
  request
    .replace('\r\n', `\r\nVia: SIP/2.0/UDP ${own};branch=z9hG4bK1\r\nRecord-Route: <sip:${own};lr>\r\n`)
    .replace('Max-Forwards: 70', 'Max-Forwards: 69');

test('accepts a proxy that forwards as RFC 3261 §16.6 says, and counts what it added', async () => {
  const port = await proxy(rightly);
  const own = `127.0.0.1:${port}`;
  const { addedBytes } = await check(port);
  expect(addedBytes).toBe(`Via: SIP/2.0/UDP ${own};branch=z9hG4bK1\r\nRecord-Route: <sip:${own};lr>\r\n`.length);
});

test.each([
  ['adds no Via', (request: string) => request, /the sink saw the Vias/],
  ['leaves Max-Forwards', (r: string, own: string) => rightly(r, own).replace('s: 69', 's: 70'), /Max-Forwards/],
  ['adds no Record-Route', (r: string, own: string) => rightly(r, own).replace('Record-', 'X-'), /no Record-Route/],
  ['spoils the body', (r: string, own: string) => rightly(r, own).replace('m=audio', 'm=video'), /another SDP/],
])('refuses a proxy that %s', async (_what, forward, fault) => {
  await expect(check(await proxy(forward))).rejects.toThrow(fault);
});
