import { randomBytes, randomInt } from 'node:crypto';
import { connect, createServer, isIPv6, type Server, type Socket } from 'node:net';
import type { WebSocket } from 'ws';
import {
  type ConnectionCounts,
  type Endpoint,
  type MessageHandler,
  type Segments,
  type StreamOptions,
  type StreamTransport,
  TRANSPORT,
  type TransportCounts,
} from '../ports.ts';
import { openBoundSocket } from './bound-socket.ts';
import { Connection, type ConnectionOwner, type StreamConnection } from './connection.ts';
import { createCounts } from './counts.ts';
import { copyEndpoint, createEndpoint, formatAddress, sameAddress } from './endpoint.ts';
import { type Libc, loadLibc } from './libc.ts';
import { listenError } from './listen-error.ts';
import { LAST_ID } from './open-connections.ts';
import { QueueBudget } from './queue-budget.ts';
import { createConnectionCounts, STREAM_LIMITS, type StreamLimits, sumCounts } from './stream-limits.ts';
import { ConnectionGroup, GroupListener, type ListenerOwner } from './stream-listener.ts';
import { WebSocketConnection } from './websocket-connection.ts';

/** Connections that the kernel completes while a worker is busy; it caps this at net.core.somaxconn. */
const BACKLOG = 4096;
const SEED_BYTES = 16;
const SWEEP_MS = 1000;
const PLAIN: StreamOptions = Object.freeze({ transport: TRANSPORT.tcp });
/** Before the kernel asks a silent peer whether it is still there: below the 350 s after which AWS drops an idle flow. */
const KEEPALIVE_MS = 120_000;
const SOCKET_OPTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS };

export interface StreamTransportOptions {
  handler: MessageHandler;
  /** How listening sockets are made: `ffi` can share ports and bind absent addresses (see UdpTransportOptions). */
  kind?: 'auto' | 'ffi' | 'dgram';
  counts?: TransportCounts;
  limits?: Partial<StreamLimits>;
  /** The same on all data threads: what TLS session tickets are encrypted with comes from it. Left out: random. */
  seed?: Uint8Array;
  /** Told each connection that messages can be sent on from now on, accepted or being opened. */
  onOpened?: (connection: number) => void;
  /** Told each connection that is gone, when nothing can be sent on it any more. */
  onClosed?: (connection: number) => void;
  /**
   * Told of each connection opened by `sendTo` that is gone. `refused`: it never was open, since the peer refused it, was silent, or is not
   * to be trusted. `to` and `listener` as given to `sendTo`.
   */
  onUnreachable?: (to: Readonly<Endpoint>, listener: number, refused: boolean) => void;
  /** After the handler has had all messages of one chunk: the time to flush what it queued elsewhere. */
  onBatchEnd?: () => void;
  /** Monotonic milliseconds. */
  now?: () => number;
}

export interface Streams extends StreamTransport {
  /** Bytes that wait to be sent on all connections, as far as known within the last second. */
  readonly queuedBytes: number;
  /** Of all listeners, closed ones included. */
  readonly connectionCounts: Readonly<ConnectionCounts>;
}

/** Every TCP, TLS and WebSocket connection (and listener) of one worker. */
export function createStreamTransport(options: StreamTransportOptions): Streams {
  return new AllStreams(options);
}

interface Open {
  connection: StreamConnection;
  group: ConnectionGroup;
  /** Opened by us. */
  dialed: boolean;
}

class AllStreams implements Streams, ConnectionOwner, ListenerOwner {
  readonly counts: TransportCounts;
  readonly budget = new QueueBudget();
  readonly limits: Readonly<StreamLimits>;
  readonly now: () => number;
  readonly batchEnded: () => void;
  readonly seed: Uint8Array;
  readonly #libc: Libc | undefined;
  readonly #handler: MessageHandler;
  readonly #onOpened: (connection: number) => void;
  readonly #onClosed: (connection: number) => void;
  readonly #onUnreachable: (to: Readonly<Endpoint>, listener: number, refused: boolean) => void;
  readonly #connections = new Map<number, Open>();
  readonly #listeners = new Set<GroupListener>();
  /** Connections opened for a listener number that nobody listens under. */
  readonly #adrift = new Map<number, ConnectionGroup>();
  readonly #corked: Connection[] = [];
  readonly #from: Endpoint = createEndpoint(TRANSPORT.tcp);
  readonly #sweep: NodeJS.Timeout;
  // A random start: ids of before a restart, still in tokens, should not name today's connections.
  #lastId = randomInt(LAST_ID);
  /** Accepted ones, those included that have not come to SIP yet. */
  #accepted = 0;
  #closed = false;
  /** Of listeners that are closed. */
  #formerCounts = createConnectionCounts();

  constructor(options: StreamTransportOptions) {
    this.counts = options.counts ?? createCounts();
    this.limits = { ...STREAM_LIMITS, ...options.limits };
    this.now = options.now ?? (() => performance.now());
    this.batchEnded = options.onBatchEnd ?? (() => {});
    this.#libc = options.kind === 'dgram' ? undefined : loadLibc();
    this.#handler = options.handler;
    this.#onOpened = options.onOpened ?? (() => {});
    this.#onClosed = options.onClosed ?? (() => {});
    this.#onUnreachable = options.onUnreachable ?? (() => {});
    this.seed = options.seed ?? randomBytes(SEED_BYTES);
    // One timer for all connections; a second late is soon enough for limits that listeners set in seconds or minutes.
    const period = Math.min(this.limits.idleTime, this.limits.messageTime, this.limits.pingTime) / 4;
    this.#sweep = setInterval(() => this.#expire(), Math.min(Math.max(period, 1), SWEEP_MS)).unref();
  }

  async listen(
    address: string,
    port: number,
    listener: number,
    options: StreamOptions = PLAIN,
  ): Promise<GroupListener> {
    if (this.#closed) throw listenError('tcp', address, port, 'the transport is closed');
    const server = createServer(SOCKET_OPTIONS, (socket) => this.#accept(socket, opened));
    const opened = new GroupListener(server, listener, options, this);
    opened.port = await this.#bind(server, address, port);
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
    const open = group.find(to);
    if (open) return open.send(message);
    // Nobody can be called by WebSocket (RFC 7118 §5: servers do not open connections).
    if (to.transport !== TRANSPORT.tcp && to.transport !== TRANSPORT.tls) return false;
    return this.#connect(to, localAddress, group).send(message);
  }

  closeWhere(matches: (remote: Readonly<Endpoint>, listener: number) => boolean): void {
    for (const { connection, group } of [...this.#connections.values()])
      if (matches(connection.remote, group.listener)) connection.close();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const group of this.#adrift.values()) group.close();
    await Promise.all([...this.#listeners].map((listener) => listener.close()));
  }

  message(connection: StreamConnection, bytes: Uint8Array, start: number, end: number): void {
    const group = this.#connections.get(connection.remote.connection)?.group;
    if (group) this.#handler(bytes, start, end, copyEndpoint(this.#from, connection.remote), group.listener);
  }

  corked(connection: Connection): void {
    // Runs when the current batch's callback has returned, before the event loop goes on.
    if (this.#corked.push(connection) === 1) process.nextTick(this.#uncork);
  }

  closed(connection: StreamConnection, established: boolean): void {
    const id = connection.remote.connection;
    const found = this.#connections.get(id);
    if (!found) return;
    this.#connections.delete(id);
    found.group.remove(connection);
    if (found.dialed && !this.#closed) this.#onUnreachable(connection.remote, found.group.listener, !established);
    this.#onClosed(id);
  }

  stream(socket: Socket, remote: Endpoint, group: ConnectionGroup): void {
    this.#add(remote, group, () => new Connection(socket, remote, this, group));
  }

  webSocket(socket: WebSocket, remote: Endpoint, group: ConnectionGroup): void {
    this.#add(remote, group, () => new WebSocketConnection(socket, remote, this, group));
  }

  forget(listener: GroupListener): void {
    this.#listeners.delete(listener);
    this.#formerCounts = sumCounts([this.#formerCounts, listener.connectionCounts]);
  }

  get queuedBytes(): number {
    return this.budget.bytes;
  }

  get connectionCounts(): Readonly<ConnectionCounts> {
    const groups = [...this.#adrift.values(), ...[...this.#listeners].map((l) => l.group)];
    return sumCounts([this.#formerCounts, ...groups.map((g) => g.connectionCounts)]);
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

  #accept(socket: Socket, listener: GroupListener): void {
    if (this.#accepted >= this.limits.connections || this.#closed) {
      listener.group.connectionCounts.refused++;
      socket.destroy();
      return;
    }
    this.#accepted++;
    socket.once('close', () => this.#accepted--);
    listener.accept(socket);
  }

  #connect(to: Endpoint, localAddress: string, group: ConnectionGroup): StreamConnection {
    const where = { host: formatAddress(to), port: to.port, localAddress, ...SOCKET_OPTIONS };
    const remote = copyEndpoint(createEndpoint(to.transport), to);
    const secure = to.transport === TRANSPORT.tls;
    const socket = secure ? group.peers.find(to).connect(where) : connect(where);
    const established = secure ? 'secureConnect' : 'connect';
    return this.#add(remote, group, () => new Connection(socket, remote, this, group, established), true);
  }

  #add(remote: Endpoint, group: ConnectionGroup, create: () => StreamConnection, dialed = false): StreamConnection {
    remote.connection = this.#nextId();
    const connection = create();
    this.#connections.set(remote.connection, { connection, group, dialed });
    group.add(connection);
    this.#onOpened(remote.connection);
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
      group = new ConnectionGroup(listener, this.limits);
      this.#adrift.set(listener, group);
    }
    return group;
  }

  #expire(): void {
    const now = this.now();
    for (const { connection } of this.#connections.values()) connection.expire(now);
  }
}
