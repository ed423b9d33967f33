import type { Endpoint, Segments } from '../ports.ts';
import { joinSegments } from '../sip/splice.ts';
import { Finished } from '../transaction/finished.ts';
import { KeyTable } from '../transaction/key-table.ts';
import type { State } from '../transaction/machines.ts';
import { TimerWheel } from '../transaction/wheel.ts';
import type { Listener } from './runtime.ts';
import { createWatched, type Watched } from './watched.ts';

/** One client transaction of an exchange: the request as sent to one backend (or to a client). Reused. */
export interface Attempt {
  /** Key of its branch. */
  key: number;
  /** Index within the farm, −1: towards a client. */
  backend: number;
  state: State;
  /** Given up for another one: it may still answer, and is then cancelled, acknowledged or released. */
  abandoned: boolean;
  /** Something other than 100 came. */
  ringing: boolean;
  /** How often a CANCEL for it was sent. */
  cancels: number;
  /** Header lines that say in it why: the same in each. */
  reason: Uint8Array;
  /** Its request is sent again and again: it went out as a datagram, or its connection does not hold. */
  repeats: boolean;
  /** Interval of its running retransmission timer. */
  interval: number;
  /** Its connection was lost, and it was sent once more over a new one. */
  redialed: boolean;
}

/** Attempts at other backends that one request gets. */
export const MAX_ATTEMPTS = 3;
/**
 * Timers of one exchange, as offsets from `index × TIMERS`. `response`: Timer G. From `attempt` on one for each attempt: of its request, or of
 * its CANCEL, which is a transaction of its own and goes on whatever the exchange has come to.
 */
export const TIMER = { response: 0, patience: 1, lifetime: 2, attempt: 3 } as const;
const TIMERS = TIMER.attempt + MAX_ATTEMPTS;
/** Buffers above this are not kept with a free record. */
const KEPT_BYTES = 4096;

/** Bytes of the messages that the exchanges of one data thread keep, in buffers of free records too. */
interface Memory {
  used: number;
  readonly limit: number;
}

const NOTHING = new Uint8Array(0);

/** One request on its way: its server transaction, and the client transactions that it led to (RFC 3261 §16, "response context"). */
export class Exchange {
  readonly index: number;
  serverKey = 0;
  /** Index into METHODS. */
  method = 0;
  invite = false;
  listener!: Listener;
  /** Backend that sent it, −1: a client. */
  source = -1;
  readonly from: Endpoint = { transport: 0, ip0: 0, ip1: 0, ip2: 0, ip3: 0, port: 0, connection: 0 };
  /** Port that responses go to, for UDP. */
  replyPort = 0;
  /** May be tried elsewhere: no token bound it to one backend. */
  fresh = false;
  startSecond = 0;
  /** Hash of the Call-ID, for what is told about it later. */
  call = 0;
  /** The request as received. */
  request = NOTHING;
  requestLength = 0;
  /** What the client was sent last, for its retransmissions; empty: nothing, or nothing that needs keeping. */
  response = NOTHING;
  responseLength = 0;
  /** The best failure so far, as the client would get it, and its status; 0: none. */
  best: Uint8Array = NOTHING;
  bestStatus = 0;
  /** Key of the attempt that got it. */
  bestKey = 0;
  /** Final status that the client was sent; 0: none yet. */
  finalStatus = 0;
  /** The server transaction's state. */
  state: State = 'trying';
  cancelled = false;
  /** Header lines that say in CANCELs why from now on (RFC 3326): the caller's, or that the call was answered elsewhere. */
  reason: Uint8Array = NOTHING;
  /** Interval of the running Timer G. */
  interval = 0;
  readonly watched: Watched = createWatched();
  count = 0;
  readonly attempts: Attempt[] = Array.from({ length: MAX_ATTEMPTS }, () => ({
    key: 0,
    backend: -1,
    state: 'trying' as State,
    abandoned: false,
    ringing: false,
    cancels: 0,
    reason: NOTHING,
    repeats: false,
    interval: 0,
    redialed: false,
  }));

  readonly #memory: Memory;

  constructor(index: number, memory: Memory) {
    this.index = index;
    this.#memory = memory;
  }

  /** The attempt that is hoped for. */
  get current(): Attempt {
    return this.attempts[this.count - 1]!;
  }

  /** The one with this branch. */
  attemptOf(key: number): Attempt {
    let i = this.count - 1;
    while (i > 0 && this.attempts[i]!.key !== key) i--;
    return this.attempts[i]!;
  }

  tried(backend: number): boolean {
    for (let i = 0; i < this.count; i++) if (this.attempts[i]!.backend === backend) return true;
    return false;
  }

  keepRequest(bytes: Uint8Array, start: number, end: number): void {
    this.request = this.#fitting(this.request, end - start);
    this.request.set(bytes.subarray(start, end));
    this.requestLength = end - start;
  }

  /** Without room for it nothing is kept: the client is not sent it again. */
  keepResponse(message: Segments): void {
    this.responseLength = 0;
    if (this.response.length < message.length && !this.#hasRoom(message.length)) return;
    this.response = this.#fitting(this.response, message.length);
    let at = 0;
    for (let i = 0; i < message.count; i++) {
      this.response.set(message.bytes[i]!.subarray(message.start[i]!, message.end[i]!), at);
      at += message.end[i]! - message.start[i]!;
    }
    this.responseLength = at;
  }

  /** Rare: a buffer of its own, which goes with the exchange. Without room for it the one before stays. */
  keepBest(message: Segments, status: number, key: number): void {
    if (!this.#hasRoom(message.length)) return;
    this.#memory.used += message.length - this.best.length;
    this.best = joinSegments(message);
    this.bestStatus = status;
    this.bestKey = key;
  }

  /** For its next use. Buffers stay with it, unless they are long, or those of all records take half of what there is. */
  reset(): void {
    this.watched.began = 0;
    this.count = this.requestLength = this.responseLength = this.finalStatus = 0;
    this.bestStatus = 0;
    this.cancelled = false;
    this.reason = NOTHING;
    this.#memory.used -= this.best.length;
    this.best = NOTHING;
    this.request = this.#kept(this.request);
    this.response = this.#kept(this.response);
  }

  #kept(buffer: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const memory = this.#memory;
    if (buffer.length <= KEPT_BYTES && memory.used <= memory.limit / 2) return buffer;
    memory.used -= buffer.length;
    return NOTHING;
  }

  #hasRoom(length: number): boolean {
    return this.#memory.used + length <= this.#memory.limit;
  }

  /** A buffer for `length` bytes: the one at hand if it is long enough, else one with room for the next longer message too. */
  #fitting(buffer: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
    if (buffer.length >= length) return buffer;
    const longer = new Uint8Array((length + 511) & ~511);
    this.#memory.used += longer.length - buffer.length;
    return longer;
  }
}

/** All exchanges of one data thread, by the keys of their transactions. Bounded. */
export class Exchanges {
  readonly #capacity: number;
  readonly #memory: Memory;
  readonly #all: Exchange[] = [];
  readonly #free: Exchange[] = [];
  /** Places in `#all`, by the key of the server transaction and of each client transaction. */
  readonly #servers = new KeyTable();
  readonly #clients = new KeyTable();
  readonly #wheel: TimerWheel;
  /** What has ended, for as long as a retransmission may come. */
  readonly finished = new Finished();

  /**
   * @param now monotonic milliseconds
   * @param keptBytes how much of messages may be kept, about
   */
  constructor(capacity: number, now: number, keptBytes = Number.POSITIVE_INFINITY) {
    this.#capacity = capacity;
    this.#memory = { used: 0, limit: keptBytes };
    this.#wheel = new TimerWheel(capacity * TIMERS, now);
  }

  /** Exchanges under way. */
  get size(): number {
    return this.#servers.size;
  }

  /** Bytes of the messages that they keep, with the buffers that wait for the next ones. */
  get keptBytes(): number {
    return this.#memory.used;
  }

  /** All of them, in no order; one that ends meanwhile may still come. */
  *open(): Generator<Exchange> {
    for (const exchange of this.#all) if (this.#servers.get(exchange.serverKey) === exchange.index) yield exchange;
  }

  /** Some timer runs. */
  get waiting(): boolean {
    return this.#wheel.running > 0;
  }

  find(serverKey: number): Exchange | undefined {
    return this.#at(this.#servers.get(serverKey));
  }

  /** The exchange that an attempt's branch belongs to. */
  byBranch(key: number): Exchange | undefined {
    return this.#at(this.#clients.get(key));
  }

  /** A new one for a request of so many bytes; undefined at the limit, of their number or of what they keep. */
  create(serverKey: number, bytes: number): Exchange | undefined {
    if (this.#memory.used + bytes > this.#memory.limit) return undefined;
    let exchange = this.#free.pop();
    if (exchange === undefined) {
      if (this.#all.length === this.#capacity) return undefined;
      exchange = new Exchange(this.#all.length, this.#memory);
      this.#all.push(exchange);
    }
    exchange.serverKey = serverKey;
    this.#servers.set(serverKey, exchange.index);
    return exchange;
  }

  /** Adds an attempt that was just sent with this branch. */
  attempt(exchange: Exchange, key: number, backend: number): void {
    const attempt = exchange.attempts[exchange.count++]!;
    attempt.key = key;
    attempt.backend = backend;
    attempt.state = exchange.invite ? 'calling' : 'trying';
    attempt.abandoned = attempt.ringing = attempt.redialed = attempt.repeats = false;
    attempt.cancels = 0;
    attempt.reason = NOTHING;
    this.#clients.set(key, exchange.index);
  }

  /** Ends it. `status`: the final one, remembered for retransmissions; 0 forgets it at once. */
  finish(exchange: Exchange, status: number, now: number): void {
    if (status > 0) this.finished.keep(exchange.serverKey, exchange.current.backend, status, now);
    this.#servers.delete(exchange.serverKey);
    for (let i = 0; i < exchange.count; i++) this.#clients.delete(exchange.attempts[i]!.key);
    for (let t = 0; t < TIMERS; t++) this.#wheel.stop(exchange.index * TIMERS + t);
    exchange.reset();
    this.#free.push(exchange);
  }

  start(exchange: Exchange, timer: number, due: number): void {
    this.#wheel.start(exchange.index * TIMERS + timer, due);
  }

  stop(exchange: Exchange, timer: number): void {
    this.#wheel.stop(exchange.index * TIMERS + timer);
  }

  /** Starts the retransmission timer of an attempt, with its interval. */
  startAttempt(exchange: Exchange, attempt: Attempt, now: number): void {
    this.start(exchange, TIMER.attempt + exchange.attempts.indexOf(attempt), now + attempt.interval);
  }

  stopAttempt(exchange: Exchange, attempt: Attempt): void {
    this.stop(exchange, TIMER.attempt + exchange.attempts.indexOf(attempt));
  }

  /** Fires what is due. */
  advance(now: number, fire: (exchange: Exchange, timer: number) => void): void {
    this.#wheel.advance(now, (id) => fire(this.#all[Math.floor(id / TIMERS)]!, id % TIMERS));
  }

  #at(index: number): Exchange | undefined {
    return index < 0 ? undefined : this.#all[index];
  }
}
