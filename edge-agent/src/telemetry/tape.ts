import type { Endpoint, Segments } from '../ports.ts';
import { gather } from '../transport/gather.ts';

/**
 * The flight recorder's tape: the last messages of one data thread as they came and went, in shared memory. The newest takes the place of
 * the oldest. Writing is a copy of bytes; nothing is parsed, nothing waits, and nobody who reads can hold the writer up.
 *
 *   ints    0  head: where the next record goes       16  tail: the oldest record
 *           Both count units of 8 bytes since the start, modulo 2^32.
 *   bytes 128  the records, each one piece and aligned to 8 bytes:
 *     0  units of the record, or 0: the rest of the tape is empty, go on at its front
 *     4  length of the message     8  time (ms, monotonic)     16  call: hash of the Call-ID, 0: unknown
 *    24  listener | transport << 16 | direction << 24          28  plan
 *    32  the remote end: four words and port                   56  the message
 */
const HEAD = 0;
const TAIL = 16;
const FIRST = 128;
const HEADER = 56;
const UNIT = 8;

export const DIRECTION = { received: 0, sent: 1 } as const;

/** Memory of one tape. `bytes`: a power of two, so that places go on evenly where positions begin anew at 2^32. */
export const createTape = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(FIRST + bytes);

/** What the tape says of a message, beside its bytes. The reader hands out the same object again and again. */
export interface TapeRecord {
  time: number;
  call: number;
  /** Index into the plan's listeners. */
  listener: number;
  plan: number;
  direction: number;
  transport: number;
  ip0: number;
  ip1: number;
  ip2: number;
  ip3: number;
  port: number;
  length: number;
}

/** The data thread's end. */
export class TapeWriter {
  readonly active = true;
  /** What the message at hand belongs to: what is sent until the next one belongs to it too. */
  call = 0;
  /** Number of the plan that listeners are indices of. */
  plan = 0;
  readonly #marks: Int32Array;
  readonly #ints: Int32Array;
  readonly #floats: Float64Array;
  readonly #bytes: Uint8Array;
  /** In units. */
  readonly #capacity: number;
  readonly #now: () => number;
  #head: number;
  #tail: number;

  /** `now`: monotonic milliseconds that all threads share. */
  constructor(tape: SharedArrayBuffer, now: () => number) {
    this.#marks = new Int32Array(tape, 0, FIRST / 4);
    this.#ints = new Int32Array(tape, FIRST);
    this.#floats = new Float64Array(tape, FIRST);
    this.#bytes = new Uint8Array(tape, FIRST);
    this.#capacity = this.#bytes.length / UNIT;
    this.#now = now;
    // Where a thread died nobody knows what it was writing: the tape starts anew, at a distance that no reader takes for its own.
    this.#head = this.#tail = (Atomics.load(this.#marks, HEAD) + this.#capacity) & -this.#capacity;
    Atomics.store(this.#marks, TAIL, this.#tail);
    Atomics.store(this.#marks, HEAD, this.#head);
  }

  /** A message came in. */
  received(call: number, bytes: Uint8Array, start: number, end: number, from: Endpoint, listener: number): void {
    this.call = call;
    const length = end - start;
    const at = this.#begin(length, from, listener, DIRECTION.received);
    if (at < 0) return;
    this.#bytes.set(bytes.subarray(start, end), at);
    Atomics.store(this.#marks, HEAD, this.#head);
  }

  /** A message goes out. */
  sent(to: Endpoint, message: Segments, listener: number): void {
    const at = this.#begin(message.length, to, listener, DIRECTION.sent);
    if (at < 0) return;
    gather(this.#bytes, at, message);
    Atomics.store(this.#marks, HEAD, this.#head);
  }

  /** Writes the record's head; returns where its message goes, −1 where it is longer than the tape. */
  #begin(length: number, remote: Endpoint, listener: number, direction: number): number {
    const units = (HEADER + length + UNIT - 1) >>> 3;
    if (units > this.#capacity >> 1) return -1;
    const behind = this.#capacity - (this.#head & (this.#capacity - 1));
    if (units > behind) this.#wrap(behind);
    this.#forget(units);
    const place = this.#head & (this.#capacity - 1);
    const i = place * 2;
    const ints = this.#ints;
    ints[i] = units;
    ints[i + 1] = length;
    this.#floats[place + 1] = this.#now();
    this.#floats[place + 2] = this.call;
    ints[i + 6] = listener | (remote.transport << 16) | (direction << 24);
    ints[i + 7] = this.plan;
    ints[i + 8] = remote.ip0;
    ints[i + 9] = remote.ip1;
    ints[i + 10] = remote.ip2;
    ints[i + 11] = remote.ip3;
    ints[i + 12] = remote.port;
    this.#head = (this.#head + units) | 0;
    return place * UNIT + HEADER;
  }

  #wrap(behind: number): void {
    this.#forget(behind);
    this.#ints[(this.#head & (this.#capacity - 1)) * 2] = 0;
    this.#head = (this.#head + behind) | 0;
  }

  /** Makes room: what is about to be overwritten is no longer there for readers before it is. */
  #forget(units: number): void {
    if (this.#capacity - ((this.#head - this.#tail) | 0) >= units) return;
    while (this.#capacity - ((this.#head - this.#tail) | 0) < units) {
      const oldest = this.#tail & (this.#capacity - 1);
      this.#tail = (this.#tail + (this.#ints[oldest * 2]! || this.#capacity - oldest)) | 0;
    }
    Atomics.store(this.#marks, TAIL, this.#tail);
  }
}

/** The control thread's end of one tape. */
export class TapeReader {
  readonly #marks: Int32Array;
  readonly #ints: Int32Array;
  readonly #floats: Float64Array;
  readonly #bytes: Uint8Array;
  readonly #capacity: number;
  readonly #record = {} as TapeRecord;

  constructor(tape: SharedArrayBuffer) {
    this.#marks = new Int32Array(tape, 0, FIRST / 4);
    this.#ints = new Int32Array(tape, FIRST);
    this.#floats = new Float64Array(tape, FIRST);
    this.#bytes = new Uint8Array(tape, FIRST);
    this.#capacity = this.#bytes.length / UNIT;
  }

  /** Where the next record will stand: `since` of a scan that wants only what is new. */
  get head(): number {
    return Atomics.load(this.#marks, HEAD);
  }

  /**
   * Goes over the records from `since` (undefined: the oldest) up to `until`, and hands over those that are wanted, copied. What is overwritten
   * meanwhile is left out. Returns where to go on.
   */
  scan(
    since: number | undefined,
    until: number,
    wanted: (record: TapeRecord) => boolean,
    take: (record: TapeRecord, bytes: Uint8Array) => void,
  ): number {
    const tail = Atomics.load(this.#marks, TAIL);
    let position = since === undefined || ((since - tail) | 0) < 0 ? tail : since;
    while (((until - position) | 0) > 0) {
      const at = position & (this.#capacity - 1);
      const units = this.#ints[at * 2]!;
      this.#read(at);
      const copy = units !== 0 && wanted(this.#record) ? this.#copy(at) : undefined;
      // The writer came by meanwhile: nothing of this record can be believed, and what is there now begins elsewhere.
      // A write that changes nothing: unlike a load it is not done before the reads above, whatever the processor.
      const oldest = Atomics.or(this.#marks, TAIL, 0);
      if (((oldest - position) | 0) > 0) {
        position = oldest;
        continue;
      }
      if (copy !== undefined) take(this.#record, copy);
      position = (position + (units || this.#capacity - at)) | 0;
    }
    return position;
  }

  #read(at: number): void {
    const record = this.#record;
    const i = at * 2;
    const where = this.#ints[i + 6]!;
    record.length = this.#ints[i + 1]!;
    record.time = this.#floats[at + 1]!;
    record.call = this.#floats[at + 2]!;
    record.listener = where & 0xffff;
    record.transport = (where >>> 16) & 255;
    record.direction = where >>> 24;
    record.plan = this.#ints[i + 7]!;
    record.ip0 = this.#ints[i + 8]! >>> 0;
    record.ip1 = this.#ints[i + 9]! >>> 0;
    record.ip2 = this.#ints[i + 10]! >>> 0;
    record.ip3 = this.#ints[i + 11]! >>> 0;
    record.port = this.#ints[i + 12]!;
  }

  #copy(at: number): Uint8Array {
    const start = at * UNIT + HEADER;
    return this.#bytes.slice(start, Math.min(this.#bytes.length, start + Math.max(0, this.#record.length)));
  }
}
