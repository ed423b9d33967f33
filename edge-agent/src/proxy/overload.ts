/** How long one look lasts. */
const WINDOW_MS = 100;
/** Looks in a row that find this thread behind before anything is refused: a burst or a pause of the garbage collector is none. */
const SUSTAINED = 2;
/**
 * Of all new work, more with every look that finds it behind still; and what is left of the share with every other look: half in a second, since
 * at twice the capacity a socket's buffer fills within a tenth of one.
 */
const STEP = 0.2;
const DECAY = 0.93;
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
 * load is felt). Behind is: every turn of the event loop used up its budget of datagrams and left more waiting in the socket, or the loop itself
 * came late. The share of new work that is refused rises in steps while that lasts, and falls away when it does not.
 */
export class Overload {
  /** Share of new requests that is refused, 0 to 1. */
  share = 0;
  /** Even a refusal costs too much: new requests are dropped. */
  hopeless = false;
  #windowEnd = 0;
  #saturated = 0;
  #drained = 0;
  #late = false;
  #behind = 0;

  /** A turn took all the datagrams that it may and left more. Monotonic milliseconds. */
  saturated(now: number): void {
    this.#pass(now);
    this.#saturated++;
  }

  /** A turn emptied the socket. */
  drained(now: number): void {
    this.#pass(now);
    this.#drained++;
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

  /** Looks once a window. */
  #pass(now: number): void {
    if (now < this.#windowEnd) return;
    if (this.#windowEnd > 0) this.#look();
    this.#windowEnd = now + WINDOW_MS;
  }

  #look(): void {
    const behind = this.#late || this.#saturated > this.#drained;
    this.#saturated = this.#drained = 0;
    this.#late = false;
    this.#behind = behind ? this.#behind + 1 : 0;
    if (!behind) {
      this.share = this.share * DECAY < LEAST ? 0 : this.share * DECAY;
      this.hopeless = false;
      return;
    }
    if (this.share > 0 || this.#behind >= SUSTAINED) this.share = Math.min(1, this.share + STEP);
    this.hopeless = this.share === 1 && this.#behind >= SUSTAINED + 1 / STEP + HOPELESS;
  }
}
