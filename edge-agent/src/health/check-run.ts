import type { Check } from '@sipfleet/contract';
import type { Clock } from '../ports.ts';
import type { Phase } from './call/result.ts';
import type { ProbeOutcome } from './probe.ts';
import { judge, type ProbeResult, UNDECIDED, type Verdict } from './verdict.ts';

export interface CheckDefinition {
  name: string;
  intervalMs: number;
  timeoutMs: number;
  rise: number;
  fall: number;
  /** Made only by the agents that the control plane's schedule names, where there is a control plane. */
  expensive: boolean;
  spec: Check;
}

/** Probes start when the milliseconds since the epoch, modulo `periodMs`, are `phaseMs`: agents that share a clock take turns. */
export interface Slot {
  periodMs: number;
  phaseMs: number;
}

/** When a check is made: at its own interval, in its slots, or not by this agent. */
export type Timing = { kind: 'interval' } | { kind: 'slot'; slot: Slot } | { kind: 'off' };

/** One finished probe. */
export interface CheckResult {
  result: ProbeResult;
  phase?: Phase;
  evidence: string;
  phases?: ProbeOutcome['phases'];
  /** Told once, not kept. */
  messages?: ProbeOutcome['messages'];
  seconds: number;
  /** When it ended, milliseconds since the epoch. */
  at: number;
}

export interface CheckRunPorts {
  probe(definition: CheckDefinition, signal: AbortSignal): Promise<ProbeOutcome>;
  clock: Clock;
  /** 0 ≤ n < 1, places the first probe within its interval. */
  random(): number;
  /** Called after every probe, when the verdict holds it already. `startedAt`: monotonic milliseconds. */
  finished(run: CheckRun, result: CheckResult, startedAt: number): void;
}

/** setTimeout takes no more than this. */
const MAX_TIMER_MS = 2_147_483_647;

const EARLY_MS = 50;

/** One check of one backend: its rhythm, its verdict, its last result. */
export class CheckRun {
  readonly definition: CheckDefinition;
  readonly #ports: CheckRunPorts;
  readonly #stop = new AbortController();
  #timing: Timing = { kind: 'off' };
  #verdict: Verdict;
  #last: CheckResult | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** The probe that is under way. */
  #probing: Promise<CheckResult | undefined> | undefined;
  /** When the next probe of an interval is due, monotonic milliseconds. */
  #due = 0;

  constructor(definition: CheckDefinition, ports: CheckRunPorts, verdict: Verdict = UNDECIDED) {
    this.definition = definition;
    this.#ports = ports;
    this.#verdict = verdict;
  }

  get verdict(): Verdict {
    return this.#verdict;
  }
  get last(): CheckResult | undefined {
    return this.#last;
  }
  get timing(): Timing {
    return this.#timing;
  }

  /** From now on probes start like this. The same timing again changes nothing. A check that is off has no verdict. */
  setTiming(timing: Timing): void {
    if (JSON.stringify(timing) === JSON.stringify(this.#timing)) return;
    this.#timing = timing;
    clearTimeout(this.#timer);
    if (timing.kind === 'off') {
      this.#verdict = UNDECIDED;
      return;
    }
    const { clock, random } = this.#ports;
    // Spread over the interval, so that a farm of 200 backends is not probed in one burst.
    this.#due = clock.monotonic() + random() * this.definition.intervalMs;
    this.#wait();
  }

  /** Probes now, whatever the timing says; joins a probe that is under way. Undefined: it was closed meanwhile. */
  probeNow(): Promise<CheckResult | undefined> {
    this.#probing ??= this.#probe().finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  /** Resolves when a probe that was under way has left nothing behind. Safe to call twice. */
  async close(): Promise<void> {
    this.#timing = { kind: 'off' };
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#probing;
  }

  #wait(): void {
    const ms = this.#untilNext();
    if (ms === undefined) return;
    this.#timer = setTimeout(
      () => {
        if (ms > MAX_TIMER_MS) return this.#wait();
        this.#due += this.definition.intervalMs;
        void this.probeNow().then(() => this.#rest());
      },
      Math.min(ms, MAX_TIMER_MS),
    );
  }

  /** What follows a probe that was due: the wait for the next, unless a new timing has set its own. */
  #rest(): void {
    clearTimeout(this.#timer);
    this.#wait();
  }

  #untilNext(): number | undefined {
    const { clock } = this.#ports;
    if (this.#timing.kind === 'off') return undefined;
    if (this.#timing.kind === 'interval') {
      const now = clock.monotonic();
      // A probe that ended late is not made up for by two in a row.
      this.#due = Math.max(this.#due, now);
      return this.#due - now;
    }
    const { periodMs, phaseMs } = this.#timing.slot;
    const into = (((clock.now() - phaseMs) % periodMs) + periodMs) % periodMs;
    const ms = periodMs - into;
    // A timer may fire a little early: its slot is then still ahead of the clock, and is not to be used twice.
    return ms < EARLY_MS ? ms + periodMs : ms;
  }

  async #probe(): Promise<CheckResult | undefined> {
    const { probe, clock, finished } = this.#ports;
    const startedAt = clock.monotonic();
    const { messages, ...outcome } = await probe(this.definition, this.#stop.signal);
    if (this.#stop.signal.aborted) return undefined;
    const seconds = (clock.monotonic() - startedAt) / 1000;
    const result: CheckResult = { ...outcome, seconds, at: clock.now() };
    this.#last = result;
    if (this.#timing.kind !== 'off') this.#verdict = judge(this.#verdict, outcome.result, this.definition);
    finished(this, messages ? { ...result, messages } : result, startedAt);
    return result;
  }
}
