import { randomInt } from 'node:crypto';

/** What a table without an entry for a key answers. */
export const NONE = -1;

const SMALLEST = 1024;
/** Beyond this share of slots in use the table doubles. */
const FILL = 0.625;
/** The whole table is looked through in so long: what has expired is counted that much longer at most. */
const SWEEP_MS = 10_000;
/** Numbers of an entry, beside each other so that one look at memory brings all of them. */
const COLUMNS = 3;
const SINCE = 1;
const UNTIL = 2;
const FREE = -1;

/**
 * Soft state by number: who counts it, since when and until when (milliseconds on one clock). Kept in two arrays, open addressing with linear
 * probing, so that an entry that comes and goes allocates nothing and the garbage collector has nothing to look at. Slots are valid until the next
 * change of the table.
 */
export class SoftTable<Owner> {
  readonly #most: number;
  /** Which numbers come to stand beside each other, no stranger can know. */
  readonly #salt = randomInt(0x4000_0000) * 2 + 1;
  #owners: (Owner | undefined)[];
  /** Key, since, until of each slot. */
  #entries: Float64Array;
  #mask: number;
  #shift: number;
  #size = 0;
  #cursor = 0;
  #sweptAt: number;

  /** `most`: entries. `now` on the clock of {@link sweep}. */
  constructor(most: number, now: number) {
    this.#most = most;
    this.#sweptAt = now;
    this.#owners = new Array<Owner | undefined>(SMALLEST).fill(undefined);
    this.#entries = new Float64Array(SMALLEST * COLUMNS).fill(FREE);
    this.#mask = SMALLEST - 1;
    this.#shift = 32 - Math.log2(SMALLEST);
  }

  get size(): number {
    return this.#size;
  }

  /** The slot of `key` (an integer from 0 to 2^53), or {@link NONE}. */
  find(key: number): number {
    const slot = this.#place(key);
    return this.#entries[slot * COLUMNS] === key ? slot : NONE;
  }

  /** Of a key that is not there. Returns false where there is no room. */
  add(key: number, owner: Owner, since: number, until: number): boolean {
    if (this.#size >= this.#most) return false;
    if (this.#size >= (this.#mask + 1) * FILL) this.#resize((this.#mask + 1) * 2);
    this.#size++;
    this.#put(this.#place(key), key, owner, since, until);
    return true;
  }

  owner(slot: number): Owner {
    return this.#owners[slot] as Owner;
  }

  setOwner(slot: number, owner: Owner): void {
    this.#owners[slot] = owner;
  }

  since(slot: number): number {
    return this.#entries[slot * COLUMNS + SINCE]!;
  }

  setUntil(slot: number, until: number): void {
    this.#entries[slot * COLUMNS + UNTIL] = until;
  }

  remove(slot: number): void {
    const entries = this.#entries;
    let hole = slot;
    // What follows moves up to the hole, unless that is before the place where a search for it begins.
    for (let next = (slot + 1) & this.#mask; entries[next * COLUMNS] !== FREE; next = (next + 1) & this.#mask) {
      const home = this.#home(entries[next * COLUMNS]!);
      if (((next - home) & this.#mask) < ((next - hole) & this.#mask)) continue;
      entries.copyWithin(hole * COLUMNS, next * COLUMNS, (next + 1) * COLUMNS);
      this.#owners[hole] = this.#owners[next];
      hole = next;
    }
    entries[hole * COLUMNS] = FREE;
    this.#owners[hole] = undefined;
    this.#size--;
  }

  /** Removes what has expired, a piece of the table at a time, and hands over who counted it, and as what. */
  sweep(now: number, expired: (owner: Owner, key: number) => void): void {
    const slots = this.#mask + 1;
    let left = Math.min(slots, Math.ceil(((now - this.#sweptAt) / SWEEP_MS) * slots));
    this.#sweptAt = now;
    for (; left > 0; left--) {
      const at = this.#cursor * COLUMNS;
      const key = this.#entries[at]!;
      // Another one may have moved to its place: that is looked at once more.
      if (key !== FREE && this.#entries[at + UNTIL]! <= now) {
        const owner = this.owner(this.#cursor);
        this.remove(this.#cursor);
        expired(owner, key);
        left++;
      } else this.#cursor = (this.#cursor + 1) & this.#mask;
    }
    if (slots > SMALLEST && this.#size < slots / 8) this.#resize(slots / 2);
  }

  #home(key: number): number {
    // `>>>` takes a number modulo 2^32.
    return Math.imul((key >>> 0) ^ (key / 4294967296), this.#salt) >>> this.#shift;
  }

  /** Where `key` is, or would go. */
  #place(key: number): number {
    let slot = this.#home(key);
    for (let found = this.#entries[slot * COLUMNS]; found !== key && found !== FREE; ) {
      slot = (slot + 1) & this.#mask;
      found = this.#entries[slot * COLUMNS];
    }
    return slot;
  }

  #put(slot: number, key: number, owner: Owner, since: number, until: number): void {
    const at = slot * COLUMNS;
    this.#entries[at] = key;
    this.#entries[at + SINCE] = since;
    this.#entries[at + UNTIL] = until;
    this.#owners[slot] = owner;
  }

  #resize(slots: number): void {
    const owners = this.#owners;
    const entries = this.#entries;
    this.#owners = new Array<Owner | undefined>(slots).fill(undefined);
    this.#entries = new Float64Array(slots * COLUMNS).fill(FREE);
    this.#mask = slots - 1;
    this.#shift = 32 - Math.log2(slots);
    this.#cursor = 0;
    for (const [slot, owner] of owners.entries()) {
      const at = slot * COLUMNS;
      const key = entries[at]!;
      if (key !== FREE) this.#put(this.#place(key), key, owner as Owner, entries[at + SINCE]!, entries[at + UNTIL]!);
    }
  }
}
