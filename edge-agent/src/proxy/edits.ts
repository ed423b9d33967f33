import { MAX_HEADERS } from '../sip/message.ts';
import type { Splice } from '../sip/splice.ts';

/** One for every header line, since each may be a Route of ours, and a few for the rest. */
const CAPACITY = MAX_HEADERS + 16;

/** Changes to a received message: each replaces a range of it (empty for an insertion) by text from the arena (empty for a removal). */
export class Edits {
  #count = 0;
  readonly #from = new Int32Array(CAPACITY);
  readonly #to = new Int32Array(CAPACITY);
  readonly #textStart = new Int32Array(CAPACITY);
  readonly #textEnd = new Int32Array(CAPACITY);

  /** Another edit can be made. */
  get room(): boolean {
    return this.#count < CAPACITY;
  }

  reset(): this {
    this.#count = 0;
    return this;
  }

  /** Ranges must not overlap. Insertions at one place come out in the order in which they were made. */
  replace(from: number, to: number, textStart: number, textEnd: number): void {
    if (to < from) throw new RangeError(`an edit from ${from} back to ${to}`);
    if (this.#count === CAPACITY) throw new RangeError(`more than ${CAPACITY} edits of one message`);
    let i = this.#count++;
    for (; i > 0 && this.#from[i - 1]! > from; i--) {
      this.#from[i] = this.#from[i - 1]!;
      this.#to[i] = this.#to[i - 1]!;
      this.#textStart[i] = this.#textStart[i - 1]!;
      this.#textEnd[i] = this.#textEnd[i - 1]!;
    }
    this.#from[i] = from;
    this.#to[i] = to;
    this.#textStart[i] = textStart;
    this.#textEnd[i] = textEnd;
  }

  /** By how many bytes the message gets longer; below 0: shorter. */
  get growth(): number {
    let growth = 0;
    for (let i = 0; i < this.#count; i++)
      growth += this.#textEnd[i]! - this.#textStart[i]! - (this.#to[i]! - this.#from[i]!);
    return growth;
  }

  remove(from: number, to: number): void {
    this.replace(from, to, 0, 0);
  }

  /** Appends `bytes[start, end)` with the edits made to `splice`; edits outside of the range are left out. `text`: the arena. */
  apply(splice: Splice, bytes: Uint8Array, start: number, end: number, text: Uint8Array): void {
    let at = start;
    for (let i = 0; i < this.#count; i++) {
      const from = this.#from[i]!;
      if (from < start || this.#to[i]! > end) continue;
      splice.add(bytes, at, from);
      splice.add(text, this.#textStart[i]!, this.#textEnd[i]!);
      // An insertion within a removed range does not bring the range back.
      if (this.#to[i]! > at) at = this.#to[i]!;
    }
    splice.add(bytes, at, end);
  }
}
