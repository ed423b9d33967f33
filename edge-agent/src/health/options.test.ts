import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { Check } from '@sipfleet/contract';
import { afterEach, expect, test } from 'vitest';
import { probeOptions } from './options.ts';
import type { ProbeTarget } from './probe.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

type Reply = (request: string) => string | string[];

/** Echoes what a UAS must (RFC 3261 §8.2.6.2), with this status line. */
const respond =
  (status: string, edit: (r: string) => string = (r) => r): Reply =>
  (request) => {
    const copied = request.split('\r\n').filter((line) => /^(Via|From|To|Call-ID|CSeq):/.test(line));
    return edit([`SIP/2.0 ${status}`, ...copied, 'Content-Length: 0', '', ''].join('\r\n'));
  };

/** A SIP element over UDP: answers with what `reply` makes of each request. */
async function udpPeer(reply: Reply, address = '127.0.0.1') {
  const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const requests: { text: string; from: string }[] = [];
  socket.on('message', (bytes, from) => {
    requests.push({ text: bytes.toString(), from: from.address });
    for (const text of [reply(bytes.toString())].flat()) socket.send(text, from.port, from.address);
  });
  socket.bind(0, address);
  await once(socket, 'listening');
  closers.push(() => socket.close());
  return { requests, port: socket.address().port };
}

async function tcpPeer(onRequest: (socket: net.Socket, request: string) => void) {
  const server = net.createServer((socket) => {
    socket.on('data', (bytes) => onRequest(socket, bytes.toString()));
    socket.on('error', () => {});
    closers.push(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

const target = (port: number, more: Partial<ProbeTarget> = {}): ProbeTarget => ({
  address: '127.0.0.1',
  port,
  transport: 'udp',
  localAddress: '127.0.0.1',
  check: Check.parse({ name: 'ping', type: 'options' }),
  timeoutMs: 5000,
  ...more,
});

test('the request is a complete OPTIONS and comes from the listener address', async () => {
  const peer = await udpPeer(respond('200 OK'));
  const outcome = await probeOptions(target(peer.port, { localAddress: '127.0.0.5' }));
  expect(outcome).toEqual({ result: 'success', phase: 'answer', evidence: '200 OK' });
  const { text, from } = peer.requests[0]!;
  expect(from).toBe('127.0.0.5');
  expect(text).toMatch(new RegExp(`^OPTIONS sip:127\\.0\\.0\\.1:${peer.port} SIP/2\\.0\r\n`));
  for (const header of [
    /\r\nVia: SIP\/2\.0\/UDP 127\.0\.0\.5:\d+;rport;branch=z9hG4bK\w+\r\n/,
    /\r\nMax-Forwards: 70\r\n/,
    /\r\nFrom: <sip:[^>]+>;tag=\w+\r\n/,
    /\r\nTo: <sip:[^>]+>\r\n/,
    /\r\nCall-ID: \w+\r\n/,
    /\r\nCSeq: 1 OPTIONS\r\n/,
    /\r\nContact: <sip:[^>]+>\r\n/,
    /\r\nContent-Length: 0\r\n\r\n$/,
  ])
    expect(text).toMatch(header);
});

test.for([
  ['404 Not Found', 'success'],
  ['405 Method Not Allowed', 'success'],
  ['500 Server Internal Error', 'success'],
  ['503 Service Unavailable', 'failure'],
  ['408 Request Timeout', 'failure'],
] as const)('%s is a %s, and the evidence says which answer it was', async ([status, result]) => {
  const peer = await udpPeer(respond(status));
  expect(await probeOptions(target(peer.port))).toEqual({ result, phase: 'answer', evidence: status });
});

test('silence ends at the deadline, after retransmissions of the same request', async () => {
  const peer = await udpPeer(() => []);
  expect(await probeOptions(target(peer.port, { timeoutMs: 700 }))).toEqual({
    result: 'failure',
    phase: 'answer',
    evidence: 'no answer in 0.7s',
  });
  await expect.poll(() => peer.requests.length).toBe(2);
  expect(peer.requests[1]!.text).toBe(peer.requests[0]!.text);
});

test('a closed UDP port is noticed through ICMP, long before the deadline', async () => {
  const socket = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  const outcome = await probeOptions(target(port, { timeoutMs: 60_000 }));
  expect(outcome).toEqual({ result: 'failure', phase: 'connect', evidence: 'connection refused' });
});

test('provisional responses, other branches, other methods and garbage are passed over', async () => {
  const peer = await udpPeer((request) => [
    'garbage',
    respond('503 Other Branch', (r) => r.replace(/branch=\w+/, 'branch=z9hG4bKother'))(request) as string,
    respond('503 Other Method', (r) => r.replace('1 OPTIONS', '1 INVITE'))(request) as string,
    respond('100 Trying')(request) as string,
    respond('200 OK', (r) => r.replace('Via: ', 'v :\r\n '))(request) as string,
  ]);
  expect(await probeOptions(target(peer.port))).toEqual({ result: 'success', phase: 'answer', evidence: '200 OK' });
});

test('an address that this host does not hold is left aside: a standby probes from what it has', async () => {
  const peer = await udpPeer(respond('200 OK'));
  expect(await probeOptions(target(peer.port, { localAddress: '192.0.2.77' }))).toMatchObject({ result: 'success' });
  const port = await tcpPeer((s, request) => s.write(respond('200 OK')(request) as string));
  const tcp = target(port, { transport: 'tcp', localAddress: '192.0.2.77' });
  expect(await probeOptions(tcp)).toMatchObject({ result: 'success' });
});

test('IPv6 addresses stand in brackets', async () => {
  const peer = await udpPeer(respond('200 OK'), '::1');
  const outcome = await probeOptions(target(peer.port, { address: '::1', localAddress: '::1' }));
  expect(outcome).toMatchObject({ result: 'success' });
  expect(peer.requests[0]!.text).toMatch(/^OPTIONS sip:\[::1\]:\d+ [\s\S]*Via: SIP\/2\.0\/UDP \[::1\]:\d+;/);
});

test('over TCP the answer is found wherever the stream is cut, behind keepalives and a response with a body', async () => {
  const port = await tcpPeer((socket, request) => {
    const ringing = (respond('183 Progress')(request) as string).replace(
      'Length: 0\r\n\r\n',
      'Length: 9\r\n\r\nSIP/2.0 5',
    );
    const stream = `\r\n\r\n${ringing}${respond('200 OK')(request) as string}`;
    socket.setNoDelay(true);
    for (const byte of stream) socket.write(byte);
  });
  expect(await probeOptions(target(port, { transport: 'tcp' }))).toEqual({
    result: 'success',
    phase: 'answer',
    evidence: '200 OK',
  });
});

test('over TCP a refused, a closed and an endless connection are told apart', async () => {
  const closing = await tcpPeer((socket) => socket.end());
  expect((await probeOptions(target(closing, { transport: 'tcp' }))).evidence).toBe(
    'connection closed without an answer',
  );
  const endless = await tcpPeer((socket) => socket.write('x'.repeat(70_000)));
  expect((await probeOptions(target(endless, { transport: 'tcp' }))).evidence).toBe('answer longer than 65536 bytes');
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  expect((await probeOptions(target(port, { transport: 'tcp' }))).evidence).toBe('connection refused');
});

test('an aborted probe ends at once', async () => {
  const peer = await udpPeer(() => []);
  const stop = new AbortController();
  const outcome = probeOptions(target(peer.port, { timeoutMs: 60_000 }), stop.signal);
  stop.abort();
  expect(await outcome).toEqual({ result: 'inconclusive', evidence: 'probe stopped' });
});

test('codes that the operator lists decide alone', async () => {
  const peer = await udpPeer(respond('404 Not Found'));
  const only200 = Check.parse({ name: 'ping', type: 'options', codes: [200] });
  expect(await probeOptions(target(peer.port))).toMatchObject({ result: 'success' });
  expect(await probeOptions(target(peer.port, { check: only200 }))).toMatchObject({ result: 'failure' });
});
