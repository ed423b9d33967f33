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
  request = new Uint8Array(0);
  requestLength = 0;
  /** What the client was sent last, for its retransmissions; empty: nothing, or nothing that needs keeping. */
  response = new Uint8Array(0);
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
    repeats: false,
    interval: 0,
    redialed: false,
  }));

  constructor(index: number) {
    this.index = index;
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
    this.request = fitting(this.request, end - start);
    this.request.set(bytes.subarray(start, end));
    this.requestLength = end - start;
  }

  keepResponse(message: Segments): void {
    this.response = fitting(this.response, message.length);
    let at = 0;
    for (let i = 0; i < message.count; i++) {
      this.response.set(message.bytes[i]!.subarray(message.start[i]!, message.end[i]!), at);
      at += message.end[i]! - message.start[i]!;
    }
    this.responseLength = at;
  }

  /** Rare: a buffer of its own, which goes with the exchange. */
  keepBest(message: Segments, status: number, key: number): void {
    this.best = joinSegments(message);
    this.bestStatus = status;
    this.bestKey = key;
  }

  reset(): void {
    this.watched.began = 0;
    this.count = this.requestLength = this.responseLength = this.finalStatus = 0;
    if (this.bestStatus > 0) this.best = NOTHING;
    this.bestStatus = 0;
    this.cancelled = false;
    if (this.request.length > KEPT_BYTES) this.request = new Uint8Array(0);
    if (this.response.length > KEPT_BYTES) this.response = new Uint8Array(0);
  }
}

/** A buffer for `length` bytes: the one at hand if it is long enough, else one with room for the next longer message too. */
const fitting = (buffer: Uint8Array, length: number): Uint8Array<ArrayBuffer> =>
  buffer.length >= length ? (buffer as Uint8Array<ArrayBuffer>) : new Uint8Array((length + 511) & ~511);

/** All exchanges of one data thread, by the keys of their transactions. Bounded. */
export class Exchanges {
  readonly #capacity: number;
  readonly #all: Exchange[] = [];
  readonly #free: Exchange[] = [];
  /** Places in `#all`, by the key of the server transaction and of each client transaction. */
  readonly #servers = new KeyTable();
  readonly #clients = new KeyTable();
  readonly #wheel: TimerWheel;
  /** What has ended, for as long as a retransmission may come. */
  readonly finished = new Finished();

  /** `now`: monotonic milliseconds. */
  constructor(capacity: number, now: number) {
    this.#capacity = capacity;
    this.#wheel = new TimerWheel(capacity * TIMERS, now);
  }

  /** Exchanges under way. */
  get size(): number {
    return this.#servers.size;
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

  /** A new one; undefined at the limit. */
  create(serverKey: number): Exchange | undefined {
    let exchange = this.#free.pop();
    if (exchange === undefined) {
      if (this.#all.length === this.#capacity) return undefined;
      exchange = new Exchange(this.#all.length);
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
