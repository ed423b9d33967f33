import { once } from 'node:events';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { FRAME, StreamFramer } from '../../sip/framer.ts';
import { type Channel, type ChannelEvents, type ChannelSettings, MESSAGE_LIMIT } from './channel.ts';
import { ProbeFault, socketFault } from './fault.ts';
import { hostPort, type Peer } from './locate.ts';

const PONG = Buffer.from('\r\n');

/** One TCP or TLS connection. Everything of the probe goes over it, in-dialog requests too (RFC 5923: the connection is the alias). */
export async function openStream(
  peer: Peer,
  settings: ChannelSettings,
  events: ChannelEvents,
  signal: AbortSignal,
): Promise<Channel> {
  const where = hostPort(peer.address, peer.port);
  const socket = dial(peer, settings);
  let open = false;
  let closed = false;
  const close = (): void => {
    closed = true;
    // What was written last, such as an ACK, still goes out; the timer is for a peer that does not read it.
    socket.end();
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
  };
  const fail = (fault: ProbeFault): void => {
    if (closed || !open) return;
    close();
    events.failed(fault);
  };
  const send = (bytes: Uint8Array): void => {
    if (!closed) socket.write(bytes);
  };
  const framer = new StreamFramer(
    {
      message: (bytes, start, end) => events.message(bytes.slice(start, end), send),
      ping: () => send(PONG),
    },
    MESSAGE_LIMIT,
  );
  socket.on('data', (chunk) => {
    if (!closed && framer.feed(chunk) !== FRAME.ok)
      fail(new ProbeFault(`${where}: what came over the connection is no SIP`));
  });
  socket.on('close', () => fail(new ProbeFault(`${where}: connection closed by the peer`)));
  try {
    await once(socket, peer.transport === 'tls' ? 'secureConnect' : 'connect', { signal });
  } catch (error) {
    socket.on('error', () => {});
    socket.destroy();
    if (signal.aborted) throw signal.reason;
    throw socketFault(where, error);
  }
  open = true;
  socket.on('error', (error) => fail(socketFault(where, error)));
  socket.setNoDelay(true);
  const local = { address: socket.localAddress as string, port: socket.localPort as number };
  return { transport: peer.transport, reliable: true, local, peer, send, close };
}

const LINGER_MS = 500;

function dial(peer: Peer, { leg, tls }: ChannelSettings): Socket {
  const target = {
    host: peer.address,
    port: peer.port,
    ...(leg ? { localAddress: leg.address, ...(leg.port ? { localPort: leg.port } : {}) } : {}),
  };
  if (peer.transport !== 'tls') return connect(target);
  return connectTls({
    ...target,
    rejectUnauthorized: !tls.insecure,
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    // RFC 6066 §3: no literal address as server name.
    ...(isIP(peer.name) ? {} : { servername: peer.name }),
  });
}
