import type { Plan } from '../../plan.ts';
import { METHOD } from '../../sip/method.ts';
import { type CallEvent, FLAG, LEG } from '../events.ts';
import type { TraceRef } from '../traces/ids.ts';
import type { Delays } from './delays.ts';
import { type Dialog, DialogTable } from './dialogs.ts';
import { Expiry } from './expiry.ts';
import { Farms, ORIGINS, type Origin, REGISTRATION, SESSION } from './farms.ts';
import { RegistrationTable } from './registrations.ts';
import { inDialog, isSession, type Transaction, Transactions } from './transactions.ts';

/** RFC 6076 §4.7: it is the other side's free decision. */
const EFFECTIVE = new Set([480, 486, 600, 603]);
/** RFC 6076 §4.8: something is broken or overloaded. */
const INEFFECTIVE = new Set([408, 500, 503, 504]);
/** How long the registration that a challenge interrupted is remembered. */
const CHALLENGE_S = 32;
/** Tokens name the start of a dialog modulo 2^24 seconds. What would be older than a month is none. */
const OLDEST_S = 31 * 86_400;

/** Looks at a transaction that has come to its end. Returns the trace of its call where the call is kept. */
export type Observe = (transaction: Transaction, status: number, time: number) => TraceRef | undefined;

const isChallenge = (status: number): boolean => status === 401 || status === 407;

/** What goes on, and what came of it, by the events of all data threads. Runs on the control thread. */
export class Calls {
  readonly farms = new Farms();
  readonly #transactions: Transactions;
  readonly #dialogs: DialogTable;
  readonly #registrations: RegistrationTable;
  readonly #delays: Delays;
  readonly #observe: Observe;
  /** Trace of the transaction at hand. */
  #trace: TraceRef | undefined;
  /** When the first REGISTER of an interrupted registration came, by call. */
  readonly #challenged = new Map<number, number>();
  readonly #forget: Expiry<number>;
  /** Seconds since the epoch at 0 of the monotonic clock. */
  #epoch: number;

  /** `now` on the monotonic clock of the events, `wall` since the epoch, both in milliseconds. */
  constructor(delays: Delays, now: number, wall: number, observe: Observe = () => undefined) {
    this.#observe = observe;
    this.#epoch = (wall - now) / 1000;
    const second = Math.floor(now / 1000);
    this.#delays = delays;
    this.#transactions = new Transactions(this.farms, second, this.#finish.bind(this));
    this.#dialogs = new DialogTable(second);
    this.#registrations = new RegistrationTable(second);
    this.#forget = new Expiry(second);
  }

  /** See {@link Farms.use}. */
  use(plan: Plan, serial: number): void {
    this.farms.use(plan, serial);
  }

  handle(event: CallEvent): void {
    this.#transactions.handle(event);
  }

  /** Lets time pass. `now` on the monotonic clock, `wall` since the epoch, both in milliseconds. */
  advance(now: number, wall: number): void {
    this.#epoch = (wall - now) / 1000;
    this.#transactions.advance(Math.floor(now / 1000));
    this.#dialogs.advance(now);
    this.#registrations.advance(now);
    this.#forget.advance(now / 1000, (call) => this.#challenged.delete(call));
  }

  #finish(transaction: Transaction, status: number, time: number, value: number): void {
    this.#trace = this.#observe(transaction, status, time);
    if (isSession(transaction)) this.#session(transaction, status, time);
    else if (transaction.method === METHOD.REGISTER) this.#register(transaction, status, time, value);
    else if (transaction.method === METHOD.BYE) this.#bye(transaction, status, time);
    else if (status >= 200 && status < 300) this.#refresh(transaction, time);
  }

  #session(transaction: Transaction, status: number, time: number): void {
    const { farm, backend, start, provisional } = transaction;
    const origin = originOf(transaction);
    const counts = backend.sessions[origin];
    const count = (index: number): void => {
      counts[index] = counts[index]! + 1;
    };
    count(SESSION.requests);
    farm.codes[origin].set(status, (farm.codes[origin].get(status) ?? 0) + 1);
    if (isChallenge(status)) return count(SESSION.challenges);
    if (status >= 300 && status < 400) return count(SESSION.redirects);
    const established = status >= 200 && status < 300;
    if (established) count(SESSION.established);
    if (established || EFFECTIVE.has(status)) count(SESSION.effective);
    if (status === 0 || INEFFECTIVE.has(status)) count(SESSION.ineffective);
    // RFC 6076 §4.3.2: a request for payment is no failure either.
    if (status !== 402 && (status > 0 || provisional > 0)) {
      const progress = provisional > 0 ? provisional : time;
      this.#delays.sessionRequest(
        farm.name,
        ORIGINS[origin],
        established ? 'success' : 'failure',
        (progress - start) / 1000,
        this.#trace,
      );
    }
    if (established) this.#dialogs.begin(dialogKey(transaction), farm, backend, origin, time, time);
  }

  #register(
    { farm, backend, call, start, binding, flags }: Transaction,
    status: number,
    time: number,
    value: number,
  ): void {
    const counts = backend.registrations;
    const count = (index: number): void => {
      counts[index] = counts[index]! + 1;
    };
    count(REGISTRATION.requests);
    backend.registrationCodes.set(status, (backend.registrationCodes.get(status) ?? 0) + 1);
    const first = this.#challenged.get(call) ?? start;
    if (isChallenge(status)) {
      this.#challenged.set(call, first);
      this.#forget.add(call, time / 1000 + CHALLENGE_S);
      return count(REGISTRATION.challenges);
    }
    this.#challenged.delete(call);
    if (status === 0 || (status >= 400 && status !== 402)) return count(REGISTRATION.failures);
    if (status >= 300) return;
    count(REGISTRATION.successes);
    this.#delays.registration(farm.name, (time - first) / 1000, this.#trace);
    if (binding === 0) return;
    const key = binding + farm.number * 4294967296;
    if (value === 0 || (flags & FLAG.unregister) !== 0) this.#registrations.remove(key);
    else this.#registrations.store(key, backend, time + value * 1000);
  }

  #bye(transaction: Transaction, status: number, time: number): void {
    if (isChallenge(status)) return;
    const { farm, start } = transaction;
    const dialog = this.#dialogs.find(dialogKey(transaction));
    const established = dialog?.established ?? this.#startOf(transaction);
    const origin = dialog?.origin ?? originOf(transaction);
    if (established !== undefined)
      this.#delays.sessionDuration(farm.name, ORIGINS[origin], (start - established) / 1000, this.#trace);
    if (status >= 200 && status < 300) {
      this.#delays.sessionDisconnect(farm.name, (time - start) / 1000, this.#trace);
      if (established !== undefined) this.#completed(dialog, transaction, origin);
    }
    // RFC 3261 §15: whatever the answer, whoever sent a BYE holds the session for ended.
    if (dialog) this.#dialogs.end(dialog);
  }

  #completed(dialog: Dialog | undefined, transaction: Transaction, origin: Origin): void {
    const counts = (dialog?.backend ?? transaction.backend).sessions[origin];
    counts[SESSION.completed] = counts[SESSION.completed]! + 1;
  }

  /** Something was agreed on within a dialog: it still stands, and if it began elsewhere it is taken up. */
  #refresh(transaction: Transaction, time: number): void {
    if (!inDialog(transaction)) return;
    const key = dialogKey(transaction);
    const established = this.#dialogs.find(key)?.established ?? this.#startOf(transaction);
    if (established === undefined) return;
    const { farm, backend } = transaction;
    this.#dialogs.begin(key, farm, backend, originOf(transaction), established, time);
  }

  /** When a dialog began that we did not see begin, by the second in its token: that of its INVITE, so it includes the ringing. */
  #startOf({ dialogStart, start }: Transaction): number | undefined {
    if (dialogStart < 0) return undefined;
    const age = (Math.floor(this.#epoch + start / 1000) - dialogStart) & 0xffffff;
    return age < OLDEST_S ? start - age * 1000 : undefined;
  }
}

const originOf = ({ leg }: Transaction): Origin => (leg === LEG.fromClient ? 0 : 1);

/** 53 bits of Call-ID and leg: a PBX that is a proxy uses the same Call-ID on both. */
const dialogKey = ({ call, leg }: Transaction): number => call * 4 + leg;
