import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { type Channel, type ChannelEvents, type ChannelSettings, MESSAGE_LIMIT } from './channel.ts';
import { socketFault } from './fault.ts';
import { hostPort, type Peer } from './locate.ts';

/**
 * Two sockets on one port. One is connected to the peer, because only a connected socket learns of ICMP errors; the other takes
 * what comes from elsewhere, such as the BYE of a PBX that left the path after the INVITE. The kernel prefers the connected one.
 */
export async function openUdp(
  peer: Peer,
  settings: ChannelSettings,
  events: ChannelEvents,
  signal: AbortSignal,
): Promise<Channel> {
  const type = peer.address.includes(':') ? 'udp6' : 'udp4';
  const sockets: Socket[] = [];
  let ready = false;
  let closed = false;
  const close = (): void => {
    if (!closed) for (const socket of sockets) socket.close();
    closed = true;
  };
  const where = hostPort(peer.address, peer.port);
  const open = (): Socket => {
    const socket = createSocket({ type, reuseAddr: true });
    sockets.push(socket);
    socket.on('message', take);
    // While the sockets are opened the error is waited for below; afterwards only the connected one's says something.
    socket.on('error', (error) => {
      if (ready && !closed && socket === sockets[1]) events.failed(socketFault(where, error));
    });
    return socket;
  };
  const take = (bytes: Buffer, from: RemoteInfo): void => {
    if (closed || bytes.length > MESSAGE_LIMIT.header + MESSAGE_LIMIT.body) return;
    events.message(bytes, (answer) => send(answer, from));
  };
  const send = (bytes: Uint8Array, to: { address: string; port: number }): void => {
    if (closed) return;
    const [any, connected] = sockets as [Socket, Socket];
    if (to.address === peer.address && to.port === peer.port) connected.send(bytes, () => {});
    else any.send(bytes, to.port, to.address, () => {});
  };
  try {
    const address = settings.leg?.address ?? (await ownAddress(type, peer, signal));
    const any = open();
    any.bind({ address, port: settings.leg?.port ?? 0 });
    await once(any, 'listening', { signal });
    const local = any.address();
    const connected = open();
    connected.bind({ address: local.address, port: local.port });
    await once(connected, 'listening', { signal });
    connected.connect(peer.port, peer.address);
    await once(connected, 'connect', { signal });
    ready = true;
    return {
      transport: 'udp',
      reliable: false,
      local: { address: local.address, port: local.port },
      peer,
      send: (bytes, to = peer) => send(bytes, to),
      close,
    };
  } catch (error) {
    close();
    if (signal.aborted) throw signal.reason;
    throw socketFault(settings.leg ? `own address ${hostPort(settings.leg.address, settings.leg.port)}` : where, error);
  }
}

/** The address that the kernel would send from: a datagram socket that is connected knows it, without a packet. */
async function ownAddress(type: 'udp4' | 'udp6', peer: Peer, signal: AbortSignal): Promise<string> {
  const socket = createSocket(type);
  try {
    socket.connect(peer.port, peer.address);
    await once(socket, 'connect', { signal });
    return socket.address().address;
  } finally {
    socket.close();
  }
}
