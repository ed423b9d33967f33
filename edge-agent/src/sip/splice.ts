import type { Segments } from '../ports.ts';
import { MAX_HEADERS } from './message.ts';

/** Pieces for an edit of every header line, which a hostile message can ask for (a Route of ours in each), and for what else is written. */
const CAPACITY = 4 * MAX_HEADERS;

/** A message under edit: pieces of received bytes with new text between them. Reused for every message. */
export class Splice implements Segments {
  count = 0;
  length = 0;
  readonly bytes: Uint8Array[] = new Array(CAPACITY).fill(new Uint8Array(0));
  readonly start = new Int32Array(CAPACITY);
  readonly end = new Int32Array(CAPACITY);

  reset(): this {
    this.count = 0;
    this.length = 0;
    return this;
  }

  /** Appends `bytes[start, end)`. Empty pieces vanish; a piece that goes on where the last one ended is joined to it. */
  add(bytes: Uint8Array, start: number, end: number): void {
    if (end <= start) return;
    const last = this.count - 1;
    if (last >= 0 && this.bytes[last] === bytes && this.end[last] === start) this.end[last] = end;
    else {
      if (this.count === CAPACITY) throw new RangeError(`a message of more than ${CAPACITY} pieces`);
      this.bytes[this.count] = bytes;
      this.start[this.count] = start;
      this.end[this.count] = end;
      this.count++;
    }
    this.length += end - start;
  }
}

/** Segments → one new buffer. For streams, tests and slow paths. */
export function joinSegments(message: Segments): Uint8Array {
  const out = new Uint8Array(message.length);
  let at = 0;
  for (let i = 0; i < message.count; i++) {
    const piece = message.bytes[i]!.subarray(message.start[i]!, message.end[i]!);
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
