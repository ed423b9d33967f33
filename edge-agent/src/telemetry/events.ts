import { performance } from 'node:perf_hooks';

/**
 * Events of calls on their way from a data thread to the control thread: records of fixed size in a ring of shared memory, one ring per
 * data thread. The data thread never waits: where the ring is full, the record is lost and the loss counted. A ring outlives its thread.
 *
 *   ints    0  head: records written          16  tail: records taken          32  lost
 *   bytes 256  the records, 64 bytes each:
 *     0  time, ms on the machine's monotonic clock      8  call           16  key
 *    24  kind | method << 8 | plan << 16               28  farm | leg << 16 | flags << 24
 *    32  backend      36  source      40  status       44  transaction    48  start      52  binding      56  value
 *
 * Of a whole transaction 16 holds when it began, 44 how often it was sent | attempts << 8 | failovers << 16, and 60 the µs until its first
 * provisional response, −1: none.
 */
export const EVENT = { request: 1, response: 2, answered: 3, transaction: 4 } as const;

/** Which sides a dialog or transaction connects: begun by a client, begun by a backend towards a client, between two backends. */
export const LEG = { fromClient: 0, toClient: 1, between: 2 } as const;

/** Bits of {@link CallEvent.flags}. */
export const FLAG = {
  /** A To tag: within a dialog. */
  inDialog: 1,
  /** Authorization or Proxy-Authorization came with it. */
  credentials: 2,
  /** A REGISTER that removes its binding. */
  unregister: 4,
  /** Its messages are not on the tape. */
  unrecorded: 8,
} as const;

/** One record. The reader hands out the same object again and again. */
export interface CallEvent {
  kind: number;
  /** Milliseconds, see {@link monotonic}. */
  time: number;
  /** Number of the plan that farm, backend and source are indices of. */
  plan: number;
  /** Index into METHODS. */
  method: number;
  /** 51-bit hash of the Call-ID. */
  call: number;
  /** The attempt, by its branch; of `answered` 0. */
  key: number;
  farm: number;
  leg: number;
  flags: number;
  /** Index within the farm of the backend that it went to, −1: to a client. */
  backend: number;
  /** Index within the farm of the backend that it came from, −1: from a client. */
  source: number;
  /** Of responses, answers and whole transactions the status; 0: silence. */
  status: number;
  /** Of requests and answers: hash of received branch and CSeq. A retransmission has the same. */
  transaction: number;
  /** Second at which the dialog started, modulo 2^24, from its token; −1: unknown. */
  start: number;
  /** Of REGISTER: hash of address-of-record and Contact; 0: it binds none. */
  binding: number;
  /** Of the response to a REGISTER: seconds that it is stored for. */
  value: number;
  /** Of a whole transaction: when it began, and its first provisional response came (0: none), on the clock of `time`. */
  began: number;
  provisional: number;
  /** Of a whole transaction: how often its request was sent on, to how many targets, and how many of them were given up. */
  sent: number;
  attempts: number;
  failovers: number;
}

/** What a data thread remembers of a transaction that it keeps. Times as performance.now() gives them. */
export interface WatchedTransaction {
  readonly method: number;
  readonly call: number;
  readonly plan: number;
  readonly farm: number;
  readonly leg: number;
  readonly flags: number;
  readonly backend: number;
  readonly source: number;
  readonly dialogStart: number;
  readonly binding: number;
  readonly began: number;
  /** 0: none came. */
  readonly provisional: number;
  readonly sent: number;
  readonly attempts: number;
  readonly failovers: number;
}

const HEAD = 0;
const TAIL = 16;
const LOST = 32;
const FIRST = 256;
const RECORD = 64;
/** A control thread that is busy for a second loses nothing at 65,000 events a second. */
export const RING_RECORDS = 1 << 16;

/** Memory of one ring. `records`: a power of two. */
export const createEventRing = (records = RING_RECORDS): SharedArrayBuffer =>
  new SharedArrayBuffer(FIRST + records * RECORD);

/** Adds up with performance.now() to the machine's monotonic clock, which all threads share. */
const OFFSET = Number(process.hrtime.bigint()) / 1e6 - performance.now();
/** Milliseconds on a clock that all threads share and nobody sets. */
export const monotonic = (): number => performance.now() + OFFSET;

/** The data thread's end. */
export class EventWriter {
  readonly active = true;
  /** Number of the plan that indices refer to. */
  plan = 0;
  readonly #marks: Int32Array;
  readonly #floats: Float64Array;
  readonly #ints: Int32Array;
  readonly #mask: number;
  #head: number;
  #tail: number;

  constructor(ring: SharedArrayBuffer) {
    const records = (ring.byteLength - FIRST) / RECORD;
    this.#marks = new Int32Array(ring, 0, FIRST / 4);
    this.#floats = new Float64Array(ring, FIRST);
    this.#ints = new Int32Array(ring, FIRST);
    this.#mask = records - 1;
    this.#head = Atomics.load(this.#marks, HEAD);
    this.#tail = Atomics.load(this.#marks, TAIL);
  }

  /** A request was sent on: to a backend or to a client, for the first time or again. */
  request(
    method: number,
    call: number,
    key: number,
    transaction: number,
    farm: number,
    leg: number,
    flags: number,
    backend: number,
    source: number,
    start: number,
    binding: number,
  ): void {
    if (!this.#room()) return;
    const at = this.#begin(EVENT.request, method, call, key);
    this.#ints[at + 7] = farm | (leg << 16) | (flags << 24);
    this.#ints[at + 8] = backend;
    this.#ints[at + 9] = source;
    this.#ints[at + 11] = transaction;
    this.#ints[at + 12] = start;
    this.#ints[at + 13] = binding;
    this.#publish();
  }

  /** A response to the attempt `key` was passed on. */
  response(method: number, call: number, key: number, status: number, value: number): void {
    if (!this.#room()) return;
    const at = this.#begin(EVENT.response, method, call, key);
    this.#ints[at + 10] = status;
    this.#ints[at + 14] = value;
    this.#publish();
  }

  /** We answered a request ourselves. */
  answered(method: number, call: number, transaction: number, farm: number, flags: number, status: number): void {
    if (!this.#room()) return;
    const at = this.#begin(EVENT.answered, method, call, 0);
    this.#ints[at + 7] = farm | (flags << 24);
    this.#ints[at + 10] = status;
    this.#ints[at + 11] = transaction;
    this.#publish();
  }

  /** A transaction that was kept has come to its end: all about it at once. `status` 0: silence. */
  transaction(t: WatchedTransaction, status: number, value: number): void {
    if (!this.#room()) return;
    const at = this.#begin(EVENT.transaction, t.method, t.call, t.began + OFFSET);
    this.#ints[at + 6] = EVENT.transaction | (t.method << 8) | (t.plan << 16);
    this.#ints[at + 7] = t.farm | (t.leg << 16) | (t.flags << 24);
    this.#ints[at + 8] = t.backend;
    this.#ints[at + 9] = t.source;
    this.#ints[at + 10] = status;
    this.#ints[at + 11] = Math.min(t.sent, 255) | (t.attempts << 8) | (t.failovers << 16);
    this.#ints[at + 12] = t.dialogStart;
    this.#ints[at + 13] = t.binding;
    this.#ints[at + 14] = value;
    this.#ints[at + 15] = t.provisional === 0 ? -1 : Math.round((t.provisional - t.began) * 1000);
    this.#publish();
  }

  #room(): boolean {
    if (((this.#head - this.#tail) | 0) <= this.#mask) return true;
    this.#tail = Atomics.load(this.#marks, TAIL);
    if (((this.#head - this.#tail) | 0) <= this.#mask) return true;
    this.#marks[LOST] = (this.#marks[LOST]! + 1) | 0;
    return false;
  }

  /** Index of the record among the ints. */
  #begin(kind: number, method: number, call: number, key: number): number {
    const slot = this.#head & this.#mask;
    const f = slot * 8;
    this.#floats[f] = performance.now() + OFFSET;
    this.#floats[f + 1] = call;
    this.#floats[f + 2] = key;
    const at = slot * 16;
    this.#ints[at + 6] = kind | (method << 8) | (this.plan << 16);
    return at;
  }

  #publish(): void {
    this.#head = (this.#head + 1) | 0;
    // Publishes what was written before it.
    Atomics.store(this.#marks, HEAD, this.#head);
  }
}

/** The control thread's end of one ring. */
class EventReader {
  readonly #marks: Int32Array;
  readonly #floats: Float64Array;
  readonly #ints: Int32Array;
  readonly #mask: number;
  #tail: number;
  #head: number;

  constructor(ring: SharedArrayBuffer) {
    this.#marks = new Int32Array(ring, 0, FIRST / 4);
    this.#floats = new Float64Array(ring, FIRST);
    this.#ints = new Int32Array(ring, FIRST);
    this.#mask = (ring.byteLength - FIRST) / RECORD - 1;
    this.#tail = this.#head = Atomics.load(this.#marks, TAIL);
  }

  get lost(): number {
    return Atomics.load(this.#marks, LOST) >>> 0;
  }

  /** Takes up what was written until now. */
  refresh(): void {
    this.#head = Atomics.load(this.#marks, HEAD);
  }

  /** Time of the next record; infinite where there is none. */
  get next(): number {
    return this.#tail === this.#head ? Number.POSITIVE_INFINITY : this.#floats[(this.#tail & this.#mask) * 8]!;
  }

  take(into: CallEvent): void {
    const slot = this.#tail & this.#mask;
    const at = slot * 16;
    const ints = this.#ints;
    into.time = this.#floats[slot * 8]!;
    into.call = this.#floats[slot * 8 + 1]!;
    into.key = this.#floats[slot * 8 + 2]!;
    const kind = ints[at + 6]!;
    into.kind = kind & 255;
    into.method = (kind >>> 8) & 255;
    into.plan = kind >>> 16;
    const farm = ints[at + 7]!;
    into.farm = farm & 0xffff;
    into.leg = (farm >>> 16) & 255;
    into.flags = farm >>> 24;
    into.backend = ints[at + 8]!;
    into.source = ints[at + 9]!;
    into.status = ints[at + 10]!;
    into.transaction = ints[at + 11]!;
    into.start = ints[at + 12]!;
    into.binding = ints[at + 13]!;
    into.value = ints[at + 14]!;
    if (into.kind === EVENT.transaction) {
      into.began = into.key;
      const counts = into.transaction;
      into.sent = counts & 255;
      into.attempts = (counts >>> 8) & 255;
      into.failovers = counts >>> 16;
      const provisional = ints[at + 15]!;
      into.provisional = provisional < 0 ? 0 : into.began + provisional / 1000;
    }
    this.#tail = (this.#tail + 1) | 0;
  }

  /** Gives the room of what was taken back to the writer. */
  release(): void {
    Atomics.store(this.#marks, TAIL, this.#tail);
  }
}

/** All rings as one stream of events in the order of time. */
export class EventRings {
  readonly #readers: EventReader[];
  readonly #event = { kind: 0 } as CallEvent;

  constructor(rings: readonly SharedArrayBuffer[]) {
    this.#readers = rings.map((ring) => new EventReader(ring));
  }

  /** Events that found no room, since the process started. */
  get lost(): number {
    return this.#readers.reduce((sum, r) => sum + r.lost, 0);
  }

  /**
   * Hands over what happened before now, oldest first. A response may stand in another ring than its request: what is younger than the
   * moment at which the first ring was looked at waits for the next time, so that no effect comes before its cause.
   */
  drain(take: (event: CallEvent) => void): number {
    const until = monotonic();
    for (const reader of this.#readers) reader.refresh();
    let taken = 0;
    for (;;) {
      let first: EventReader | undefined;
      let time = until;
      for (const reader of this.#readers) {
        if (reader.next >= time) continue;
        time = reader.next;
        first = reader;
      }
      if (first === undefined) break;
      first.take(this.#event);
      take(this.#event);
      taken++;
    }
    for (const reader of this.#readers) reader.release();
    return taken;
  }
}
