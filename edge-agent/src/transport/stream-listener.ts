import type { Server, Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { ConnectionCounts, Endpoint, StreamListener, StreamOptions } from '../ports.ts';
import { Arrivals, type ArrivalsHandler } from './arrivals.ts';
import type { ConnectionRules, StreamConnection } from './connection.ts';
import { endpointKey } from './endpoint.ts';
import { createConnectionCounts, type StreamLimits } from './stream-limits.ts';
import { TlsPeers } from './tls-client.ts';

/** The connections under one listener number. Those that we open belong to the listener they were opened for, and go with it. */
export class ConnectionGroup implements ConnectionRules {
  listener: number;
  /** Shared by its connections, which so follow a change at once. */
  readonly limits: StreamLimits;
  readonly connectionCounts = createConnectionCounts();
  peers = new TlsPeers();
  readonly members = new Set<StreamConnection>();
  readonly #byRemote = new Map<string, StreamConnection>();

  constructor(listener: number, limits: Readonly<StreamLimits>) {
    this.listener = listener;
    this.limits = { ...limits };
  }

  add(connection: StreamConnection): void {
    this.members.add(connection);
    this.#byRemote.set(endpointKey(connection.remote), connection);
  }

  remove(connection: StreamConnection): void {
    this.members.delete(connection);
    const key = endpointKey(connection.remote);
    if (this.#byRemote.get(key) === connection) this.#byRemote.delete(key);
  }

  /** The connection to this remote transport, address and port, whoever opened it. */
  find(remote: Readonly<Endpoint>): StreamConnection | undefined {
    return this.#byRemote.get(endpointKey(remote));
  }

  close(): void {
    for (const connection of this.members) connection.close();
  }
}

/** What a listener needs of the transport that holds it. */
export interface ListenerOwner {
  readonly limits: Readonly<StreamLimits>;
  /** The same on all data threads, see TlsServer. */
  readonly seed: Uint8Array;
  stream(socket: Socket, remote: Endpoint, group: ConnectionGroup): void;
  webSocket(socket: WebSocket, remote: Endpoint, group: ConnectionGroup): void;
  /** It is being closed. */
  forget(listener: GroupListener): void;
}

/** A listening socket with its group of connections; closing it closes them. */
export class GroupListener implements StreamListener, ArrivalsHandler {
  port = 0;
  readonly group: ConnectionGroup;
  readonly #server: Server;
  readonly #owner: ListenerOwner;
  #options: StreamOptions;
  #arrivals: Arrivals;
  /** Those before it, that may have handshakes to end. */
  readonly #former = new Set<Arrivals>();
  /** Accepted connections by source address. */
  readonly #sources = new Map<string, number>();
  #closing: Promise<void> | undefined;

  /** Throws where the options cannot be put into effect. */
  constructor(server: Server, listener: number, options: StreamOptions, owner: ListenerOwner) {
    this.#server = server;
    this.#owner = owner;
    this.group = new ConnectionGroup(listener, owner.limits);
    this.#options = options;
    this.#arrivals = this.#arrivalsFor(options);
    this.#use(options, new TlsPeers(options.peers));
  }

  get listener(): number {
    return this.group.listener;
  }

  set listener(listener: number) {
    this.group.listener = listener;
  }

  get connections(): number {
    return this.group.members.size;
  }

  get connectionCounts(): Readonly<ConnectionCounts> {
    return this.group.connectionCounts;
  }

  renew(options: StreamOptions): () => void {
    // The same certificates again keep their session tickets and the sessions with backends.
    if (JSON.stringify(options) === JSON.stringify(this.#options)) return () => {};
    const arrivals = this.#arrivalsFor(options);
    const peers = new TlsPeers(options.peers);
    return () => {
      const former = this.#arrivals;
      this.#former.add(former);
      setTimeout(() => this.#former.delete(former), this.#owner.limits.handshakeTime).unref();
      this.#arrivals = arrivals;
      this.#use(options, peers);
    };
  }

  accept(socket: Socket): void {
    this.#arrivals.accept(socket);
  }

  admit(socket: Socket, remote: Readonly<Endpoint>): boolean {
    const most = this.#options.connectionsPerSource;
    const source = `${remote.ip0}.${remote.ip1}.${remote.ip2}.${remote.ip3}`;
    const open = this.#sources.get(source) ?? 0;
    if (most !== undefined && open >= most) {
      this.group.connectionCounts.refused++;
      return false;
    }
    this.group.connectionCounts.accepted++;
    this.#sources.set(source, open + 1);
    socket.once('close', () => {
      const left = (this.#sources.get(source) as number) - 1;
      if (left > 0) this.#sources.set(source, left);
      else this.#sources.delete(source);
    });
    return true;
  }

  stream(socket: Socket, remote: Endpoint): void {
    this.#owner.stream(socket, remote, this.group);
  }

  webSocket(socket: WebSocket, remote: Endpoint): void {
    this.#owner.webSocket(socket, remote, this.group);
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#owner.forget(this);
      this.#server.close(() => resolve());
      this.#arrivals.close();
      for (const arrivals of this.#former) arrivals.close();
      this.group.close();
    });
    return this.#closing;
  }

  #arrivalsFor(stream: StreamOptions): Arrivals {
    const { limits, seed } = this.#owner;
    return new Arrivals({ stream, limits, counts: this.group.connectionCounts, seed, handler: this });
  }

  #use(options: StreamOptions, peers: TlsPeers): void {
    this.#options = options;
    this.group.peers = peers;
    this.group.limits.idleTime = options.idleTime ?? this.#owner.limits.idleTime;
    this.group.limits.messageTime = options.messageTime ?? this.#owner.limits.messageTime;
  }
}
