import type { Labels } from './family.ts';

/** One string per series; labels always come in the order of the catalogue. */
export const seriesKey = (name: string, labels: Labels): string => `${name}\u0000${JSON.stringify(labels)}`;

/**
 * Since when each cumulative series counts, in milliseconds since the epoch. A series of the first collection counts since
 * the process started. One that appears later, or whose value went back (its backend left the configuration and came again),
 * counts since the collection before: then it was absent, which is 0.
 */
export class StartTimes {
  #last: number;
  #known = new Map<string, { start: number; value: number }>();
  #seen = new Map<string, { start: number; value: number }>();

  /** @param processStart milliseconds since the epoch */
  constructor(processStart: number) {
    this.#last = processStart;
  }

  /** `value`: the counter's value, or a histogram's count. */
  of(key: string, value: number): number {
    const known = this.#known.get(key);
    const start = known !== undefined && value >= known.value ? known.start : this.#last;
    this.#seen.set(key, { start, value });
    return start;
  }

  /** Ends the collection that was made at `at`: what was not asked for in it is forgotten. */
  collected(at: number): void {
    this.#known = this.#seen;
    this.#seen = new Map();
    this.#last = at;
  }
}
