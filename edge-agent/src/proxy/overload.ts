/** How long one look lasts. */
const WINDOW_MS = 100;
/**
 * A queue that for a whole look was never shorter than this stands: messages wait, and no burst is the reason (CoDel's idea, RFC 8289 §3). A fifth of
 * T1, so that nobody retransmits for it; a busy thread's socket of 8 MiB holds some 400 ms.
 */
const STANDING_MS = 100;
/** While some is refused already, sooner. */
const STANDING_AGAIN_MS = 40;
/** A queue that gets shorter by this in a look will soon be gone by itself. */
const FALLING_MS = 8;
/** Of what came in a look, dropped by the kernel for want of room: the same as a standing queue, where the socket is too small for one. */
const DROPPED_SHARE = 0.01;
/** Looks in a row that find this thread behind before anything is refused: a burst or a pause of the garbage collector is none. */
const SUSTAINED = 2;
/** Of all new work, more with every look that finds it behind still. */
const STEP = 0.15;
/** What is left of the share with every look that finds no queue: little is given back at first, which finds the share that is just enough; once that stays well, much. */
const CAUTIOUS = 0.9;
const CONFIDENT = 0.7;
const CALM = 5;
/** Below this share nothing is refused. */
const LEAST = 0.02;
/** Looks in a row with everything refused and still behind, after which not even the refusal is sent. */
const HOPELESS = 5;
/** Late by this much, a timer tells that the event loop stood still. */
const LATE_MS = 150;
/** How long a call that was refused is refused again: retries within a call agree, a registration's fixed Call-ID is not shut out for good. */
const MIX_SECONDS = 8;

/**
 * Refuses new work when this data thread falls behind, before the calls that stand suffer (the idea of RFC 7339, loss-based, decided where the
 * load is felt). Behind is: messages wait in the socket all the time, or it overflows, or the event loop itself comes late. The share of new work that is
 * refused rises in steps while that lasts, and falls away when it does not.
 */
export class Overload {
  /** Share of new requests that is refused, 0 to 1. */
  share = 0;
  /** Even a refusal costs too much: new requests are dropped. */
  hopeless = false;
  #windowEnd = 0;
  #leastWait = Infinity;
  #batches = 0;
  #dropped = 0;
  #late = false;
  /** {@link #leastWait} of the last look. */
  #waitBefore = 0;
  #behind = 0;
  #calm = 0;

  /** A batch came out of the socket, whose oldest had stood there so long; the kernel dropped so many before it. `now`: monotonic milliseconds. */
  waited(now: number, milliseconds: number, dropped: number): void {
    this.#pass(now);
    if (milliseconds < this.#leastWait) this.#leastWait = milliseconds;
    this.#batches++;
    this.#dropped += dropped;
  }

  /** Called at a fixed interval, which passes also where nothing comes; `lateMs`: how much later than it was due. */
  tick(now: number, lateMs: number): void {
    if (lateMs > LATE_MS) this.#late = true;
    this.#pass(now);
  }

  /** The new request with this hash (of what its retries share) may go on. */
  admits(hash: number, seconds: number): boolean {
    if (this.share === 0) return true;
    const mixed = Math.imul((hash ^ Math.floor(seconds / MIX_SECONDS)) | 1, 0x9e3779b1) >>> 16;
    return mixed >= this.share * 65_536;
  }

  /** Looks once a window; windows in which nothing happened at all are made up for. */
  #pass(now: number): void {
    if (now < this.#windowEnd) return;
    const missed = Math.floor((now - this.#windowEnd) / WINDOW_MS);
    if (this.#windowEnd > 0) this.#look();
    if (!this.#late && missed > 0) this.#relax(CONFIDENT ** missed);
    this.#late = false;
    this.#windowEnd = now + WINDOW_MS;
  }

  #look(): void {
    const wait = this.#batches > 0 ? this.#leastWait : 0;
    // A batch has 64 datagrams at most: of more of them the share is smaller still.
    const overflowed = this.#dropped > this.#batches * 64 * DROPPED_SHARE;
    const behind = this.#late || wait >= (this.share > 0 ? STANDING_AGAIN_MS : STANDING_MS) || overflowed;
    const falling = !this.#late && !overflowed && wait <= this.#waitBefore - FALLING_MS;
    this.#leastWait = Infinity;
    this.#waitBefore = wait;
    this.#batches = this.#dropped = 0;
    this.#behind = behind ? this.#behind + 1 : 0;
    if (!behind) {
      this.hopeless = false;
      this.#relax(++this.#calm > CALM ? CONFIDENT : CAUTIOUS);
      return;
    }
    this.#calm = 0;
    if (falling) return;
    if (this.share > 0 || this.#behind >= SUSTAINED) this.share = Math.min(1, this.share + STEP);
    this.hopeless = this.share === 1 && this.#behind >= SUSTAINED + 1 / STEP + HOPELESS;
  }

  #relax(factor: number): void {
    this.share = this.share * factor < LEAST ? 0 : this.share * factor;
  }
}
