import type { Plan } from '../../plan.ts';
import { METHOD } from '../../sip/method.ts';
import { type CallEvent, FLAG } from '../events.ts';
import type { TraceRef } from '../traces/ids.ts';
import { DialogTable, dialogKey, originOf } from './dialogs.ts';
import { type Emptied, Farms, REGISTRATION, SESSION } from './farms.ts';
import { RegistrationTable } from './registrations.ts';
import { NONE, SoftTable } from './soft-table.ts';
import { inDialog, isSession, type Transaction, Transactions } from './transactions.ts';

/** How long the registration that a challenge interrupted is remembered. */
const CHALLENGE_MS = 32_000;
/** Sessions up to here count as short: the bound that alerts and the histogram of durations have. */
const SHORT_SESSION_MS = 10_000;
/** Beyond it the delay of a registration runs from its second REGISTER. */
const MOST_CHALLENGED = 200_000;
/** Tokens name the start of a dialog modulo 2^24 seconds. What would be older than a month is none. */
const OLDEST_S = 31 * 86_400;

/** Looks at a transaction that has come to its end. Returns the trace of its call where the call is kept. */
export type Observe = (transaction: Transaction) => TraceRef | undefined;

/** RFC 6076 §4.7: it is the other side's free decision. */
const isEffective = (status: number): boolean => status === 480 || status === 486 || status === 600 || status === 603;
/** RFC 6076 §4.8: something is broken or overloaded. */
const isIneffective = (status: number): boolean =>
  status === 0 || status === 408 || status === 500 || status === 503 || status === 504;
const isSuccess = (status: number): boolean => status >= 200 && status < 300;
const isChallenge = (status: number): boolean => status === 401 || status === 407;

/** What goes on, and what came of it, by the events of all data threads. Runs on the control thread. */
export class Calls {
  readonly farms: Farms;
  readonly #transactions: Transactions;
  readonly #dialogs: DialogTable;
  readonly #registrations: RegistrationTable;
  readonly #observe: Observe;
  /** Trace of the transaction at hand. */
  #trace: TraceRef | undefined;
  /** When the first REGISTER of an interrupted registration came, by call. */
  readonly #challenged: SoftTable<undefined>;
  /** Seconds since the epoch at 0 of the monotonic clock. */
  #epoch: number;

  /** `now` on the monotonic clock of the events, `wall` since the epoch, both in milliseconds. */
  constructor(now: number, wall: number, observe: Observe = () => undefined, emptied?: Emptied) {
    this.farms = new Farms(emptied);
    this.#observe = observe;
    this.#epoch = (wall - now) / 1000;
    this.#transactions = new Transactions(this.farms, Math.floor(now / 1000), this.#finish.bind(this));
    this.#dialogs = new DialogTable(now);
    this.#registrations = new RegistrationTable(now);
    this.#challenged = new SoftTable(MOST_CHALLENGED, now);
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
    this.#challenged.sweep(now, () => {});
  }

  #finish(transaction: Transaction): void {
    this.#trace = this.#observe(transaction);
    if (isSession(transaction)) this.#session(transaction);
    else if (transaction.method === METHOD.REGISTER) this.#register(transaction);
    else if (transaction.method === METHOD.BYE) this.#bye(transaction);
    else if (isSuccess(transaction.status)) this.#refresh(transaction);
  }

  #session(transaction: Transaction): void {
    const { farm, backend, status, provisional } = transaction;
    const origin = originOf(transaction.leg);
    const counts = backend.sessions[origin];
    const codes = farm.codes[origin];
    addOne(counts, SESSION.requests);
    codes.set(status, (codes.get(status) ?? 0) + 1);
    if (isSuccess(status)) {
      addOne(counts, SESSION.established);
      addOne(counts, SESSION.effective);
      farm.delays.sessionRequest[origin].success.observe(progressOf(transaction), this.#trace);
      this.#dialogs.begin(dialogKey(transaction), backend, transaction.end, transaction.end);
      return;
    }
    if (isChallenge(status)) return addOne(counts, SESSION.challenges);
    if (status >= 300 && status < 400) return addOne(counts, SESSION.redirects);
    if (isEffective(status)) addOne(counts, SESSION.effective);
    if (isIneffective(status)) addOne(counts, SESSION.ineffective);
    // RFC 6076 §4.3.2: a request for payment is no failure either.
    if (status !== 402 && (status > 0 || provisional > 0))
      farm.delays.sessionRequest[origin].failure.observe(progressOf(transaction), this.#trace);
  }

  #register({ farm, backend, call, start, end, status, stored, binding, flags }: Transaction): void {
    const counts = backend.registrations;
    addOne(counts, REGISTRATION.requests);
    backend.registrationCodes.set(status, (backend.registrationCodes.get(status) ?? 0) + 1);
    const challenged = this.#challenged.find(call);
    if (isChallenge(status)) {
      if (challenged === NONE) this.#challenged.add(call, undefined, start, end + CHALLENGE_MS);
      else this.#challenged.setUntil(challenged, end + CHALLENGE_MS);
      return addOne(counts, REGISTRATION.challenges);
    }
    const first = challenged === NONE ? start : this.#challenged.since(challenged);
    if (challenged !== NONE) this.#challenged.remove(challenged);
    if (status === 0 || (status >= 400 && status !== 402)) return addOne(counts, REGISTRATION.failures);
    if (status >= 300) return;
    addOne(counts, REGISTRATION.successes);
    farm.delays.registration.observe((end - first) / 1000, this.#trace);
    if (binding === 0) return;
    const key = binding + farm.number * 4294967296;
    if (stored === 0 || (flags & FLAG.unregister) !== 0) this.#registrations.remove(key);
    else this.#registrations.store(key, backend, end, end + stored * 1000);
  }

  #bye(transaction: Transaction): void {
    const { farm, start, end, status } = transaction;
    if (isChallenge(status)) return;
    const key = dialogKey(transaction);
    const established = this.#dialogs.established(key) ?? this.#startOf(transaction);
    // RFC 3261 §15: whatever the answer, whoever sent a BYE holds the session for ended.
    const backend = this.#dialogs.end(key) ?? transaction.backend;
    const origin = originOf(transaction.leg);
    if (established !== undefined)
      farm.delays.sessionDuration[origin].observe((start - established) / 1000, this.#trace);
    if (!isSuccess(status)) return;
    farm.delays.sessionDisconnect.observe((end - start) / 1000, this.#trace);
    if (established === undefined) return;
    addOne(backend.sessions[origin], SESSION.completed);
    if (start - established <= SHORT_SESSION_MS) addOne(backend.sessions[origin], SESSION.short);
  }

  /** Something was agreed on within a dialog: it still stands, and if it began elsewhere it is taken up. */
  #refresh(transaction: Transaction): void {
    if (!inDialog(transaction)) return;
    const key = dialogKey(transaction);
    const established = this.#dialogs.established(key) ?? this.#startOf(transaction);
    if (established !== undefined) this.#dialogs.begin(key, transaction.backend, established, transaction.end);
  }

  /** When a dialog began that we did not see begin, by the second in its token: that of its INVITE, so it includes the ringing. */
  #startOf({ dialogStart, start }: Transaction): number | undefined {
    if (dialogStart < 0) return undefined;
    const age = (Math.floor(this.#epoch + start / 1000) - dialogStart) & 0xffffff;
    return age < OLDEST_S ? start - age * 1000 : undefined;
  }
}

/** Seconds until the first sign of progress, or else the end. */
const progressOf = ({ start, provisional, end }: Transaction): number =>
  ((provisional > 0 ? provisional : end) - start) / 1000;

function addOne(counts: Float64Array, index: number): void {
  counts[index] = counts[index]! + 1;
}
