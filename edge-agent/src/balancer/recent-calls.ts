import { type HashKey, hashKey } from '../sip/hash.ts';
import { BackendIds } from './backend-ids.ts';

/** RFC 3261 Timer B/F, 64 × T1: as long as a transaction can last, its retransmissions, ACK and CANCEL must find the same backend. */
const REMEMBER_SECONDS = 32;
const SLOTS = 1 << 16;
/** Both halves of the hash, id of the backend + 1, and the second until which it counts. */
const WIDTH = 4;
const KEY_BYTES = 16;

/**
 * Shared memory of one farm's {@link RecentCalls}, for all data threads and over every plan: 16 random bytes as the key of its hash, then
 * the slots.
 */
export function createRecentCalls(): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(KEY_BYTES + SLOTS * WIDTH * Int32Array.BYTES_PER_ELEMENT);
  const key = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  new Uint8Array(memory).set(key);
  return memory;
}

/**
 * Which backend a call was given, by a 64-bit hash of its Call-ID. Direct-mapped and bounded: a newer call may push out an older one,
 * which then is only placed again.
 */
export class RecentCalls {
  /** Of the hash that {@link find} and {@link keep} go by. */
  readonly key: HashKey;
  readonly #table: Int32Array;
  readonly #backends: BackendIds;

  constructor(memory: SharedArrayBuffer, backends: readonly { id: number }[]) {
    this.key = hashKey(new Uint8Array(memory, 0, KEY_BYTES));
    this.#table = new Int32Array(memory, KEY_BYTES);
    this.#backends = new BackendIds(backends);
  }

  /** Index of the backend, −1 where unknown or expired. `now` in seconds. */
  find(low: number, high: number, now: number): number {
    const table = this.#table;
    const at = (low & (SLOTS - 1)) * WIDTH;
    if (table[at] !== (low | 0) || table[at + 1] !== (high | 0) || ((table[at + 3]! - now) | 0) <= 0) return -1;
    return this.#backends.indexOf(table[at + 2]!);
  }

  keep(low: number, high: number, backend: number, now: number): void {
    const table = this.#table;
    const at = (low & (SLOTS - 1)) * WIDTH;
    table[at] = low;
    table[at + 1] = high;
    table[at + 2] = this.#backends.wordOf(backend);
    table[at + 3] = now + REMEMBER_SECONDS;
  }
}
