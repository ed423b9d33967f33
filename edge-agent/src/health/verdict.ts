/** What a backend is held to be. `unknown` lasts until the first verdict, and serves. */
export type State = 'unknown' | 'up' | 'down';
export type ProbeResult = 'success' | 'failure';

/** How many results in a row it takes to change a verdict. */
export interface Thresholds {
  /** Successes that bring a backend that is down up again. */
  rise: number;
  /** Failures that take a backend down. */
  fall: number;
}

export interface Verdict {
  readonly state: State;
  /** Results in a row that speak against `state`; any other result sets it back to 0. */
  readonly streak: number;
}

export const UNDECIDED: Verdict = { state: 'unknown', streak: 0 };

interface Transition {
  next: State;
  /** Results in a row that it takes. */
  after: (t: Thresholds) => number;
}

/** (state, result) → where it leads and when. A pair that is not there confirms the state. */
const TABLE: Record<State, Partial<Record<ProbeResult, Transition>>> = {
  unknown: {
    // The first success is proof enough: a farm that has just been configured must not wait for `rise` intervals.
    success: { next: 'up', after: () => 1 },
    failure: { next: 'down', after: (t) => t.fall },
  },
  up: { failure: { next: 'down', after: (t) => t.fall } },
  down: { success: { next: 'up', after: (t) => t.rise } },
};

/**
 * The verdict after one more probe.
 *
 * @example judge({ state: 'up', streak: 2 }, 'failure', { rise: 2, fall: 3 }) // { state: 'down', streak: 0 }
 */
export function judge(verdict: Verdict, result: ProbeResult, thresholds: Thresholds): Verdict {
  const transition = TABLE[verdict.state][result];
  if (!transition) return { state: verdict.state, streak: 0 };
  const streak = verdict.streak + 1;
  return streak >= transition.after(thresholds) ? { state: transition.next, streak: 0 } : { ...verdict, streak };
}

/** Several checks of one backend: down as soon as one says so, up when all do. */
export function combine(states: readonly State[]): State {
  if (states.includes('down')) return 'down';
  return states.length > 0 && states.every((s) => s === 'up') ? 'up' : 'unknown';
}
