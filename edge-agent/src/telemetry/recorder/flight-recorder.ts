import type { Plan } from '../../plan.ts';
import { TRANSPORT } from '../../ports.ts';
import type { HashKey } from '../../sip/hash.ts';
import { formatWords } from '../../sip/host.ts';
import { METHOD, METHODS } from '../../sip/method.ts';
import type { Transaction } from '../calls/transactions.ts';
import { monotonic } from '../events.ts';
import { DIRECTION, TapeReader, type TapeRecord } from '../tape.ts';
import { type TraceRef, traceKey, traceOf } from '../traces/ids.ts';
import { CallMap } from './call-map.ts';
import { type Decision, headerOf, type KeptCall, type KeptMessage, type Reason } from './kept-call.ts';
import { type FailedProbe, probeCall } from './probe-call.ts';

export interface RecorderOptions {
  /** Bytes of kept messages, and calls, at most: the oldest go first. */
  bytes: number;
  calls: number;
  /** New calls kept per second, at most; registrations get a quarter of it, since scanners make them fail by the thousand. */
  perSecond: number;
  redact(message: Uint8Array): Buffer;
  /** Milliseconds since the epoch at 0 of the tapes' clock. */
  epoch: number;
  /** A call has come to rest: nothing more was heard of it for a while. */
  rested?(call: KeptCall): void;
  /** A call is forgotten. */
  evicted?(call: KeptCall): void;
  /** How the balancer saw a request that came in, as it was on the wire. Asked of what begins a call or registration. */
  decide?(record: TapeRecord, bytes: Uint8Array, at: number): Decision | undefined;
}

/** Beyond it a call is a loop or an attack; its beginning says enough. */
const MOST_MESSAGES = 200;
/** Timer B and a little: whatever belongs to the transaction that was the reason has come by then. */
const REST_MS = 5_000;

/** What would be older by its token than a month is not. */
const OLDEST_S = 31 * 86_400;

const TRANSPORT_NAMES = Object.keys(TRANSPORT);

interface Listener {
  farm: string;
  local: string;
  /** Names of the farm's backends by address and port. */
  backends: ReadonlyMap<string, string>;
}

/**
 * Keeps what the tapes hold of the calls that are worth it. A call is judged when a transaction of it has come to its end; its messages are
 * then copied off the tapes, and what follows is added until the call comes to rest.
 */
export class FlightRecorder {
  readonly #options: RecorderOptions;
  readonly #tapes: { reader: TapeReader; since: number | undefined }[];
  readonly #plans = new Map<number, { generation: number; listeners: Listener[] }>();
  readonly #keys = new Map<string, HashKey>();
  /** In the order in which they were kept. */
  readonly #calls = new CallMap<KeptCall>();
  /** Those that are added to, and until when (the tapes' clock). */
  readonly #open = new CallMap<number>();
  readonly #fresh = new Set<number>();
  /** Those that got messages since they were sorted. */
  readonly #grown = new Set<KeptCall>();
  #bytes = 0;
  #second = 0;
  #spent = { calls: 0, registrations: 0 };
  /** Calls worth keeping for which the budget did not suffice. */
  refused = 0;
  readonly kept = new Map<Reason, number>();

  constructor(tapes: readonly SharedArrayBuffer[], options: RecorderOptions) {
    this.#options = options;
    this.#tapes = tapes.map((tape) => ({ reader: new TapeReader(tape), since: undefined }));
  }

  /** The data threads are about to run `plan`. */
  use(plan: Plan, serial: number): void {
    const listeners = plan.listeners.map(({ farm, address, port }) => ({
      farm: plan.farms[farm]?.name ?? '',
      local: hostPort(address, port),
      backends: new Map(plan.farms[farm]?.backends.map((b) => [hostPort(b.address, b.port), b.name])),
    }));
    this.#plans.set(serial, { generation: plan.generation, listeners });
    for (const old of this.#plans.keys()) if (this.#plans.size > 8) this.#plans.delete(old);
  }

  /** A transaction ended, in a way that makes its call worth keeping, or not. Returns the call's trace where it is kept. */
  keep(t: Transaction, reasons: readonly Reason[]): TraceRef | undefined {
    const known = this.#calls.get(t.call);
    if (known === undefined && reasons.length === 0) return undefined;
    const result = `${METHODS[t.method]} ${t.status === 0 ? 'none' : t.status}`;
    if (known !== undefined) {
      for (const reason of reasons) if (!known.reasons.includes(reason)) known.reasons.push(reason);
      known.results.push(result);
      if (!this.#open.has(t.call)) this.#fresh.add(t.call);
      this.#open.set(t.call, t.end + REST_MS);
      return known;
    }
    if (!this.#afford(t)) {
      this.refused++;
      return undefined;
    }
    for (const reason of reasons) this.kept.set(reason, (this.kept.get(reason) ?? 0) + 1);
    const trace = this.#traceOf(t);
    this.#calls.set(t.call, {
      call: t.call,
      ...trace,
      dialogStart: this.#dialogStart(t),
      callId: '',
      farm: t.farm.name,
      method: METHODS[t.method] as string,
      reasons: [...reasons],
      results: [result],
      startedAt: this.#wall(t.start),
      updatedAt: this.#wall(t.end),
      messages: [],
      bytes: 0,
      omitted: 0,
    });
    this.#fresh.add(t.call);
    this.#open.set(t.call, t.end + REST_MS);
    return trace;
  }

  /** Keeps what a failed health check sent and got: with the calls that failed, and within the same bounds. Returns it, unless there are too many. */
  keepProbe(probe: FailedProbe): KeptCall | undefined {
    if (probe.messages === undefined) return undefined;
    if (!this.#affordRegistration(monotonic())) {
      this.refused++;
      return undefined;
    }
    const call = probeCall(probe, this.#keyOf(probe.farm), this.#options.redact);
    if (call === undefined || this.#calls.get(call.call) !== undefined) return undefined;
    this.kept.set('check', (this.kept.get('check') ?? 0) + 1);
    this.#calls.set(call.call, call);
    this.#bytes += call.bytes;
    this.#evict();
    return call;
  }

  /** Takes from the tapes what belongs to kept calls. `now` on the tapes' clock. */
  collect(now: number): void {
    if (this.#open.size === 0) {
      for (const tape of this.#tapes) tape.since = tape.reader.head;
      return;
    }
    for (const tape of this.#tapes) {
      const until = tape.reader.head;
      const take = (record: TapeRecord, bytes: Uint8Array) => this.#add(record, bytes);
      const since = tape.since ?? until;
      // Of a call that is kept since just now, also what came before.
      const wanted = (call: number, position: number): boolean =>
        this.#open.has(call) && (((position - since) | 0) >= 0 || this.#fresh.has(call));
      tape.since = tape.reader.scan(this.#fresh.size > 0 ? undefined : since, until, wanted, take);
    }
    this.#fresh.clear();
    this.#sort();
    for (const [call, until] of this.#open) if (until <= now) this.#rest(call);
    this.#evict();
  }

  /** The newest first. */
  list(): KeptCall[] {
    return [...this.#calls.values()].reverse();
  }

  /** By Call-ID. */
  find(callId: string): KeptCall | undefined {
    return this.list().find((call) => call.callId === callId);
  }

  get bytes(): number {
    return this.#bytes;
  }

  #afford(t: Transaction): boolean {
    if (METHODS[t.method] === 'REGISTER') return this.#affordRegistration(t.end);
    this.#turn(t.end);
    return this.#spent.calls++ < this.#options.perSecond;
  }

  #affordRegistration(now: number): boolean {
    this.#turn(now);
    return this.#spent.registrations++ < Math.max(1, Math.floor(this.#options.perSecond / 4));
  }

  /** With every second the budget is whole again. */
  #turn(now: number): void {
    const second = Math.floor(now / 1000);
    if (second === this.#second) return;
    this.#second = second;
    this.#spent = { calls: 0, registrations: 0 };
  }

  #add(record: TapeRecord, bytes: Uint8Array): void {
    const call = this.#calls.get(record.call);
    if (call === undefined) return;
    const at = this.#wall(record.time);
    // Taken before, when the call was kept for another reason.
    if (this.#fresh.has(record.call) && call.messages.some((m) => m.at === at && m.sent === isSent(record))) return;
    if (call.messages.length >= MOST_MESSAGES) {
      call.omitted++;
      return;
    }
    const plan = this.#plans.get(record.plan);
    const listener = plan?.listeners[record.listener];
    const remote = hostPort(formatWords(record.ip0, record.ip1, record.ip2, record.ip3), record.port);
    const message: KeptMessage = {
      at,
      sent: isSent(record),
      transport: TRANSPORT_NAMES[record.transport] ?? 'udp',
      local: listener?.local ?? '',
      remote,
      backend: listener?.backends.get(remote),
      revision: plan?.generation,
      bytes: this.#options.redact(bytes),
    };
    if (!message.sent && begins(message)) message.decision = this.#options.decide?.(record, bytes, at);
    call.messages.push(message);
    this.#grown.add(call);
    call.callId ||= headerOf(message, 'call-id', 'i') ?? '';
    call.bytes += message.bytes.length;
    this.#bytes += message.bytes.length;
    call.updatedAt = Math.max(call.updatedAt, at);
    call.startedAt = Math.min(call.startedAt, at);
  }

  /** Messages of one call come from several tapes. */
  #sort(): void {
    for (const call of this.#grown) call.messages.sort((a, b) => a.at - b.at);
    this.#grown.clear();
  }

  #rest(call: number): void {
    this.#open.delete(call);
    const kept = this.#calls.get(call);
    if (kept) this.#options.rested?.(kept);
  }

  #evict(): void {
    for (const [key, call] of this.#calls) {
      if (this.#bytes <= this.#options.bytes && this.#calls.size <= this.#options.calls) return;
      this.#calls.delete(key);
      this.#open.delete(key);
      this.#bytes -= call.bytes;
      this.#options.evicted?.(call);
    }
  }

  /** A phone registers under one Call-ID for as long as it runs: what is kept of it is a trace each time. */
  #traceOf(t: Transaction): TraceRef {
    return traceOf(this.#keyOf(t.farm.name), t.method === METHOD.REGISTER ? t.call + t.start : t.call);
  }

  #keyOf(farm: string): HashKey {
    const key = this.#keys.get(farm) ?? traceKey(farm);
    this.#keys.set(farm, key);
    return key;
  }

  #dialogStart({ dialogStart, start }: Transaction): number | undefined {
    if (dialogStart < 0) return undefined;
    const at = this.#wall(start);
    // Tokens name the second modulo 2^24.
    const age = (Math.floor(at / 1000) - dialogStart) & 0xffffff;
    return age < OLDEST_S ? Math.min(at, (Math.floor(at / 1000) - age) * 1000) : undefined;
  }

  #wall(time: number): number {
    return this.#options.epoch + time;
  }
}

const isSent = ({ direction }: TapeRecord): boolean => direction === DIRECTION.sent;
const hostPort = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** Outside of any dialog: the balancer chose. */
const begins = (message: KeptMessage): boolean =>
  /^(?:INVITE|REGISTER) /.test(message.bytes.subarray(0, 9).toString('latin1')) &&
  !/;\s*tag=/i.test(headerOf(message, 'to', 't') ?? '');
