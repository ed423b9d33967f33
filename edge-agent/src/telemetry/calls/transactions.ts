import { METHOD } from '../../sip/method.ts';
import { type CallEvent, EVENT, FLAG } from '../events.ts';
import { Expiry } from './expiry.ts';
import type { BackendCalls, FarmCalls, Farms } from './farms.ts';

/** A request and what became of it, put together from events: the proxy's response context as the control thread knows it. */
export interface Transaction {
  /** How many targets it was sent to. */
  attempts: number;
  method: number;
  /** Hash of the Call-ID. */
  call: number;
  leg: number;
  flags: number;
  farm: FarmCalls;
  /** That of the last attempt, or the one that sent the request to a client. */
  backend: BackendCalls;
  /** Milliseconds on the monotonic clock. */
  start: number;
  /** First 101–199; 0: none came. */
  provisional: number;
  /** Times that it was sent on, attempts and retransmissions. */
  sent: number;
  failovers: number;
  /** Second of the dialog's start by its token, −1: unknown. */
  dialogStart: number;
  binding: number;
  /** The final status, 0: silence. */
  status: number;
  /** When it ended, on the clock of `start`. */
  end: number;
  /** Seconds that a registration is stored for. */
  stored: number;
}

/** One that is put together from events. */
interface Open extends Transaction {
  /** By it a retransmission is known. */
  key: number;
  /** Of its attempts. */
  branches: number[];
  ended: boolean;
}

/** Takes a transaction that has come to its end. The same object is filled anew for the next one: nobody may keep it. */
export type Finish = (transaction: Transaction) => void;

/** Timers B and F, and a little for those who send late. */
const SILENCE_S = 33;
/** Timer C, restarted by provisional responses (RFC 3261 §16.6 item 11). */
const RINGING_S = 190;
/** As long as a retransmission may come, T1 × 64; forgotten in two generations. */
const GENERATION_S = 32;
const MOST = 200_000;

/**
 * Transactions that a data thread keeps arrive whole when they end. All others are put together here from events, by branch and by what a
 * retransmission shares with its request: those of stateless farms, and messages of one transaction that met several data threads.
 */
export class Transactions {
  readonly #farms: Farms;
  readonly #finish: Finish;
  readonly #open = new Map<number, Open>();
  readonly #attempts = new Map<number, Open>();
  readonly #expiry: Expiry<Open>;
  /** Filled anew for each that arrives whole. */
  readonly #whole = {} as Transaction;
  /** Those that have ended, by key. */
  #ended = new Set<number>();
  #endedBefore = new Set<number>();
  #turn: number;

  constructor(farms: Farms, second: number, finish: Finish) {
    this.#farms = farms;
    this.#finish = finish;
    this.#expiry = new Expiry(second);
    this.#turn = second + GENERATION_S;
  }

  get size(): number {
    return this.#open.size;
  }

  handle(event: CallEvent): void {
    switch (event.kind) {
      case EVENT.request:
        return this.#request(event);
      case EVENT.response:
        return this.#response(event);
      case EVENT.answered:
        return this.#answered(event);
      default:
        return this.#arrived(event);
    }
  }

  /** `second` on the monotonic clock. */
  advance(second: number): void {
    this.#expiry.advance(second, (transaction) => {
      if (transaction.ended) return;
      const due = transaction.provisional / 1000 + RINGING_S;
      if (transaction.provisional > 0 && due > second) return this.#expiry.add(transaction, due);
      this.#end(transaction, 0, second * 1000, 0);
    });
    if (second < this.#turn) return;
    this.#turn = second + GENERATION_S;
    this.#endedBefore = this.#ended;
    this.#ended = new Set();
  }

  #arrived(event: CallEvent): void {
    const farm = this.#farms.farm(event.plan, event.farm);
    if (farm === undefined) return;
    const t = this.#whole;
    t.farm = farm;
    t.backend = this.#backend(event) ?? farm.none;
    t.method = event.method;
    t.call = event.call;
    t.leg = event.leg;
    t.flags = event.flags;
    t.start = event.began;
    t.provisional = event.provisional;
    t.sent = event.sent;
    t.attempts = event.attempts;
    t.failovers = event.failovers;
    t.dialogStart = event.start;
    t.binding = event.binding;
    t.status = event.status;
    t.end = event.time;
    t.stored = event.value;
    this.#finish(t);
  }

  /** Between backends the one that is called has the work; of a request to a client the one that sent it. */
  #backend({ plan, farm, backend, source }: CallEvent): BackendCalls | undefined {
    return this.#farms.backend(plan, farm, backend >= 0 ? backend : source);
  }

  #request(event: CallEvent): void {
    const known = this.#open.get(keyOf(event));
    if (known === undefined) {
      const begun = this.#begin(event);
      return begun && this.#attempt(begun, event);
    }
    known.sent++;
    if (known.branches.includes(event.key)) return;
    known.backend = this.#farms.backend(event.plan, event.farm, event.backend) ?? known.backend;
    this.#attempt(known, event);
  }

  #attempt(transaction: Open, event: CallEvent): void {
    transaction.branches.push(event.key);
    transaction.attempts++;
    this.#attempts.set(event.key, transaction);
  }

  /** Undefined: it is a retransmission of one that has ended, or there is no room. */
  #begin(event: CallEvent): Open | undefined {
    const key = keyOf(event);
    const farm = this.#farms.farm(event.plan, event.farm);
    if (farm === undefined || this.#open.size >= MOST || this.#ended.has(key) || this.#endedBefore.has(key))
      return undefined;
    const transaction: Open = {
      key,
      branches: [],
      attempts: 0,
      method: event.method,
      call: event.call,
      leg: event.leg,
      flags: event.flags,
      farm,
      backend: this.#backend(event) ?? farm.none,
      start: event.time,
      provisional: 0,
      sent: 1,
      failovers: 0,
      dialogStart: event.start,
      binding: event.binding,
      status: 0,
      end: 0,
      stored: 0,
      ended: false,
    };
    this.#open.set(key, transaction);
    this.#expiry.add(transaction, event.time / 1000 + SILENCE_S);
    return transaction;
  }

  #response(event: CallEvent): void {
    const transaction = this.#attempts.get(event.key);
    if (transaction === undefined) return;
    if (event.status >= 200) return this.#end(transaction, event.status, event.time, event.value);
    if (transaction.provisional === 0) transaction.provisional = event.time;
  }

  #answered(event: CallEvent): void {
    const transaction = this.#open.get(keyOf(event)) ?? this.#begin(event);
    if (transaction) this.#end(transaction, event.status, event.time, 0);
  }

  #end(transaction: Open, status: number, time: number, stored: number): void {
    transaction.ended = true;
    this.#open.delete(transaction.key);
    for (const attempt of transaction.branches) this.#attempts.delete(attempt);
    this.#ended.add(transaction.key);
    transaction.status = status;
    transaction.end = time;
    transaction.stored = stored;
    this.#finish(transaction);
  }
}

/** 53 bits of call, transaction and method. The second time that a call passes here its branch is another one. */
const keyOf = ({ call, transaction, method }: CallEvent): number =>
  ((transaction ^ Math.imul(method + 1, 0x9e3779b1)) >>> 0) + (call % 0x20_0000) * 4294967296;

export const inDialog = (transaction: Transaction): boolean => (transaction.flags & FLAG.inDialog) !== 0;
export const isSession = (transaction: Transaction): boolean =>
  transaction.method === METHOD.INVITE && !inDialog(transaction);
