/** A backend that went down `flaps` times within `withinMs` stays down for `holdMs`. */
export interface DampingRule {
  flaps: number;
  withinMs: number;
  holdMs: number;
}

/** Keeps a backend that comes and goes from taking users with it each time. Times are monotonic milliseconds. */
export class Damping {
  #downs: number[] = [];
  #heldUntil = Number.NEGATIVE_INFINITY;

  /** The backend went down. Returns for how long it is held, in milliseconds; undefined where it is not. */
  wentDown(now: number, rule: DampingRule | undefined): number | undefined {
    if (!rule) {
      this.#downs = [];
      return undefined;
    }
    this.#downs = [...this.#downs.filter((at) => now - at <= rule.withinMs), now];
    if (this.#downs.length < rule.flaps) return undefined;
    this.#downs = [];
    this.#heldUntil = now + rule.holdMs;
    return rule.holdMs;
  }

  /** Why it is held; undefined where it is not. */
  held(now: number, rule: DampingRule | undefined): string | undefined {
    if (!rule || now >= this.#heldUntil) return undefined;
    return `damped: went down ${rule.flaps} times within ${rule.withinMs / 1000}s`;
  }
}
