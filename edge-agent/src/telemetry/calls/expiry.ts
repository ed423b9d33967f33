/** Things that are looked at again at some second: kept by second, so that neither adding nor expiring looks at any other. */
export class Expiry<T> {
  readonly #due = new Map<number, T[]>();
  #next: number;

  /** `second`: now, on the clock of the calls. */
  constructor(second: number) {
    this.#next = second;
  }

  /** Not before the next call of {@link advance}. */
  add(item: T, second: number): void {
    const at = Math.max(Math.ceil(second), this.#next);
    const list = this.#due.get(at);
    if (list === undefined) this.#due.set(at, [item]);
    else list.push(item);
  }

  /** Hands over what is due at `second` or was before. */
  advance(second: number, due: (item: T) => void): void {
    while (this.#next <= second) {
      const list = this.#due.get(this.#next);
      this.#due.delete(this.#next);
      // A suspended machine must not make us count its seconds one by one when there is nothing to do.
      this.#next = this.#due.size === 0 && list === undefined ? Math.floor(second) + 1 : this.#next + 1;
      if (list !== undefined) for (const item of list) due(item);
    }
  }
}
