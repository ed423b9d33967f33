/** Bytes that wait to be sent on all connections of a worker: each tells its share when it may have changed. */
export class QueueBudget {
  bytes = 0;
}

/** One connection's share. */
export class QueueShare {
  readonly #budget: QueueBudget;
  #bytes = 0;

  constructor(budget: QueueBudget) {
    this.#budget = budget;
  }

  set(bytes: number): void {
    this.#budget.bytes += bytes - this.#bytes;
    this.#bytes = bytes;
  }

  /**
   * There is room for `length` more bytes. A connection with nothing waiting gets one message on top in any case: its peer reads, as far as
   * is known, and must not suffer for those that do not.
   */
  admits(length: number, most: number): boolean {
    return this.#bytes === 0 || this.#budget.bytes + length <= most;
  }
}
