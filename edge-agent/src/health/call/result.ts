import type { AudioReport } from '../../media/quality.ts';

/** The steps of a probe, in order. `unregister` stands last: what a probe registered it takes back. */
export const PHASES = [
  'resolve',
  'connect',
  'register',
  'invite',
  'ring',
  'answer',
  'media',
  'bye',
  'unregister',
] as const;
export type Phase = (typeof PHASES)[number];

/** What one step came to. A phase that was not reached or not asked for has no entry in the result. */
export interface PhaseResult {
  ok: boolean;
  /** Milliseconds that the phase took. */
  ms: number;
  /** Last SIP status code of the phase. */
  code?: number;
  /** What was seen, for an operator: `180 Ringing`, `150 packets sent, 148 received`. Holds no credentials. */
  evidence: string;
}

/**
 * `ok`; `warning`: the call was proven, but not everything around it; `critical`: the peer failed; `unknown`: nothing is
 * known about the peer, because the probe was stopped or this host could not try.
 */
export type Verdict = 'ok' | 'warning' | 'critical' | 'unknown';

/** What came of a probe. */
export interface CallResult {
  verdict: Verdict;
  /** The phase that decided, where the verdict is not `ok`. */
  phase?: Phase;
  /** One line that says why. */
  reason: string;
  /** The final status code that decided, where one did. */
  code?: number;
  phases: Partial<Record<Phase, PhaseResult>>;
  /** Audio of the call, once answered. */
  audio?: AudioReport;
  /** Whatever was opened has been closed and the peer said so: no dialog, no registration is left behind. */
  clean: boolean;
  /** Milliseconds of the whole probe. */
  ms: number;
}
