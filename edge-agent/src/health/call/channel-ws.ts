import { once } from 'node:events';
import WebSocket from 'ws';
import { type Channel, type ChannelEvents, type ChannelSettings, MESSAGE_LIMIT } from './channel.ts';
import { ProbeFault, socketFault } from './fault.ts';
import { hostPort, type Peer } from './locate.ts';

/** SIP over WebSocket (RFC 7118): one message a frame. */
export async function openWebSocket(
  peer: Peer,
  settings: ChannelSettings,
  events: ChannelEvents,
  signal: AbortSignal,
): Promise<Channel> {
  const where = hostPort(peer.address, peer.port);
  const socket = new WebSocket(`ws://${where}/`, 'sip', {
    perMessageDeflate: false,
    maxPayload: MESSAGE_LIMIT.header + MESSAGE_LIMIT.body,
    ...(settings.leg ? { localAddress: settings.leg.address } : {}),
  });
  let local = { address: '', port: 0 };
  socket.once('upgrade', ({ socket: raw }) => {
    local = { address: raw.localAddress as string, port: raw.localPort as number };
  });
  let closed = false;
  const send = (bytes: Uint8Array): void => {
    if (!closed) socket.send(bytes, () => {});
  };
  const close = (): void => {
    if (!closed) socket.close();
    closed = true;
    setTimeout(() => socket.terminate(), LINGER_MS).unref();
  };
  socket.on('message', (data: Buffer) => {
    if (!closed) events.message(data, send);
  });
  try {
    await once(socket, 'open', { signal });
  } catch (error) {
    socket.on('error', () => {});
    socket.terminate();
    if (signal.aborted) throw signal.reason;
    throw socketFault(where, error);
  }
  const fail = (fault: ProbeFault): void => {
    if (closed) return;
    close();
    events.failed(fault);
  };
  socket.on('error', (error) => fail(socketFault(where, error)));
  socket.on('close', () => fail(new ProbeFault(`${where}: connection closed by the peer`)));
  return { transport: 'ws', reliable: true, local, peer, send, close };
}

const LINGER_MS = 500;
