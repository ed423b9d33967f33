/** What a backend is held to be. `unknown` lasts until the first verdict. */
export type State = 'unknown' | 'up' | 'down';
/** `inconclusive`: nothing was learnt about the backend, because the probe was stopped or this host could not try. */
export type ProbeResult = 'success' | 'failure' | 'inconclusive';

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
  if (result === 'inconclusive') return verdict;
  const transition = TABLE[verdict.state][result];
  if (!transition) return { state: verdict.state, streak: 0 };
  const streak = verdict.streak + 1;
  return streak >= transition.after(thresholds) ? { state: transition.next, streak: 0 } : { ...verdict, streak };
}

/** One thing that speaks about a backend, with why. */
export interface Voice {
  state: State;
  reason: string;
}

/** All that is known about a backend. */
export interface Evidence {
  /** Checks that this agent makes. */
  own: readonly Voice[];
  /** Checks that other agents of the site make, one voice per check; without those whose age is over the limit. */
  shared: readonly Voice[];
  /** Traffic found it dead, and nothing has proven it alive since. */
  suspicion: string | undefined;
  /** It went up and down too often, and has to wait. */
  held: string | undefined;
  /** What stands in for `unknown` before anything has been decided. */
  startAs: 'unknown' | 'down';
  /** The backend has checks at all. */
  checked: boolean;
}

type Row = (e: Evidence) => Voice | undefined;
const downIn = (voices: readonly Voice[]): Voice | undefined => voices.find((v) => v.state === 'down');

/** The table of health/README.md: the first row that says something counts. */
const ROWS: readonly Row[] = [
  (e) => downIn(e.own),
  (e) => (e.suspicion === undefined ? undefined : { state: 'down', reason: e.suspicion }),
  (e) => downIn(e.shared),
  (e) => (e.held === undefined ? undefined : { state: 'down', reason: e.held }),
  ({ own, shared }) => {
    const all = [...own, ...shared];
    return all.length > 0 && all.every((v) => v.state === 'up') ? (all.at(-1) as Voice) : undefined;
  },
  ({ own, shared, startAs, checked }) =>
    startAs === 'down' && checked && [...own, ...shared].every((v) => v.state === 'unknown')
      ? { state: 'down', reason: 'not proven yet (health.startAs: down)' }
      : undefined,
];

/** What a backend is, and which voice decided. */
export function derive(evidence: Evidence): Voice {
  for (const row of ROWS) {
    const voice = row(evidence);
    if (voice) return voice;
  }
  return { state: 'unknown', reason: evidence.checked ? 'not probed yet' : 'no checks configured' };
}
