import type { Endpoint, Segments } from '../ports.ts';
import { gather } from '../transport/gather.ts';

/**
 * The flight recorder's tape: the last messages of one data thread as they came and went, in shared memory. The newest takes the place of
 * the oldest. Writing is a copy of bytes; nothing is parsed, nothing waits, and nobody who reads can hold the writer up.
 *
 *   ints    0  head: records written       16  tail: the oldest record that is still there; both since the start, modulo 2^32
 *          24  how many writers began, one after the other
 *   bytes 128  the index, 16 bytes for each record in turn: its call (a float), and its place in units of 8 bytes. It is read through at every
 *              look for a few calls; the records themselves, far apart in memory, are not.
 *   then       the records, each one piece and aligned to 8 bytes:
 *     0  units of the record, or 0: the rest is empty, the next one stands at the front
 *     4  length of the message     8  time (ms, monotonic)     16  call: hash of the Call-ID, 0: unknown
 *    24  listener | transport << 16 | direction << 24          28  plan
 *    32  the remote end: four words and port                   56  the message
 */
const HEAD = 0;
const TAIL = 16;
const WRITERS = 24;
const FIRST = 128;
const ENTRY = 16;
const HEADER = 56;
const UNIT = 8;
/** A record with its header is never shorter: so many entries are enough. */
const SHORTEST = 64;
/** Units of room made at once, at most an eighth of the tape: what is told of the tail costs the same for one record and for twenty. */
const STRIDE = 2048;

export const DIRECTION = { received: 0, sent: 1 } as const;

/** Memory of one tape. `bytes`: of its records, a power of two; a quarter comes on top for the index. */
export const createTape = (bytes: number): SharedArrayBuffer =>
  new SharedArrayBuffer(FIRST + (bytes / SHORTEST) * ENTRY + bytes);

/** A tape's memory as its parts. */
function partsOf(tape: SharedArrayBuffer) {
  const entries = (tape.byteLength - FIRST) / (ENTRY + SHORTEST);
  const records = FIRST + entries * ENTRY;
  return {
    marks: new Int32Array(tape, 0, FIRST / 4),
    calls: new Float64Array(tape, FIRST, entries * 2),
    places: new Int32Array(tape, FIRST, entries * 4),
    ints: new Int32Array(tape, records),
    floats: new Float64Array(tape, records),
    bytes: new Uint8Array(tape, records),
    entries,
  };
}

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
  /** What is sent is not recorded. */
  muted = false;
  readonly #tape: ReturnType<typeof partsOf>;
  /** In units. */
  readonly #capacity: number;
  readonly #stride: number;
  readonly #now: () => number;
  /** Records written, and the oldest that is still there. */
  #head: number;
  #tail: number;
  /** Where the next record goes and where the oldest stands, in units since the start. */
  #to = 0;
  #from = 0;

  /** `now`: monotonic milliseconds that all threads share. */
  constructor(tape: SharedArrayBuffer, now: () => number) {
    this.#tape = partsOf(tape);
    const { marks, bytes, entries } = this.#tape;
    this.#capacity = bytes.length / UNIT;
    this.#stride = Math.min(STRIDE, this.#capacity >> 3);
    this.#now = now;
    // Where a thread died nobody knows what it was writing: the tape starts anew, at a distance that no reader takes for its own.
    this.#head = this.#tail = (Atomics.load(marks, HEAD) + entries) | 0;
    Atomics.add(marks, WRITERS, 1);
    Atomics.store(marks, TAIL, this.#tail);
    Atomics.store(marks, HEAD, this.#head);
  }

  /** A message came in. */
  received(call: number, bytes: Uint8Array, start: number, end: number, from: Endpoint, listener: number): void {
    this.call = call;
    this.#whole(bytes, start, end, from, listener, DIRECTION.received);
  }

  /** A message goes out. */
  sent(to: Endpoint, message: Segments, listener: number): void {
    const at = this.#begin(message.length, to, listener, DIRECTION.sent);
    if (at < 0) return;
    gather(this.#tape.bytes, at, message);
    this.#publish();
  }

  /** The same, where the message stands in one piece: that is copied faster than its pieces. */
  sentWhole(to: Endpoint, bytes: Uint8Array, start: number, end: number, listener: number): void {
    this.#whole(bytes, start, end, to, listener, DIRECTION.sent);
  }

  #whole(bytes: Uint8Array, start: number, end: number, remote: Endpoint, listener: number, direction: number): void {
    const at = this.#begin(end - start, remote, listener, direction);
    if (at < 0) return;
    this.#tape.bytes.set(bytes.subarray(start, end), at);
    this.#publish();
  }

  /** Writes the record's head; returns where its message goes, −1 where it is longer than the tape. */
  #begin(length: number, remote: Endpoint, listener: number, direction: number): number {
    const units = (HEADER + length + UNIT - 1) >>> 3;
    if (this.muted || units > this.#capacity >> 1) return -1;
    const behind = this.#capacity - (this.#to & (this.#capacity - 1));
    if (units > behind) this.#wrap(behind);
    this.#forget(units);
    const { ints, floats, calls, places, entries } = this.#tape;
    const place = this.#to & (this.#capacity - 1);
    const i = place * 2;
    ints[i] = units;
    ints[i + 1] = length;
    floats[place + 1] = this.#now();
    floats[place + 2] = this.call;
    ints[i + 6] = listener | (remote.transport << 16) | (direction << 24);
    ints[i + 7] = this.plan;
    ints[i + 8] = remote.ip0;
    ints[i + 9] = remote.ip1;
    ints[i + 10] = remote.ip2;
    ints[i + 11] = remote.ip3;
    ints[i + 12] = remote.port;
    const entry = this.#head & (entries - 1);
    calls[entry * 2] = this.call;
    places[entry * 4 + 2] = place;
    this.#to = (this.#to + units) | 0;
    return place * UNIT + HEADER;
  }

  #publish(): void {
    this.#head = (this.#head + 1) | 0;
    Atomics.store(this.#tape.marks, HEAD, this.#head);
  }

  #wrap(behind: number): void {
    this.#forget(behind);
    this.#tape.ints[(this.#to & (this.#capacity - 1)) * 2] = 0;
    this.#to = (this.#to + behind) | 0;
  }

  /** Makes room: what is about to be overwritten is no longer there for readers before it is. */
  #forget(units: number): void {
    if (this.#capacity - ((this.#to - this.#from) | 0) >= units) return;
    while (this.#capacity - ((this.#to - this.#from) | 0) < units + this.#stride) {
      const oldest = this.#from & (this.#capacity - 1);
      const length = this.#tape.ints[oldest * 2]!;
      if (length > 0) this.#tail = (this.#tail + 1) | 0;
      this.#from = (this.#from + (length || this.#capacity - oldest)) | 0;
    }
    Atomics.store(this.#tape.marks, TAIL, this.#tail);
  }
}

/** The control thread's end of one tape. */
export class TapeReader {
  readonly #tape: ReturnType<typeof partsOf>;
  readonly #record = {} as TapeRecord;
  /** Writers that have begun, as far as {@link missed} knows. */
  #writers: number;

  constructor(tape: SharedArrayBuffer) {
    this.#tape = partsOf(tape);
    this.#writers = Atomics.load(this.#tape.marks, WRITERS);
  }

  /** Where the next record will stand: `since` of a scan that wants only what is new. */
  get head(): number {
    return Atomics.load(this.#tape.marks, HEAD);
  }

  /** How many records from `since` on are gone. For a reader that wants all of them, and asks before every scan. */
  missed(since: number): number {
    const { marks, entries } = this.#tape;
    const gone = (Atomics.load(marks, TAIL) - since) | 0;
    if (gone <= 0) return 0;
    // Each writer begins at a distance from the one before, where there never was anything.
    const began = Atomics.load(marks, WRITERS) - this.#writers;
    this.#writers += began;
    return Math.max(0, gone - began * entries);
  }

  /**
   * Goes over the records from `since` (undefined: the oldest) up to `until`, and hands over those of calls that are wanted (`position`: where the
   * record stands), copied. What is overwritten meanwhile is left out. Returns where to go on.
   */
  scan(
    since: number | undefined,
    until: number,
    wanted: (call: number, position: number) => boolean,
    take: (record: TapeRecord, bytes: Uint8Array) => void,
  ): number {
    const { marks, calls, places, entries } = this.#tape;
    const tail = Atomics.load(marks, TAIL);
    let position = since === undefined || ((since - tail) | 0) < 0 ? tail : since;
    for (; ((until - position) | 0) > 0; position = (position + 1) | 0) {
      const entry = position & (entries - 1);
      if (!wanted(calls[entry * 2]!, position)) continue;
      const place = places[entry * 4 + 2]!;
      this.#readHead(place);
      // Where the writer came by meanwhile, what was read may be another record or a piece of one, its length anything: the whole tape would be copied.
      if (this.#isGone(position)) continue;
      const start = place * UNIT + HEADER;
      const copy = this.#tape.bytes.slice(start, start + this.#record.length);
      if (!this.#isGone(position)) take(this.#record, copy);
    }
    return position;
  }

  /** A write that changes nothing: unlike a load it is not done before the reads above it, whatever the processor. */
  #isGone(position: number): boolean {
    return ((Atomics.or(this.#tape.marks, TAIL, 0) - position) | 0) > 0;
  }

  #readHead(place: number): void {
    const { ints, floats } = this.#tape;
    const record = this.#record;
    const i = place * 2;
    const where = ints[i + 6]!;
    record.length = ints[i + 1]!;
    record.time = floats[place + 1]!;
    record.call = floats[place + 2]!;
    record.listener = where & 0xffff;
    record.transport = (where >>> 16) & 255;
    record.direction = where >>> 24;
    record.plan = ints[i + 7]!;
    record.ip0 = ints[i + 8]! >>> 0;
    record.ip1 = ints[i + 9]! >>> 0;
    record.ip2 = ints[i + 10]! >>> 0;
    record.ip3 = ints[i + 11]! >>> 0;
    record.port = ints[i + 12]!;
  }
}
