import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Arena, Endpoint, Segments, TransportCounts, UdpEvents, UdpSocket, UdpTransport } from '../../ports.ts';
import { TRANSPORT } from '../../ports.ts';
import { type BoundSocket, openBoundSocket } from '../bound-socket.ts';
import { createEndpoint, isIPv4, setAddress } from '../endpoint.ts';
import { gather } from '../gather.ts';
import type { Libc } from '../libc.ts';
import { listenError } from '../listen-error.ts';
import { Block } from './block.ts';
import { OwnWait } from './own-wait.ts';
import { BATCH, ReceiveBatch } from './receive-batch.ts';
import { SendQueue } from './send-queue.ts';

/** Room for the edits of one batch: 4 KiB for each of 64 messages. */
const ARENA_BYTES = 256 << 10;

/**
 * Outgoing text is copied here, back to back. Referring to the pieces by iovec instead was measured at equal CPU per message
 * (5 pieces: 64 ns of copying saved in JavaScript, as much spent by the kernel importing five iovecs), and it would bind every
 * received byte and edit until the flush, and limit a message to 8 pieces before the kernel allocates.
 */
const OUTGOING_BYTES = 1 << 20;

/** Datagrams drained per turn of the event loop (about 5 ms of work): libuv calls up to 32 times a turn, and timers must not starve. */
const BUDGET = 512;

/** UDP's longest payload, IPv6 without jumbograms (65,535 − 8). */
const MAX_PAYLOAD = 65_527;

/**
 * UDP through recvmmsg and sendmmsg (docs/adr/0001-ffi-datapath.md). One block per worker holds all text:
 *
 *   [ received datagrams | text to send | arena ]
 *
 * Its one view is what handlers get and what the arena is, so that code that reads messages stays monomorphic.
 */
export class FfiUdpTransport implements UdpTransport {
  readonly kind = 'ffi';
  readonly arena: Arena;
  readonly #libc: Libc;
  readonly #events: UdpEvents;
  readonly #counts: TransportCounts;
  readonly #datagram: number;
  readonly #text: Block;
  readonly #receive: ReceiveBatch;
  readonly #outgoingAt: number;
  readonly #arenaAt: number;
  readonly #from: Endpoint = createEndpoint(TRANSPORT.udp);
  /** By descriptor. */
  readonly #sockets = new Map<number, FfiUdpSocket>();
  readonly #ownWait: OwnWait;
  /** Sockets with something in their queue. */
  readonly #pending: FfiUdpSocket[] = [];
  /** Where the next text to send goes. */
  #outgoing: number;
  #budget = BUDGET;
  #closing: Promise<void> | undefined;

  constructor(libc: Libc, events: UdpEvents, counts: TransportCounts, datagram: number) {
    this.#libc = libc;
    this.#events = events;
    this.#counts = counts;
    this.#datagram = datagram;
    this.#outgoingAt = ReceiveBatch.textBytes(datagram);
    this.#outgoing = this.#outgoingAt;
    this.#arenaAt = this.#outgoingAt + OUTGOING_BYTES;
    this.#text = new Block(libc, this.#arenaAt + ARENA_BYTES);
    this.#receive = new ReceiveBatch(libc, this.#text, datagram);
    this.#ownWait = new OwnWait(libc, (fd) => this.#drainWhole(fd));
    this.arena = { bytes: this.#text.bytes, used: this.#arenaAt };
  }

  async open(address: string, port: number, listener: number): Promise<UdpSocket> {
    if (this.#closing) throw listenError('udp', address, port, 'the transport is closed');
    const bound = openBoundSocket(this.#libc, 'udp', address, port);
    const readiness = createSocket(bound.family === 4 ? 'udp4' : 'udp6');
    const socket = new FfiUdpSocket(this, readiness, bound, listener, new SendQueue(this.#libc, this.#text));
    readiness.on('message', (message, from) => this.#onReadable(socket, message, from));
    // A failed read concerns one datagram, never the socket.
    readiness.on('error', () => {});
    // From here on dgram owns the fd: it closes it.
    readiness.bind({ fd: bound.fd });
    this.#sockets.set(socket.fd, socket);
    await this.#ownWait.add(socket.fd);
    return socket;
  }

  get waitedMs(): number {
    return this.#ownWait.waitedMs;
  }

  flush(): void {
    this.spill();
    this.arena.used = this.#arenaAt;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Copies the message behind the others and tells where it stands. For {@link FfiUdpSocket}. */
  store(message: Segments): number {
    if (this.#outgoing + message.length > this.#arenaAt) this.spill();
    const at = this.#outgoing;
    gather(this.#text.bytes, at, message);
    this.#outgoing += message.length;
    return at;
  }

  drop(): void {
    this.#counts.sendDropped++;
  }

  pend(socket: FfiUdpSocket): void {
    this.#pending.push(socket);
  }

  forget(socket: FfiUdpSocket): void {
    this.#sockets.delete(socket.fd);
    this.#ownWait.remove(socket.fd);
  }

  /** Sends all queued text. The arena stays: a message that does not fit may be half built in it. */
  spill(): void {
    for (let i = 0; i < this.#pending.length; i++) (this.#pending[i] as FfiUdpSocket).flush(this.#counts);
    this.#pending.length = 0;
    this.#outgoing = this.#outgoingAt;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#sockets.values()].map((socket) => socket.close()));
    // The handler may be the one who closes: its batch must end before the memory goes.
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#ownWait.free();
    this.#receive.free();
    this.#text.free();
  }

  /** dgram has read the first packet of a burst: that one, then all that waits behind it. */
  #onReadable(socket: FfiUdpSocket, message: Buffer, from: RemoteInfo): void {
    const at = this.#receive.spare;
    if (message.length <= this.#datagram) this.#text.bytes.set(message, at);
    setAddress(this.#from, from.address);
    this.#from.port = from.port;
    this.#deliver(socket, at, message.length, message.length > this.#datagram);
    if (this.#budget > 0) this.#drain(socket);
    else this.#endBatch();
    this.#ownWait.burst(socket.fd);
  }

  /** With a whole budget; false: it was used up. */
  #drainWhole(fd: number): boolean {
    const socket = this.#sockets.get(fd);
    if (socket === undefined) return true;
    this.#budget = BUDGET;
    this.#drain(socket);
    return this.#budget > 0;
  }

  #drain(socket: FfiUdpSocket): void {
    const receive = this.#receive;
    let count: number;
    do {
      if (socket.closed) return this.flush();
      count = receive.receive(socket.fd);
      this.#tellWait(socket, count);
      for (let i = 0; i < count; i++) {
        receive.source(i, this.#from);
        this.#deliver(socket, receive.start(i), receive.length(i), receive.truncated(i));
      }
      this.#endBatch();
      this.#budget -= count;
    } while (count === BATCH && this.#budget > 0);
    // Refilled only once it is used up: setImmediate on every burst would cost more than it guards.
    if (this.#budget <= 0) setImmediate(this.#refill);
  }

  #tellWait(socket: FfiUdpSocket, count: number): void {
    const { arrived, overflown } = this.#receive;
    let dropped = 0;
    if (count > 0 && overflown !== 0) {
      dropped = (overflown - socket.overflown) >>> 0;
      socket.overflown = overflown;
      this.#counts.receiveDropped += dropped;
    }
    this.#events.waited(count > 0 && arrived > 0 ? Math.max(0, Date.now() - arrived) : 0, dropped);
  }

  #endBatch(): void {
    this.#events.batchEnded();
    this.flush();
  }

  #refill = (): void => {
    this.#budget = BUDGET;
  };

  #deliver(socket: FfiUdpSocket, at: number, length: number, truncated: boolean): void {
    if (socket.closed) return;
    const counts = this.#counts;
    counts.received++;
    counts.receivedBytes += length;
    if (truncated) counts.oversized++;
    else this.#events.handler(this.#text.bytes, at, at + length, this.#from, socket.listener);
  }
}

class FfiUdpSocket implements UdpSocket {
  readonly port: number;
  readonly fd: number;
  listener: number;
  closed = false;
  /** The last of {@link ReceiveBatch.overflown}. */
  overflown = 0;
  readonly #transport: FfiUdpTransport;
  readonly #readiness: Socket;
  readonly #v4: boolean;
  readonly #queue: SendQueue;
  #closing: Promise<void> | undefined;

  constructor(transport: FfiUdpTransport, readiness: Socket, bound: BoundSocket, listener: number, queue: SendQueue) {
    this.#transport = transport;
    this.#readiness = readiness;
    this.#queue = queue;
    this.#v4 = bound.family === 4;
    this.fd = bound.fd;
    this.port = bound.port;
    this.listener = listener;
  }

  send(to: Endpoint, message: Segments): number {
    if (this.closed || isIPv4(to) !== this.#v4) return -1;
    if (message.length > MAX_PAYLOAD) {
      this.#transport.drop();
      return -1;
    }
    const at = this.#transport.store(message);
    if (this.#queue.empty) this.#transport.pend(this);
    this.#queue.push(at, message.length, to);
    // What is sent is not wiped: the text stands where it was.
    if (this.#queue.full) this.#transport.spill();
    return at;
  }

  flush(counts: TransportCounts): void {
    if (!this.closed) this.#queue.flush(this.fd, counts);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#transport.flush();
    this.closed = true;
    this.#transport.forget(this);
    await new Promise<void>((resolve) => this.#readiness.close(resolve));
    this.#queue.free();
  }
}
