import type { Server } from 'node:net';
import type { Endpoint, StreamListener } from '../ports.ts';
import type { Connection } from './connection.ts';

export interface TcpListener extends StreamListener {
  /** Open connections that belong to it, accepted or opened for it. */
  readonly connections: number;
}

/** The connections under one listener number. Those that we open belong to the listener they were opened for, and go with it. */
export class ConnectionGroup {
  listener: number;
  readonly members = new Set<Connection>();
  readonly #byRemote = new Map<string, Connection>();

  constructor(listener: number) {
    this.listener = listener;
  }

  add(connection: Connection): void {
    this.members.add(connection);
    this.#byRemote.set(remoteKey(connection.remote), connection);
  }

  remove(connection: Connection): void {
    this.members.delete(connection);
    const key = remoteKey(connection.remote);
    if (this.#byRemote.get(key) === connection) this.#byRemote.delete(key);
  }

  /** The connection to this remote address and port, whoever opened it. */
  find(remote: Readonly<Endpoint>): Connection | undefined {
    return this.#byRemote.get(remoteKey(remote));
  }

  close(): void {
    for (const connection of this.members) connection.close();
  }
}

const remoteKey = (e: Readonly<Endpoint>) => `${e.ip0}.${e.ip1}.${e.ip2}.${e.ip3}.${e.port}`;

/** A listening socket with its group of connections; closing it closes them. */
export class GroupListener implements TcpListener {
  readonly port: number;
  readonly group: ConnectionGroup;
  readonly #server: Server;
  readonly #forget: () => void;
  #closing: Promise<void> | undefined;

  constructor(port: number, server: Server, group: ConnectionGroup, forget: () => void) {
    this.port = port;
    this.group = group;
    this.#server = server;
    this.#forget = forget;
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

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#forget();
      this.#server.close(() => resolve());
      this.group.close();
    });
    return this.#closing;
  }
}
