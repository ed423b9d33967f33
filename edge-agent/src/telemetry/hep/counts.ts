import type { HepLoss } from './feed.ts';

/** What the HEP thread counts in shared memory: it alone writes, the control thread reads at scrapes. */
const FIELDS = ['sent', 'overwritten', 'too_long', 'send_failed', 'busy', 'open', 'probes'] as const;
type Field = (typeof FIELDS)[number];

/** Why a message did not reach the server. `send_failed`: the network refused it; `busy`: a probe's, at a time when nothing could be sent. */
export type HepLossReason = HepLoss | 'send_failed' | 'busy';
export const HEP_LOSSES: readonly HepLossReason[] = ['overwritten', 'too_long', 'send_failed', 'busy'];

export const createHepCounts = (): SharedArrayBuffer =>
  new SharedArrayBuffer(FIELDS.length * Float64Array.BYTES_PER_ELEMENT);

export class HepCounts {
  readonly #cells: Float64Array;

  constructor(memory: SharedArrayBuffer) {
    this.#cells = new Float64Array(memory);
  }

  get(field: Field): number {
    return this.#cells[FIELDS.indexOf(field)] as number;
  }
  set(field: Field, value: number): void {
    this.#cells[FIELDS.indexOf(field)] = value;
  }
  add(field: Field, count = 1): void {
    this.set(field, this.get(field) + count);
  }
}
