import type { AudioReport } from '../../media/quality.ts';
import { ProbeFault } from './fault.ts';
import type { CallResult, Phase, PhaseResult, Verdict } from './result.ts';

const SEVERITY: Record<Verdict, number> = { ok: 0, warning: 1, critical: 2, unknown: 2 };

/** One phase under way. The first `done` or `fail` counts. */
export interface Entry {
  readonly phase: Phase;
  done(evidence: string, code?: number): void;
  fail(verdict: Verdict, reason: string, code?: number): void;
}

/** What a probe has been through, phase by phase, and the verdict so far: the first of the gravest decides. */
export class Journal {
  readonly #started = performance.now();
  readonly #phases: Partial<Record<Phase, PhaseResult>> = {};
  #current: Entry | undefined;
  #verdict: { verdict: Verdict; phase?: Phase; reason: string; code?: number } = { verdict: 'ok', reason: '' };

  /** The phase that the probe is in. */
  get current(): Phase | undefined {
    return this.#current?.phase;
  }

  /** Starts a phase beside whatever else is under way. */
  begin(phase: Phase): Entry {
    const at = performance.now();
    const close = (ok: boolean, evidence: string, code?: number): void => {
      const ms = performance.now() - at;
      this.#phases[phase] ??= { ok, ms, evidence, ...(code === undefined ? {} : { code }) };
    };
    return {
      phase,
      done: (evidence, code) => close(true, evidence, code),
      fail: (verdict, reason, code) => {
        close(false, reason, code);
        this.#worsen({ verdict, phase, reason, ...(code === undefined ? {} : { code }) });
      },
    };
  }

  /** Starts the phase that the probe is in from now on. */
  enter(phase: Phase): void {
    this.#current = this.begin(phase);
  }

  /** The current phase went well. */
  done(evidence: string, code?: number): void {
    this.#current?.done(evidence, code);
    this.#current = undefined;
  }

  /** The current phase failed. */
  fail(verdict: Verdict, reason: string, code?: number): void {
    this.#current?.fail(verdict, reason, code);
    this.#current = undefined;
    // Between two phases the verdict has no phase.
    this.#worsen({ verdict, reason, ...(code === undefined ? {} : { code }) });
  }

  /** Whatever was thrown fails the current phase. */
  caught(error: unknown): void {
    if (error instanceof ProbeFault) return this.fail(error.verdict, error.message, error.code);
    // Not foreseen: a fault of ours, which says nothing about the peer.
    this.fail('unknown', error instanceof Error ? (error.stack ?? error.message) : String(error));
  }

  /** `success`: the reason of a good verdict. */
  result(clean: boolean, success: string, audio: AudioReport | undefined): CallResult {
    const { reason, ...rest } = this.#verdict;
    return {
      ...rest,
      reason: rest.verdict === 'ok' ? success : reason,
      phases: this.#phases,
      ...(audio ? { audio } : {}),
      clean,
      ms: performance.now() - this.#started,
    };
  }

  #worsen(verdict: { verdict: Verdict; phase?: Phase; reason: string; code?: number }): void {
    if (SEVERITY[verdict.verdict] > SEVERITY[this.#verdict.verdict]) this.#verdict = verdict;
  }
}
