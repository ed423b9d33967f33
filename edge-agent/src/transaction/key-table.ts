const EMPTY = -1;
const FIRST_SLOTS = 256;

/**
 * Keys of transactions (whole numbers of 53 bits that a keyed hash gave, never 0) → small integers from 0 up, such as a place in an array. Open addressing with
 * linear probing, at most half full, nothing left behind by a removal: no operation but growing allocates. Small while little is in it, so that it stays in the cache.
 */
export class KeyTable {
  #mask = FIRST_SLOTS - 1;
  #keys = new Float64Array(FIRST_SLOTS);
  #values = new Int32Array(FIRST_SLOTS).fill(EMPTY);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** −1: it is not there. */
  get(key: number): number {
    const keys = this.#keys;
    const values = this.#values;
    const mask = this.#mask;
    for (let slot = key & mask; values[slot] !== EMPTY; slot = (slot + 1) & mask)
      if (keys[slot] === key) return values[slot]!;
    return -1;
  }

  /** Adds it or gives it another value. */
  set(key: number, value: number): void {
    let slot = key & this.#mask;
    while (this.#values[slot] !== EMPTY && this.#keys[slot] !== key) slot = (slot + 1) & this.#mask;
    if (this.#values[slot] === EMPTY) this.#size++;
    this.#keys[slot] = key;
    this.#values[slot] = value;
    if (2 * this.#size > this.#mask) this.#grow();
  }

  /** Without effect where it is not there. */
  delete(key: number): void {
    const keys = this.#keys;
    const values = this.#values;
    const mask = this.#mask;
    let hole = key & mask;
    while (keys[hole] !== key || values[hole] === EMPTY) {
      if (values[hole] === EMPTY) return;
      hole = (hole + 1) & mask;
    }
    this.#size--;
    // Whoever stands behind the hole and could not be found past it moves into it.
    for (let slot = (hole + 1) & mask; values[slot] !== EMPTY; slot = (slot + 1) & mask) {
      const home = keys[slot]! & mask;
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      keys[hole] = keys[slot]!;
      values[hole] = values[slot]!;
      hole = slot;
    }
    values[hole] = EMPTY;
  }

  #grow(): void {
    const keys = this.#keys;
    const values = this.#values;
    const slots = 2 * keys.length;
    this.#mask = slots - 1;
    this.#keys = new Float64Array(slots);
    this.#values = new Int32Array(slots).fill(EMPTY);
    this.#size = 0;
    for (let slot = 0; slot < keys.length; slot++) if (values[slot] !== EMPTY) this.set(keys[slot]!, values[slot]!);
  }
}
