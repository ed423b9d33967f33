import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { WebSocket } from 'ws';
import { DEADLINE } from '../netns/process.ts';

/** What a phone sends and receives whole SIP messages by. */
export interface PhoneLine {
  /** As in Via: `WSS`. */
  viaTransport: string;
  /** As in a URI's `transport` parameter. */
  uriTransport: string;
  /** For Via and Contact. */
  host: string;
  send(text: string): void;
  onMessage(take: (text: string) => void): void;
  /** Resolves when the other end has closed it. */
  closed: Promise<unknown>;
  close(): void;
}

export interface LineTarget {
  host: string;
  port: number;
  /** The phone's own address, of UDP; left out: as the agent's. */
  from?: string;
  /** PEM, of TLS. */
  ca?: string;
  /** What a load balancer in front would send first. */
  header?: string | Uint8Array;
}

export type LineTransport = 'udp' | 'tcp' | 'tls' | 'ws' | 'wss';

/** Opens a line to an agent's listener. */
export function openLine(transport: LineTransport, to: LineTarget): Promise<PhoneLine> {
  if (transport === 'udp') return udpLine(to);
  return transport === 'ws' || transport === 'wss' ? webSocketLine(transport, to) : streamLine(transport, to);
}

/** Rejects with `what()` when a promise takes longer than tests wait. */
export async function within<T>(promise: Promise<T>, what: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(what())), DEADLINE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function udpLine({ host, port, from = host }: LineTarget): Promise<PhoneLine> {
  const socket = createSocket('udp4');
  socket.bind(0, from);
  await once(socket, 'listening');
  return {
    viaTransport: 'UDP',
    uriTransport: 'udp',
    host: `${from}:${socket.address().port}`,
    send: (text) => socket.send(text, port, host),
    onMessage: (take) => void socket.on('message', (bytes) => take(bytes.toString('latin1'))),
    closed: once(socket, 'close'),
    close: () => socket.close(),
  };
}

async function streamLine(transport: 'tcp' | 'tls', to: LineTarget): Promise<PhoneLine> {
  const { host, port, ca, header } = to;
  const clear = connectTcp({ host, port });
  await once(clear, 'connect');
  if (header !== undefined) clear.write(header);
  const socket: Socket =
    transport === 'tls' ? connectTls({ socket: clear, host, ...(ca !== undefined && { ca }) }) : clear;
  if (transport === 'tls') await once(socket, 'secureConnect');
  socket.on('error', () => {});
  return {
    viaTransport: transport.toUpperCase(),
    uriTransport: transport,
    host: `${clear.localAddress}:${clear.localPort}`,
    send: (text) => socket.write(text),
    onMessage: (take) => onMessages(socket, take),
    closed: once(socket, 'close'),
    close: () => socket.destroy(),
  };
}

/** Cuts a stream into messages by their Content-Length, which each must have (RFC 3261 §18.3). Latin-1. */
export function onMessages(socket: Socket, take: (text: string) => void): void {
  let buffer = '';
  socket.on('data', (chunk) => {
    buffer += chunk.toString('latin1');
    for (;;) {
      const head = buffer.indexOf('\r\n\r\n') + 4;
      const length = Number(/^(?:content-length|l)[ \t]*:[ \t]*(\d+)/im.exec(buffer.slice(0, head))?.[1]);
      if (head < 4 || !(buffer.length >= head + length)) return;
      take(buffer.slice(0, head + length));
      buffer = buffer.slice(head + length);
    }
  });
}

let browsers = 0;

/** As a browser has it: it knows no address of its own, and names itself under `.invalid` (RFC 7118 §5.2 and §8). */
async function webSocketLine(transport: 'ws' | 'wss', { host, port, ca }: LineTarget): Promise<PhoneLine> {
  const socket = new WebSocket(`${transport}://${host}:${port}/sip`, 'sip', { ...(ca !== undefined && { ca }) });
  await once(socket, 'open');
  socket.on('error', () => {});
  return {
    viaTransport: transport.toUpperCase(),
    uriTransport: 'ws',
    host: `browser${++browsers}.invalid`,
    send: (text) => socket.send(text),
    onMessage: (take) => void socket.on('message', (data) => take((data as Buffer).toString('latin1'))),
    closed: once(socket, 'close'),
    close: () => socket.terminate(),
  };
}
