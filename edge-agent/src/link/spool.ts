import type { VerdictChange } from '@sipfleet/contract';

/** As many as a report may carry. */
const MAX_CHANGES = 200;

/**
 * Changes of backends' states that no report has delivered yet, oldest first. A report says how things are, so one that was lost is made up
 * for by the next; this keeps what happened in between. Bounded: the oldest go first, and are counted.
 */
export class ReportSpool {
  #changes: VerdictChange[] = [];
  #lost = 0;

  add(change: VerdictChange): void {
    this.#changes.push(change);
    if (this.#changes.length <= MAX_CHANGES) return;
    this.#changes.shift();
    this.#lost++;
  }

  /** What the next report carries. Stays here until {@link delivered}. */
  get pending(): { changes: VerdictChange[]; lost: number } {
    return { changes: [...this.#changes], lost: this.#lost };
  }

  /** The report that carried `sent` arrived; what was added meanwhile stays. */
  delivered(sent: { changes: readonly VerdictChange[]; lost: number }): void {
    const arrived = new Set(sent.changes);
    const before = this.#changes.length;
    this.#changes = this.#changes.filter((change) => !arrived.has(change));
    // Those that made room while they were on their way were counted as lost, and were not.
    const madeRoom = arrived.size - (before - this.#changes.length);
    this.#lost -= sent.lost + madeRoom;
  }
}
