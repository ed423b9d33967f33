import type { Socket } from 'node:net';
import type { ConnectionCounts, Endpoint, Segments, TransportCounts } from '../ports.ts';
import { FRAME, type FrameResult, StreamFramer } from '../sip/framer.ts';
import { gather } from './gather.ts';
import { type QueueBudget, QueueShare } from './queue-budget.ts';
import type { StreamLimits } from './stream-limits.ts';

/** What a connection needs of the transport that holds it. */
export interface ConnectionOwner {
  readonly counts: TransportCounts;
  readonly budget: QueueBudget;
  /** Monotonic milliseconds. */
  now(): number;
  message(connection: StreamConnection, bytes: Uint8Array, start: number, end: number): void;
  /** All messages of a chunk have been handed over. */
  batchEnded(): void;
  /** The connection holds its text back until `uncork`, to be called when the current batch is done. */
  corked(connection: Connection): void;
  /** Called once, as soon as nothing can be sent any more. `established`: it was open before. */
  closed(connection: StreamConnection, established: boolean): void;
}

/** What a connection shares with the others of its listener. */
export interface ConnectionRules {
  readonly limits: Readonly<StreamLimits>;
  readonly connectionCounts: ConnectionCounts;
}

/** An open connection, whatever carries it. */
export interface StreamConnection {
  /** The remote end; `connection` is this connection's id. */
  readonly remote: Readonly<Endpoint>;
  /** False: the queue is full, and the message dropped. */
  send(message: Segments): boolean;
  /** Ends the connection if nothing came for too long, or too slowly. */
  expire(now: number): void;
  /** Sends what is queued, then closes; at once if the peer does not take it in time. Safe twice. */
  close(): void;
}

const CRLF = Uint8Array.of(13, 10);

/** One TCP or TLS connection, accepted or opened: framing, a bounded queue, and its end. */
export class Connection implements StreamConnection {
  readonly remote: Readonly<Endpoint>;
  readonly #socket: Socket;
  readonly #owner: ConnectionOwner;
  readonly #rules: ConnectionRules;
  readonly #framer: StreamFramer;
  #open = true;
  #established: boolean;
  #connecting: NodeJS.Timeout | undefined;
  #corked = false;
  readonly #queued: QueueShare;
  /** Messages that wait for the connection to be established, and their bytes. */
  #waiting = 0;
  #waitingBytes = 0;
  #lastReceived: number;
  /** When the message that is incomplete began; 0: none is. */
  #messageBegan = 0;

  /** Takes over a socket on which SIP can begin, or one that is connecting until it emits `established`. */
  constructor(
    socket: Socket,
    remote: Endpoint,
    owner: ConnectionOwner,
    rules: ConnectionRules,
    established?: 'connect' | 'secureConnect',
  ) {
    this.#socket = socket;
    this.remote = remote;
    this.#owner = owner;
    this.#rules = rules;
    this.#established = established === undefined;
    this.#lastReceived = owner.now();
    this.#queued = new QueueShare(owner.budget);
    this.#framer = new StreamFramer(
      { message: (bytes, start, end) => this.#message(bytes, start, end), ping: () => this.#pong() },
      rules.limits,
    );
    socket.on('data', (chunk) => this.#receive(chunk));
    // The peer sends no more: Node ends our side once what is queued has gone.
    socket.on('end', () => this.close());
    // 'close' follows, and says all that matters.
    socket.on('error', () => {});
    socket.on('close', () => this.#close());
    if (established !== undefined) {
      this.#connecting = setTimeout(() => socket.destroy(), rules.limits.connectTime);
      socket.once(established, () => this.#connected());
    }
  }

  send(message: Segments): boolean {
    const { counts } = this.#owner;
    const { limits } = this.#rules;
    const socket = this.#socket;
    const full = socket.writableLength + message.length > limits.queued;
    if (!this.#open || full || (!this.#established && this.#waiting >= limits.connecting)) {
      counts.sendDropped++;
      return false;
    }
    if (!this.#queued.admits(message.length, limits.queuedInAll)) {
      counts.overBudget++;
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
    // What the kernel took at once is gone by now.
    if (this.#open) this.#queued.set(this.#socket.writableLength);
  }

  expire(now: number): void {
    const { limits } = this.#rules;
    this.#queued.set(this.#socket.writableLength);
    if (!this.#established) return;
    const idle = now - this.#lastReceived > limits.idleTime;
    const slow = this.#messageBegan > 0 && now - this.#messageBegan > limits.messageTime;
    if (!idle && !slow) return;
    this.#rules.connectionCounts.expired++;
    this.#abort();
  }

  close(): void {
    if (!this.#open) return;
    if (!this.#established) {
      this.#abort();
      return;
    }
    this.#close();
    this.#socket.setTimeout(this.#rules.limits.closeTime, () => this.#socket.destroy());
    this.#socket.destroySoon();
  }

  #abort(): void {
    this.#close();
    this.#socket.destroy();
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#queued.set(0);
    clearTimeout(this.#connecting);
    this.#framer.stop();
    const { counts } = this.#owner;
    const { connectionCounts } = this.#rules;
    if (!this.#established) connectionCounts.connectFailed++;
    counts.sendDropped += this.#waiting;
    this.#waiting = 0;
    this.#owner.closed(this, this.#established);
  }

  #connected(): void {
    const { counts } = this.#owner;
    const { connectionCounts } = this.#rules;
    this.#established = true;
    connectionCounts.connected++;
    counts.sent += this.#waiting;
    counts.sentBytes += this.#waitingBytes;
    this.#waiting = 0;
    this.#lastReceived = this.#owner.now();
    clearTimeout(this.#connecting);
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
    if (this.#socket.writableLength < this.#rules.limits.queued) this.#write(CRLF);
  }

  #refuse(result: FrameResult): void {
    const { counts } = this.#owner;
    const { connectionCounts } = this.#rules;
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
