import { isUtf8 } from 'node:buffer';
import type { RawData, WebSocket } from 'ws';
import type { Endpoint, Segments } from '../ports.ts';
import type { ConnectionOwner, ConnectionRules, StreamConnection } from './connection.ts';
import { gather } from './gather.ts';
import { QueueShare } from './queue-budget.ts';

const CRLF = Uint8Array.of(13, 10);
/** RFC 6455 §7.4.1: going away. */
const GOING_AWAY = 1001;

/** One WebSocket of a client (RFC 7118): every WebSocket message is a SIP message. */
export class WebSocketConnection implements StreamConnection {
  readonly remote: Readonly<Endpoint>;
  readonly #socket: WebSocket;
  readonly #owner: ConnectionOwner;
  readonly #rules: ConnectionRules;
  readonly #queued: QueueShare;
  #open = true;
  #lastReceived: number;
  #pinged = 0;

  constructor(socket: WebSocket, remote: Endpoint, owner: ConnectionOwner, rules: ConnectionRules) {
    this.#socket = socket;
    this.remote = remote;
    this.#owner = owner;
    this.#queued = new QueueShare(owner.budget);
    this.#rules = rules;
    this.#lastReceived = owner.now();
    socket.on('message', (data) => this.#receive(data));
    // `ws` answers pings itself.
    socket.on('ping', () => this.#alive());
    socket.on('pong', () => this.#alive());
    socket.on('error', (error: NodeJS.ErrnoException) => this.#failed(error));
    socket.on('close', () => this.#close());
  }

  send(message: Segments): boolean {
    const { counts } = this.#owner;
    if (!this.#open || this.#socket.bufferedAmount + message.length > this.#rules.limits.queued) {
      counts.sendDropped++;
      return false;
    }
    this.#queued.set(this.#socket.bufferedAmount);
    if (!this.#queued.admits(message.length, this.#rules.limits.queuedInAll)) {
      counts.overBudget++;
      return false;
    }
    const text = new Uint8Array(message.length);
    gather(text, 0, message);
    counts.sent++;
    counts.sentBytes += text.length;
    // Text is what browsers' stacks expect; a body that is no UTF-8 would be refused as text (RFC 6455 §8.1).
    this.#socket.send(text, { binary: !isUtf8(text) });
    this.#queued.set(this.#socket.bufferedAmount);
    return true;
  }

  /** Asks a silent client whether it is still there, and ends the connection if nothing came for too long. */
  expire(now: number): void {
    this.#queued.set(this.#socket.bufferedAmount);
    const silent = now - this.#lastReceived;
    if (silent > this.#rules.limits.idleTime) {
      this.#rules.connectionCounts.expired++;
      this.#abort();
    } else if (silent > this.#rules.limits.pingTime && now - this.#pinged > this.#rules.limits.pingTime) {
      this.#pinged = now;
      this.#socket.ping();
    }
  }

  /** Sends what is queued and a close frame; cut off if the client does not answer in time. Safe twice. */
  close(): void {
    if (!this.#open) return;
    this.#close();
    this.#socket.close(GOING_AWAY);
    setTimeout(() => this.#socket.terminate(), this.#rules.limits.closeTime).unref();
  }

  #abort(): void {
    this.#close();
    this.#socket.terminate();
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#queued.set(0);
    this.#owner.closed(this, true);
  }

  #alive(): void {
    this.#lastReceived = this.#owner.now();
  }

  /** `ws` closes the connection after an error. */
  #failed(error: NodeJS.ErrnoException): void {
    if (!this.#open || !error.code?.startsWith('WS_ERR_')) return;
    if (error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') this.#owner.counts.oversized++;
    else this.#rules.connectionCounts.malformed++;
  }

  #receive(data: RawData): void {
    if (!this.#open) return;
    this.#alive();
    const { buffer, byteOffset, length } = data as Buffer;
    const { counts } = this.#owner;
    counts.receivedBytes += length;
    if (isKeepalive(data as Buffer)) {
      // RFC 5626 §4.4.1 within a WebSocket message of its own: a single CRLF answers the double one.
      if (length === 4) this.#pong();
      return;
    }
    counts.received++;
    // A plain Uint8Array, as UDP hands out: readers of messages see one kind of object.
    this.#owner.message(this, new Uint8Array(buffer as ArrayBuffer, byteOffset, length), 0, length);
    this.#owner.batchEnded();
  }

  #pong(): void {
    if (this.#socket.bufferedAmount < this.#rules.limits.queued) this.#socket.send(CRLF, { binary: false });
  }
}

/** Nothing, or CRLFs and nothing else. */
function isKeepalive(bytes: Buffer): boolean {
  return bytes.length <= 4 && bytes.every((byte, i) => byte === CRLF[i % 2]);
}
