/** Ticks of 8 ms are fine enough for T1 = 500 ms, and 3 levels of 256 slots reach past 37 hours. */
export const TICK_MS = 8;
const BITS = 8;
const SLOTS = 1 << BITS;
const LEVELS = 3;
const NIL = -1;

/**
 * A hierarchical timing wheel (Varghese, Lauck 1987): starting, stopping and firing a timer cost O(1) and allocate nothing.
 * Timers are small integers, given out by the owner: one per (transaction, timer) pair, so that a timer cannot run twice.
 */
export class TimerWheel {
  readonly #capacity: number;
  /** Doubly linked lists through all timers, one per slot. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #dueTick: Float64Array;
  readonly #heads = new Int32Array(LEVELS * SLOTS).fill(NIL);
  /** Slot in which a timer waits, −1 when it does not run. */
  readonly #slot: Int32Array;
  #tick: number;
  #running = 0;

  /** `now`: any clock in milliseconds, the same one that {@link advance} is given. */
  constructor(capacity: number, now: number) {
    this.#capacity = capacity;
    this.#next = new Int32Array(capacity).fill(NIL);
    this.#previous = new Int32Array(capacity).fill(NIL);
    this.#slot = new Int32Array(capacity).fill(NIL);
    this.#dueTick = new Float64Array(capacity);
    this.#tick = Math.floor(now / TICK_MS);
  }

  /** How many timers run. */
  get running(): number {
    return this.#running;
  }

  /** Starts or restarts a timer that is due at `due` milliseconds; never earlier, up to one tick later. */
  start(timer: number, due: number): void {
    if (timer < 0 || timer >= this.#capacity)
      throw new RangeError(`timer ${timer}; allowed: 0 to ${this.#capacity - 1}`);
    this.stop(timer);
    this.#dueTick[timer] = Math.max(Math.ceil(due / TICK_MS), this.#tick + 1);
    this.#link(timer);
    this.#running++;
  }

  /** Without effect on a timer that does not run. */
  stop(timer: number): void {
    if (this.#slot[timer] === NIL) return;
    this.#unlink(timer);
    this.#running--;
  }

  /** Fires everything due up to `now`, in order of ticks. `fire` may start and stop any timer. */
  advance(now: number, fire: (timer: number) => void): void {
    const end = Math.floor(now / TICK_MS);
    if (this.#running === 0) {
      // An idle worker does not walk the ticks that it slept through.
      if (end > this.#tick) this.#tick = end;
      return;
    }
    while (this.#tick < end) {
      this.#tick++;
      this.#cascade();
      const slot = this.#tick & (SLOTS - 1);
      for (let timer = this.#heads[slot]!; timer !== NIL; timer = this.#heads[slot]!) {
        this.#unlink(timer);
        this.#running--;
        fire(timer);
      }
    }
  }

  /** When a lower level has turned once, the next slot of the level above is spread over it. */
  #cascade(): void {
    for (let level = 1; level < LEVELS; level++) {
      if ((this.#tick & ((1 << (BITS * level)) - 1)) !== 0) return;
      const slot = level * SLOTS + ((this.#tick >>> (BITS * level)) & (SLOTS - 1));
      let timer = this.#heads[slot]!;
      this.#heads[slot] = NIL;
      while (timer !== NIL) {
        const following = this.#next[timer]!;
        this.#link(timer);
        timer = following;
      }
    }
  }

  #link(timer: number): void {
    const slot = this.#slotFor(this.#dueTick[timer]!);
    const head = this.#heads[slot]!;
    this.#next[timer] = head;
    this.#previous[timer] = NIL;
    if (head !== NIL) this.#previous[head] = timer;
    this.#heads[slot] = timer;
    this.#slot[timer] = slot;
  }

  #unlink(timer: number): void {
    const slot = this.#slot[timer]!;
    const next = this.#next[timer]!;
    const previous = this.#previous[timer]!;
    if (next !== NIL) this.#previous[next] = previous;
    if (previous === NIL) this.#heads[slot] = next;
    else this.#next[previous] = next;
    this.#slot[timer] = NIL;
  }

  #slotFor(due: number): number {
    const ahead = due - this.#tick;
    if (ahead < SLOTS) return due & (SLOTS - 1);
    if (ahead < SLOTS * SLOTS) return SLOTS + ((due >>> BITS) & (SLOTS - 1));
    // Farther than the wheel reaches: the last slot of the top level; it is sorted in again when its time comes.
    const reach = Math.min(due, this.#tick + SLOTS * SLOTS * (SLOTS - 1));
    return 2 * SLOTS + (Math.floor(reach / (SLOTS * SLOTS)) & (SLOTS - 1));
  }
}
