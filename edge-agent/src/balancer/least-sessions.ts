import type { FarmPlan } from '../plan.ts';

/** What is left after a second of a choice that the numbers do not show yet: a phone rings for some seconds before there is a dialog. */
const KEPT_PER_SECOND = 7 / 8;

/**
 * The backend with the fewest sessions for its weight. Soft: the control thread counts the dialogs that pass this agent, some time after they
 * began; what other agents and other data threads place is seen when it is there. So that not all calls of a moment fall on one backend, a
 * thread adds what it placed lately.
 */
export class LeastSessions {
  readonly #sessions: Int32Array;
  readonly #weights: readonly number[];
  readonly #tiers: readonly number[];
  readonly #placed: Float64Array;
  #second = 0;

  constructor(farm: Pick<FarmPlan, 'backends' | 'sessions'>) {
    this.#sessions = new Int32Array(farm.sessions);
    this.#weights = farm.backends.map((b) => b.weight);
    this.#tiers = farm.backends.map((b) => b.priority);
    this.#placed = new Float64Array(farm.backends.length);
  }

  /** `turn`: who would be next in turn. It says which tier serves, and serves where others have no fewer. `now` in seconds. */
  pick(turn: number, usable: (backend: number) => boolean, now: number): number {
    this.#fade(now);
    let best = turn;
    for (let b = 0; b < this.#tiers.length; b++)
      if (this.#tiers[b] === this.#tiers[turn] && this.#load(b) < this.#load(best) && usable(b)) best = b;
    this.#placed[best]! += 1;
    return best;
  }

  #load(backend: number): number {
    return (this.#sessions[backend]! + this.#placed[backend]!) / this.#weights[backend]!;
  }

  #fade(now: number): void {
    if (now === this.#second) return;
    const kept = KEPT_PER_SECOND ** Math.max(0, now - this.#second);
    for (let b = 0; b < this.#placed.length; b++) this.#placed[b] = this.#placed[b]! * kept;
    this.#second = now;
  }
}
