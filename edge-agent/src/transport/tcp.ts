import { randomInt } from 'node:crypto';
import { connect, createServer, isIPv6, type Server, type Socket } from 'node:net';
import {
  type Endpoint,
  type MessageHandler,
  type Segments,
  type StreamTransport,
  TRANSPORT,
  type TransportCounts,
} from '../ports.ts';
import { openBoundSocket } from './bound-socket.ts';
import { Connection, type ConnectionOwner } from './connection.ts';
import { createCounts } from './counts.ts';
import { copyEndpoint, createEndpoint, formatAddress, sameAddress, setAddress } from './endpoint.ts';
import { type Libc, loadLibc } from './libc.ts';
import { listenError } from './listen-error.ts';
import { type ConnectionCounts, createConnectionCounts, STREAM_LIMITS, type StreamLimits } from './stream-limits.ts';
import { ConnectionGroup, GroupListener, type TcpListener } from './stream-listener.ts';

/** Connection ids fill the 24 bits that a token has for them. */
const LAST_ID = 0xffffff;
/** Connections that the kernel completes while a worker is busy; it caps this at net.core.somaxconn. */
const BACKLOG = 4096;
/** Before the kernel asks a silent peer whether it is still there: below the 350 s after which AWS drops an idle flow. */
const KEEPALIVE_MS = 120_000;
const SOCKET_OPTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS };

export interface TcpTransportOptions {
  handler: MessageHandler;
  /** How listening sockets are made: `ffi` can share ports and bind absent addresses (see UdpTransportOptions). */
  kind?: 'auto' | 'ffi' | 'dgram';
  counts?: TransportCounts;
  limits?: Partial<StreamLimits>;
  /** Told each connection that is gone, when nothing can be sent on it any more. */
  onClosed?: (connection: number) => void;
  /** After the handler has had all messages of one chunk: the time to flush what it queued elsewhere. */
  onBatchEnd?: () => void;
  /** Monotonic milliseconds. */
  now?: () => number;
}

export interface TcpTransport extends StreamTransport {
  readonly connectionCounts: Readonly<ConnectionCounts>;
  listen(address: string, port: number, listener: number): Promise<TcpListener>;
}

/** Every TCP connection (and listener) of one worker. */
export function createStreamTransport(options: TcpTransportOptions): TcpTransport {
  return new Tcp(options);
}

class Tcp implements TcpTransport, ConnectionOwner {
  readonly counts: TransportCounts;
  readonly connectionCounts = createConnectionCounts();
  readonly limits: Readonly<StreamLimits>;
  readonly now: () => number;
  readonly batchEnded: () => void;
  readonly #libc: Libc | undefined;
  readonly #handler: MessageHandler;
  readonly #onClosed: (connection: number) => void;
  readonly #connections = new Map<number, { connection: Connection; group: ConnectionGroup }>();
  readonly #listeners = new Set<GroupListener>();
  /** Connections opened for a listener number that nobody listens under. */
  readonly #adrift = new Map<number, ConnectionGroup>();
  readonly #corked: Connection[] = [];
  readonly #from: Endpoint = createEndpoint(TRANSPORT.tcp);
  readonly #sweep: NodeJS.Timeout;
  // A random start: ids of before a restart, still in tokens, should not name today's connections.
  #lastId = randomInt(LAST_ID);
  #closed = false;

  constructor(options: TcpTransportOptions) {
    this.counts = options.counts ?? createCounts();
    this.limits = { ...STREAM_LIMITS, ...options.limits };
    this.now = options.now ?? (() => performance.now());
    this.batchEnded = options.onBatchEnd ?? (() => {});
    this.#libc = options.kind === 'dgram' ? undefined : loadLibc();
    this.#handler = options.handler;
    this.#onClosed = options.onClosed ?? (() => {});
    // One timer for all connections; a quarter late is soon enough for limits that are meant in minutes.
    const period = Math.min(this.limits.idleTime, this.limits.messageTime) / 4;
    this.#sweep = setInterval(() => this.#expire(), Math.max(period, 1)).unref();
  }

  async listen(address: string, port: number, listener: number): Promise<TcpListener> {
    if (this.#closed) throw listenError('tcp', address, port, 'the transport is closed');
    const group = new ConnectionGroup(listener);
    const server = createServer(SOCKET_OPTIONS, (socket) => this.#accept(socket, group));
    const opened: GroupListener = new GroupListener(await this.#bind(server, address, port), server, group, () =>
      this.#listeners.delete(opened),
    );
    this.#listeners.add(opened);
    return opened;
  }

  send(connection: number, message: Segments): boolean {
    const found = this.#connections.get(connection);
    if (!found) return false;
    // A full queue drops the message and counts it; the connection is there all the same.
    found.connection.send(message);
    return true;
  }

  isPeer(connection: number, address: Endpoint): boolean {
    const remote = this.#connections.get(connection)?.connection.remote;
    return remote !== undefined && sameAddress(remote, address);
  }

  sendTo(to: Endpoint, message: Segments, localAddress: string, listener: number): boolean {
    if (this.#closed) return false;
    const group = this.#groupOf(listener);
    const connection = group.find(to) ?? this.#connect(to, localAddress, group);
    return connection.send(message);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const group of this.#adrift.values()) group.close();
    await Promise.all([...this.#listeners].map((listener) => listener.close()));
  }

  message(connection: Connection, bytes: Uint8Array, start: number, end: number): void {
    const group = this.#connections.get(connection.remote.connection)?.group;
    if (group) this.#handler(bytes, start, end, copyEndpoint(this.#from, connection.remote), group.listener);
  }

  corked(connection: Connection): void {
    // Runs when the current batch's callback has returned, before the event loop goes on.
    if (this.#corked.push(connection) === 1) process.nextTick(this.#uncork);
  }

  closed(connection: Connection): void {
    const id = connection.remote.connection;
    const found = this.#connections.get(id);
    if (!found) return;
    this.#connections.delete(id);
    found.group.remove(connection);
    this.#onClosed(id);
  }

  #uncork = (): void => {
    for (const connection of this.#corked.splice(0)) connection.uncork();
  };

  async #bind(server: Server, address: string, port: number): Promise<number> {
    const bound = this.#libc && openBoundSocket(this.#libc, 'tcp', address, port);
    const where = bound
      ? { fd: bound.fd }
      : { host: address, port, ipv6Only: isIPv6(address), reusePort: process.platform === 'linux' };
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) =>
        reject(listenError('tcp', address, port, error.code ?? error.message, error)),
      );
      server.listen({ ...where, backlog: BACKLOG }, resolve);
    });
    server.removeAllListeners('error');
    // A failed accept (out of descriptors) concerns one connection; the server goes on.
    server.on('error', () => {});
    const bind = server.address();
    return typeof bind === 'object' && bind ? bind.port : port;
  }

  #accept(socket: Socket, group: ConnectionGroup): void {
    const remote = createEndpoint(TRANSPORT.tcp);
    if (this.#connections.size >= this.limits.connections || this.#closed) {
      this.connectionCounts.refused++;
      socket.destroy();
      return;
    }
    // Gone again already: there is no one to talk to.
    if (socket.remoteAddress === undefined || !setAddress(remote, socket.remoteAddress)) {
      socket.destroy();
      return;
    }
    remote.port = socket.remotePort as number;
    this.connectionCounts.accepted++;
    this.#add(socket, remote, group);
  }

  #connect(to: Endpoint, localAddress: string, group: ConnectionGroup): Connection {
    const socket = connect({ host: formatAddress(to), port: to.port, localAddress, ...SOCKET_OPTIONS });
    return this.#add(socket, copyEndpoint(createEndpoint(TRANSPORT.tcp), to), group);
  }

  #add(socket: Socket, remote: Endpoint, group: ConnectionGroup): Connection {
    remote.transport = TRANSPORT.tcp;
    remote.connection = this.#nextId();
    const connection = new Connection(socket, remote, this);
    this.#connections.set(remote.connection, { connection, group });
    group.add(connection);
    return connection;
  }

  /** The one that was longest unused, as far as a counter can tell. */
  #nextId(): number {
    do this.#lastId = this.#lastId >= LAST_ID ? 1 : this.#lastId + 1;
    while (this.#connections.has(this.#lastId));
    return this.#lastId;
  }

  #groupOf(listener: number): ConnectionGroup {
    for (const l of this.#listeners) if (l.listener === listener) return l.group;
    let group = this.#adrift.get(listener);
    if (!group) {
      group = new ConnectionGroup(listener);
      this.#adrift.set(listener, group);
    }
    return group;
  }

  #expire(): void {
    const now = this.now();
    for (const { connection } of this.#connections.values()) connection.expire(now);
  }
}
