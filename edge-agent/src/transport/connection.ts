import type { Socket } from 'node:net';
import type { Endpoint, Segments, TransportCounts } from '../ports.ts';
import { FRAME, type FrameResult, StreamFramer } from '../sip/framer.ts';
import { gather } from './gather.ts';
import type { ConnectionCounts, StreamLimits } from './stream-limits.ts';

/** What a connection needs of the transport that holds it. */
export interface ConnectionOwner {
  readonly limits: Readonly<StreamLimits>;
  readonly counts: TransportCounts;
  readonly connectionCounts: ConnectionCounts;
  /** Monotonic milliseconds. */
  now(): number;
  message(connection: Connection, bytes: Uint8Array, start: number, end: number): void;
  /** All messages of a chunk have been handed over. */
  batchEnded(): void;
  /** The connection holds its text back until `uncork`, to be called when the current batch is done. */
  corked(connection: Connection): void;
  /** Called once, as soon as nothing can be sent any more. */
  closed(connection: Connection): void;
}

const CRLF = Uint8Array.of(13, 10);

/** One TCP connection, accepted or opened: framing, a bounded queue, and its end. */
export class Connection {
  /** The remote end; `connection` is this connection's id. */
  readonly remote: Readonly<Endpoint>;
  readonly #socket: Socket;
  readonly #owner: ConnectionOwner;
  readonly #framer: StreamFramer;
  #open = true;
  #established: boolean;
  #corked = false;
  /** Messages that wait for the connection to be established, and their bytes. */
  #waiting = 0;
  #waitingBytes = 0;
  #lastReceived: number;
  /** When the message that is incomplete began; 0: none is. */
  #messageBegan = 0;

  /** Takes over a socket that is connected, or that is connecting. */
  constructor(socket: Socket, remote: Endpoint, owner: ConnectionOwner) {
    this.#socket = socket;
    this.remote = remote;
    this.#owner = owner;
    this.#established = !socket.connecting;
    this.#lastReceived = owner.now();
    this.#framer = new StreamFramer(
      { message: (bytes, start, end) => this.#message(bytes, start, end), ping: () => this.#pong() },
      owner.limits,
    );
    socket.on('data', (chunk) => this.#receive(chunk));
    // The peer sends no more: Node ends our side once what is queued has gone.
    socket.on('end', () => this.close());
    // 'close' follows, and says all that matters.
    socket.on('error', () => {});
    socket.on('close', () => this.#close());
    if (!this.#established) {
      socket.setTimeout(owner.limits.connectTime, () => socket.destroy());
      socket.once('connect', () => this.#connected());
    }
  }

  /** False: the queue is full, and the message dropped. */
  send(message: Segments): boolean {
    const { limits, counts } = this.#owner;
    const socket = this.#socket;
    const full = socket.writableLength + message.length > limits.queued;
    if (!this.#open || full || (!this.#established && this.#waiting >= limits.connecting)) {
      counts.sendDropped++;
      return false;
    }
    const text = new Uint8Array(message.length);
    gather(text, 0, message);
    if (!this.#established) {
      this.#waiting++;
      this.#waitingBytes += text.length;
    } else {
      counts.sent++;
      counts.sentBytes += text.length;
    }
    this.#write(text);
    return true;
  }

  /** Sends what was held back. */
  uncork(): void {
    this.#corked = false;
    this.#socket.uncork();
  }

  /** Ends the connection if nothing came for too long, or too slowly. */
  expire(now: number): void {
    const { limits, connectionCounts } = this.#owner;
    if (!this.#established) return;
    const idle = now - this.#lastReceived > limits.idleTime;
    const slow = this.#messageBegan > 0 && now - this.#messageBegan > limits.messageTime;
    if (!idle && !slow) return;
    connectionCounts.expired++;
    this.#abort();
  }

  /** Sends what is queued, then closes; at once if the peer does not take it in time. Safe twice. */
  close(): void {
    if (!this.#open) return;
    if (!this.#established) {
      this.#abort();
      return;
    }
    this.#close();
    this.#socket.setTimeout(this.#owner.limits.closeTime, () => this.#socket.destroy());
    this.#socket.destroySoon();
  }

  #abort(): void {
    this.#close();
    this.#socket.destroy();
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#framer.stop();
    const { counts, connectionCounts } = this.#owner;
    if (!this.#established) connectionCounts.connectFailed++;
    counts.sendDropped += this.#waiting;
    this.#waiting = 0;
    this.#owner.closed(this);
  }

  #connected(): void {
    const { counts, connectionCounts } = this.#owner;
    this.#established = true;
    connectionCounts.connected++;
    counts.sent += this.#waiting;
    counts.sentBytes += this.#waitingBytes;
    this.#waiting = 0;
    this.#lastReceived = this.#owner.now();
    this.#socket.setTimeout(0);
  }

  #receive(chunk: Buffer): void {
    if (!this.#open) return;
    const { counts } = this.#owner;
    counts.receivedBytes += chunk.length;
    this.#lastReceived = this.#owner.now();
    // A plain Uint8Array, as UDP hands out: readers of messages see one kind of object.
    const result = this.#framer.feed(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
    if (!this.#framer.partial) this.#messageBegan = 0;
    else if (this.#messageBegan === 0) this.#messageBegan = this.#lastReceived;
    this.#owner.batchEnded();
    if (result !== FRAME.ok) this.#refuse(result);
  }

  #message(bytes: Uint8Array, start: number, end: number): void {
    this.#messageBegan = 0;
    this.#owner.counts.received++;
    this.#owner.message(this, bytes, start, end);
  }

  /** RFC 5626 §4.4.1: a single CRLF answers the double one. */
  #pong(): void {
    if (this.#socket.writableLength < this.#owner.limits.queued) this.#write(CRLF);
  }

  #refuse(result: FrameResult): void {
    const { counts, connectionCounts } = this.#owner;
    if (result === FRAME.headerTooLong || result === FRAME.bodyTooLong) counts.oversized++;
    else connectionCounts.malformed++;
    this.#abort();
  }

  #write(text: Uint8Array): void {
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      this.#owner.corked(this);
    }
    this.#socket.write(text);
  }
}
