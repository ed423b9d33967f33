import type { Mailbox, Segments } from '../ports.ts';
import { gather } from './gather.ts';

/** Of each ring, unless asked otherwise. Holds some 300 SIP messages: more than a worker leaves lying between two batches. */
const RING_BYTES = 256 << 10;

/** Ints per cache line: what two threads write must not share one. */
const LINE = 16;
/** Before each record: its length (−1: go on at the front of the ring) and the connection. */
const RECORD_HEADER = 8;
const GO_TO_FRONT = -1;

const AWAKE = 0;
const SLEEPING = 1;

/**
 * Shared memory for the mailboxes between `workers` data threads: for each of them a line with its state, for each
 * ordered pair a line with head and tail, then the rings. A ring has one writer and one reader, so it needs no lock.
 */
export function createMailboxes(workers: number, ringBytes: number = RING_BYTES): SharedArrayBuffer {
  return new SharedArrayBuffer(headBytes(workers) + workers * workers * ringBytes);
}

const headBytes = (workers: number) => (workers + 2 * workers * workers) * LINE * 4;

/**
 * One worker's end. `onMail` is called when something arrived while this worker slept, and should drain; a busy worker
 * drains by itself between batches. `close` ends the waiting.
 *
 * @example
 * const mail = openMailbox(sab, 3, 0, () => mail.drain((connection, bytes, start, end) => …));
 */
export function openMailbox(
  shared: SharedArrayBuffer,
  workers: number,
  self: number,
  onMail: () => void,
): Mailbox & { close(): void } {
  const ring = (from: number, to: number) => new Ring(shared, workers, from, to);
  const outgoing = Array.from({ length: workers }, (_, to) => ring(self, to));
  const incoming = Array.from({ length: workers }, (_, from) => ring(from, self));
  const states = new Int32Array(shared, 0, workers * LINE);
  let closed = false;

  /** Says that it sleeps, looks once more (a post may have come in between), and only then sleeps. */
  const wait = async () => {
    while (!closed) {
      Atomics.store(states, self * LINE, SLEEPING);
      if (incoming.every((r) => r.empty)) {
        const waiting = Atomics.waitAsync(states, self * LINE, SLEEPING);
        if (waiting.async) await waiting.value;
      } else {
        Atomics.store(states, self * LINE, AWAKE);
        // A sender that never pauses must not keep this worker from its sockets.
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      if (!closed) onMail();
    }
  };
  void wait();

  return {
    post(worker, connection, message) {
      if (!outgoing[worker]?.write(connection, message)) return false;
      const at = worker * LINE;
      if (Atomics.compareExchange(states, at, SLEEPING, AWAKE) === SLEEPING) Atomics.notify(states, at);
      return true;
    },
    drain(take) {
      for (const r of incoming) r.read(take);
    },
    close() {
      closed = true;
      Atomics.store(states, self * LINE, AWAKE);
      Atomics.notify(states, self * LINE);
    },
  };
}

/** Head and tail are offsets into the ring; equal means empty, so it is never filled to the last byte. */
class Ring {
  readonly #bytes: Uint8Array;
  readonly #ints: Int32Array;
  readonly #marks: Int32Array;
  readonly #capacity: number;

  constructor(shared: SharedArrayBuffer, workers: number, from: number, to: number) {
    const index = from * workers + to;
    this.#capacity = (shared.byteLength - headBytes(workers)) / (workers * workers);
    this.#marks = new Int32Array(shared, (workers + 2 * index) * LINE * 4, 2 * LINE);
    const at = headBytes(workers) + index * this.#capacity;
    this.#bytes = new Uint8Array(shared, at, this.#capacity);
    this.#ints = new Int32Array(shared, at, this.#capacity / 4);
  }

  get empty(): boolean {
    return Atomics.load(this.#marks, 0) === Atomics.load(this.#marks, LINE);
  }

  /** False: no room. */
  write(connection: number, message: Segments): boolean {
    const size = recordBytes(message.length);
    const at = this.#reserve(size);
    if (at < 0) return false;
    this.#ints[at >> 2] = message.length;
    this.#ints[(at >> 2) + 1] = connection;
    gather(this.#bytes, at + RECORD_HEADER, message);
    // Publishes what was written before it.
    Atomics.store(this.#marks, 0, this.#wrap(at + size));
    return true;
  }

  /** What stands there now; what is written meanwhile waits for the next time. */
  read(take: (connection: number, bytes: Uint8Array, start: number, end: number) => void): void {
    const head = Atomics.load(this.#marks, 0);
    let tail = Atomics.load(this.#marks, LINE);
    while (tail !== head) {
      const length = this.#ints[tail >> 2] as number;
      if (length === GO_TO_FRONT) tail = 0;
      else {
        const start = tail + RECORD_HEADER;
        take(this.#ints[(tail >> 2) + 1] as number, this.#bytes, start, start + length);
        tail = this.#wrap(tail + recordBytes(length));
      }
      Atomics.store(this.#marks, LINE, tail);
    }
  }

  /** Where a record of this size goes, in one piece; −1: nowhere. */
  #reserve(size: number): number {
    const head = Atomics.load(this.#marks, 0);
    const tail = Atomics.load(this.#marks, LINE);
    if (head < tail) return size < tail - head ? head : -1;
    const behind = this.#capacity - head;
    if (size < behind || (size === behind && tail > 0)) return head;
    if (size >= tail) return -1;
    this.#ints[head >> 2] = GO_TO_FRONT;
    return 0;
  }

  #wrap(at: number): number {
    return at === this.#capacity ? 0 : at;
  }
}

/** Records stay aligned to ints. */
const recordBytes = (length: number) => RECORD_HEADER + ((length + 3) & ~3);
