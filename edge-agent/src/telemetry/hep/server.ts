import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { lookup } from 'node:dns';
import { isIP, connect as openTcp, type Socket } from 'node:net';
import { connect as openTls } from 'node:tls';

/** Where packets go: HOMER, or whatever else takes HEPv3. */
export interface HepAddress {
  transport: 'udp' | 'tcp' | 'tls';
  host: string;
  port: number;
}

/** What a way to the server tells its user. */
export interface HepEvents {
  /** Packets that the kernel took, or did not. */
  sent(): void;
  failed(): void;
  /** It is open now, or no longer; `reason` where it could not be opened or has ended. */
  changed(open: boolean, reason?: string): void;
}

/** So many bytes, or datagrams, wait in this process at most; what is beyond stays on the tape. */
const MOST_BYTES = 1 << 20;
const MOST_DATAGRAMS = 256;
const BACKOFF = { firstMs: 500, longestMs: 30_000 } as const;

interface Way {
  full(): boolean;
  send(packet: Uint8Array): void;
  close(): void;
}

/** A way to the server that is opened again whenever it ends, later each time. Names are resolved anew then. */
export class HepServer {
  readonly #address: HepAddress;
  readonly #events: HepEvents;
  readonly #random: () => number;
  #way: Way | undefined;
  #opening: Way | undefined;
  #timer: NodeJS.Timeout | undefined;
  #attempt = 0;
  #closed = false;

  constructor(address: HepAddress, events: HepEvents, random: () => number = Math.random) {
    this.#address = address;
    this.#events = events;
    this.#random = random;
    this.#open();
  }

  /** It takes packets now. */
  get ready(): boolean {
    return this.#way !== undefined && !this.#way.full();
  }

  /** Without effect where there is no way to the server. */
  send(packet: Uint8Array): void {
    this.#way?.send(packet);
  }

  /** Safe to call twice. What was sent over TCP before still goes out. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#way?.close();
    this.#opening?.close();
    this.#way = this.#opening = undefined;
  }

  #open(): void {
    const made = this.#address.transport === 'udp' ? datagrams : stream;
    const way = made(this.#address, {
      ...this.#events,
      changed: (open, reason) => {
        if (this.#closed || (this.#opening !== way && this.#way !== way)) return;
        if (open) {
          this.#way = way;
          this.#attempt = 0;
        } else this.#again();
        this.#events.changed(open, reason);
      },
    });
    this.#opening = way;
  }

  #again(): void {
    this.#way?.close();
    this.#opening?.close();
    this.#way = this.#opening = undefined;
    const wait = Math.min(BACKOFF.longestMs, BACKOFF.firstMs * 2 ** this.#attempt++);
    this.#timer = setTimeout(() => this.#open(), wait * (0.5 + this.#random() / 2));
  }
}

/** A connected socket: only that learns that nobody listens (ICMP). */
function datagrams({ host, port }: HepAddress, events: HepEvents): Way {
  let socket: Datagrams | undefined;
  let waiting = 0;
  let closed = false;
  const failed = (error: Error): void => events.changed(false, error.message);
  lookup(host, (error, address, family) => {
    if (closed) return;
    if (error) return failed(error);
    socket = createSocket(family === 6 ? 'udp6' : 'udp4');
    socket.on('error', failed);
    socket.on('connect', () => events.changed(true));
    socket.connect(port, address);
  });
  return {
    full: () => waiting >= MOST_DATAGRAMS,
    send(packet) {
      waiting++;
      socket?.send(packet, (error) => {
        waiting--;
        if (!error) return events.sent();
        events.failed();
        failed(error);
      });
    },
    close() {
      if (!closed) socket?.close();
      closed = true;
    },
  };
}

function stream({ transport, host, port }: HepAddress, events: HepEvents): Way {
  const tls = transport === 'tls';
  const socket: Socket = tls
    ? openTls({ host, port, ...(isIP(host) ? {} : { servername: host }) })
    : openTcp({ host, port });
  let reason = 'the server closed the connection';
  socket.on('error', (error) => {
    reason = error.message;
  });
  socket.on('close', () => events.changed(false, reason));
  socket.on(tls ? 'secureConnect' : 'connect', () => events.changed(true));
  // HEP goes one way; what a server says is read, or it could not end the connection.
  socket.resume();
  let corked = false;
  return {
    full: () => socket.writableLength >= MOST_BYTES,
    send(packet) {
      // What one look at the tapes finds leaves in one piece.
      if (!corked) {
        corked = true;
        socket.cork();
        process.nextTick(() => {
          corked = false;
          socket.uncork();
        });
      }
      socket.write(packet, (error) => (error ? events.failed() : events.sent()));
    },
    close() {
      socket.end();
      socket.destroySoon();
    },
  };
}
