import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { Arena, Endpoint, Segments, TransportCounts, UdpEvents, UdpSocket, UdpTransport } from '../../ports.ts';
import { TRANSPORT } from '../../ports.ts';
import { createEndpoint, formatAddress, isIPv4, setAddress } from '../endpoint.ts';
import { gather } from '../gather.ts';
import { listenError } from '../listen-error.ts';

const ARENA_BYTES = 256 << 10;
const BUFFER_BYTES = 8 << 20;

/** UDP through node:dgram: one syscall and one callback per packet, on every platform. */
export class DgramUdpTransport implements UdpTransport {
  readonly kind = 'dgram';
  readonly waitedMs = 0;
  readonly arena: Arena = { bytes: new Uint8Array(ARENA_BYTES), used: 0 };
  readonly #events: UdpEvents;
  readonly #counts: TransportCounts;
  readonly #datagram: number;
  /** Every message is handed over in here: as with FFI, handlers see one view for ever. */
  readonly #received: Uint8Array;
  readonly #from: Endpoint = createEndpoint(TRANSPORT.udp);
  readonly #sockets = new Set<DgramUdpSocket>();
  readonly #pending = new Set<DgramUdpSocket>();

  constructor(events: UdpEvents, counts: TransportCounts, datagram: number) {
    this.#events = events;
    this.#counts = counts;
    this.#datagram = datagram;
    this.#received = new Uint8Array(datagram);
  }

  async open(address: string, port: number, listener: number): Promise<UdpSocket> {
    const linux = process.platform === 'linux';
    const socket = createSocket({
      type: isIPv6(address) ? 'udp6' : 'udp4',
      // Linux spreads load over SO_REUSEPORT sockets. Elsewhere libuv's reuseAddr is what lets several workers bind; on Linux it would let others steal.
      ...(linux ? { reusePort: true } : { reuseAddr: true }),
      ipv6Only: isIPv6(address),
      // Addresses are numeric: no resolver, and no waiting for one, between two messages.
      lookup: (host, _options, found) => found(null, host, isIPv6(host) ? 6 : 4),
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error: NodeJS.ErrnoException) => {
        socket.close();
        reject(listenError('udp', address, port, error.code ?? error.message, error));
      });
      socket.bind({ address, port }, resolve);
    });
    socket.removeAllListeners('error');
    socket.on('error', () => {});
    enlarge(socket);
    const opened: DgramUdpSocket = new DgramUdpSocket(socket, listener, this.#counts, this.#pending, this.#sockets);
    socket.on('message', (message, from) => this.#deliver(opened, message, from));
    this.#sockets.add(opened);
    return opened;
  }

  flush(): void {
    for (const socket of this.#pending) socket.flush();
    this.#pending.clear();
    this.arena.used = 0;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sockets].map((socket) => socket.close()));
  }

  #deliver(socket: DgramUdpSocket, message: Buffer, from: RemoteInfo): void {
    const counts = this.#counts;
    counts.received++;
    counts.receivedBytes += message.length;
    if (message.length > this.#datagram) {
      counts.oversized++;
      return;
    }
    this.#received.set(message);
    setAddress(this.#from, from.address);
    this.#from.port = from.port;
    this.#events.handler(this.#received, 0, message.length, this.#from, socket.listener);
    this.#events.batchEnded();
    this.flush();
  }
}

class DgramUdpSocket implements UdpSocket {
  readonly port: number;
  listener: number;
  readonly #socket: Socket;
  readonly #v4: boolean;
  readonly #counts: TransportCounts;
  readonly #pending: Set<DgramUdpSocket>;
  readonly #open: Set<DgramUdpSocket>;
  readonly #queue: { text: Uint8Array; address: string; port: number }[] = [];
  #closing: Promise<void> | undefined;

  constructor(
    socket: Socket,
    listener: number,
    counts: TransportCounts,
    pending: Set<DgramUdpSocket>,
    open: Set<DgramUdpSocket>,
  ) {
    const bound = socket.address();
    this.port = bound.port;
    this.#v4 = bound.family === 'IPv4';
    this.listener = listener;
    this.#socket = socket;
    this.#counts = counts;
    this.#pending = pending;
    this.#open = open;
  }

  send(to: Endpoint, message: Segments): number {
    if (this.#closing || isIPv4(to) !== this.#v4) return -1;
    // A port that Node refuses by throwing: the kernel would refuse it too.
    if (to.port === 0) {
      this.#counts.sendDropped++;
      return -1;
    }
    const text = new Uint8Array(message.length);
    gather(text, 0, message);
    this.#queue.push({ text, address: formatAddress(to), port: to.port });
    this.#pending.add(this);
    return -1;
  }

  flush(): void {
    for (const { text, address, port } of this.#queue) this.#socket.send(text, port, address, this.#sent);
    this.#queue.length = 0;
  }

  close(): Promise<void> {
    if (!this.#closing) {
      this.flush();
      this.#pending.delete(this);
      this.#open.delete(this);
      this.#closing = new Promise((resolve) => this.#socket.close(resolve));
    }
    return this.#closing;
  }

  readonly #sent = (error: Error | null, bytes: number): void => {
    if (error) this.#counts.sendDropped++;
    else {
      this.#counts.sent++;
      this.#counts.sentBytes += bytes;
    }
  };
}

/** As much buffer as the system allows: Node reports a refusal by throwing, and the default serves. */
function enlarge(socket: Socket): void {
  for (const set of [() => socket.setRecvBufferSize(BUFFER_BYTES), () => socket.setSendBufferSize(BUFFER_BYTES)])
    try {
      set();
    } catch {
      // net.core.rmem_max of some containers; macOS's kern.ipc.maxsockbuf.
    }
}
