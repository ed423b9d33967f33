/**
 * Backends in memory that outlives a plan: by their ids, so that a plan which numbers them otherwise finds them all the same. 0 in such memory
 * stands for none.
 */
export class BackendIds {
  readonly #ids: readonly number[];
  readonly #indexes: ReadonlyMap<number, number>;

  constructor(backends: readonly { id: number }[]) {
    this.#ids = backends.map(({ id }) => id);
    this.#indexes = new Map(this.#ids.map((id, i) => [id, i]));
  }

  /** What is written for the backend of this index. */
  wordOf(index: number): number {
    return this.#ids[index]! + 1;
  }

  /** Index of the backend that a word stands for, −1 where the plan has none such. */
  indexOf(word: number): number {
    return this.#indexes.get(word - 1) ?? -1;
  }
}
