import type { Clock } from '../ports.ts';
import { type CheckDefinition, type CheckResult, CheckRun, type Timing } from './check-run.ts';
import { Damping, type DampingRule } from './damping.ts';
import { type PassiveSignal, PassiveSignals, SUSPECT_MS } from './passive.ts';
import type { ProbeOutcome, Prober, ProbeTarget } from './probe.ts';
import { derive, type State, type Voice } from './verdict.ts';

/** A backend and everything that is checked about it. */
export interface HealthTarget extends Omit<ProbeTarget, 'timeoutMs' | 'check'> {
  farm: string;
  backend: string;
  checks: readonly CheckDefinition[];
  startAs: 'unknown' | 'down';
  damping?: DampingRule;
}

export interface BackendHealth {
  farm: string;
  backend: string;
  state: State;
  /** When the state began, milliseconds since the epoch. */
  since: number;
  /** Evidence of the last change, at most 200 characters. */
  reason: string;
}

export interface BackendPorts {
  probe: Prober;
  clock: Clock;
  random(): number;
  probed(target: HealthTarget, check: CheckDefinition, result: CheckResult): void;
  changed(health: BackendHealth): void;
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
const MAX_REASON = 200;

/** One backend: its checks, what traffic and other agents say about it, and the state that comes of it. */
export class WatchedBackend {
  readonly #ports: BackendPorts;
  readonly #passive = new PassiveSignals();
  readonly #damping = new Damping();
  readonly #timers = new Set<NodeJS.Timeout>();
  #target: HealthTarget;
  #runs = new Map<string, CheckRun>();
  #shared: ReadonlyMap<string, Voice> = new Map();
  #health: BackendHealth;

  constructor(target: HealthTarget, ports: BackendPorts, timingOf: (check: CheckDefinition) => Timing) {
    this.#ports = ports;
    this.#target = target;
    this.#build(target, timingOf);
    const { farm, backend } = target;
    const { state, reason } = this.#derive();
    this.#health = { farm, backend, state, since: ports.clock.now(), reason };
  }

  get target(): HealthTarget {
    return this.#target;
  }
  get health(): BackendHealth {
    return { ...this.#health };
  }
  get runs(): ReadonlyMap<string, CheckRun> {
    return this.#runs;
  }

  /** A new configuration of the same backend: checks that stay keep their rhythm, changed ones their verdict. */
  update(target: HealthTarget, timingOf: (check: CheckDefinition) => Timing): void {
    const before = this.#target;
    const path = (t: HealthTarget) => [t.transport, t.localAddress, t.tls];
    const samePath = same(path(before), path(target));
    this.#target = target;
    const old = this.#runs;
    this.#runs = new Map();
    for (const definition of target.checks) {
      const run = old.get(definition.name);
      if (run && samePath && same(run.definition, definition)) {
        this.#runs.set(definition.name, run);
        old.delete(definition.name);
      } else this.#add(definition, run);
    }
    for (const run of old.values()) void run.close();
    this.retime(timingOf);
  }

  /** Puts a new schedule into effect. */
  retime(timingOf: (check: CheckDefinition) => Timing): void {
    for (const run of this.#runs.values()) run.setTiming(timingOf(run.definition));
    this.#settle();
  }

  /** What other agents say, by check. Counts for checks that this agent does not make. */
  share(voices: ReadonlyMap<string, Voice>): void {
    if (same([...this.#shared], [...voices])) return;
    this.#shared = voices;
    this.#settle();
  }

  /** What a data thread saw. A backend that becomes suspect is probed at once. */
  reportPassive(signal: PassiveSignal): void {
    // Who says 503 is there: of a trunk behind it, or of one callee. Only where a probe can say at once whether it is more than that does it count.
    if (signal === '503' && !this.#canAsk()) return;
    if (!this.#passive.add(signal, this.#ports.clock.monotonic())) return;
    this.#settle();
    this.#settleIn(SUSPECT_MS);
    for (const run of this.#runs.values()) if (!run.definition.expensive) void run.probeNow();
  }

  /** Some check of it is made by this agent at any time. */
  #canAsk(): boolean {
    for (const run of this.#runs.values()) if (!run.definition.expensive && run.timing.kind !== 'off') return true;
    return false;
  }

  /** Resolves when probes that were under way have left nothing behind. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all([...this.#runs.values()].map((run) => run.close()));
  }

  #build(target: HealthTarget, timingOf: (check: CheckDefinition) => Timing): void {
    for (const definition of target.checks) this.#add(definition, undefined);
    for (const run of this.#runs.values()) run.setTiming(timingOf(run.definition));
  }

  #add(definition: CheckDefinition, before: CheckRun | undefined): void {
    const { clock, random, probed } = this.#ports;
    const run = new CheckRun(
      definition,
      {
        clock,
        random,
        probe: (check, signal) => this.#probe(check, signal),
        finished: (_run, result, startedAt) => {
          if (result.result === 'success') this.#passive.proven(startedAt);
          probed(this.#target, definition, result);
          this.#settle();
        },
      },
      before && { ...before.verdict, streak: 0 },
    );
    this.#runs.set(definition.name, run);
  }

  #probe(check: CheckDefinition, signal: AbortSignal): Promise<ProbeOutcome> {
    return this.#ports.probe({ ...this.#target, timeoutMs: check.timeoutMs, check: check.spec }, signal);
  }

  #derive(): Voice {
    const now = this.#ports.clock.monotonic();
    const { startAs, damping, checks } = this.#target;
    const own: Voice[] = [];
    const shared: Voice[] = [];
    for (const [name, run] of this.#runs) {
      const voice = this.#shared.get(name);
      if (run.timing.kind !== 'off')
        own.push({ state: run.verdict.state, reason: `check ${name}: ${run.last?.evidence ?? 'not probed yet'}` });
      else if (voice) shared.push(voice);
    }
    return derive({
      own,
      shared,
      suspicion: this.#passive.suspicion(now),
      held: this.#damping.held(now, damping),
      startAs,
      checked: checks.length > 0,
    });
  }

  /** Draws the state from all that is known, and tells if it is another one. */
  #settle(): void {
    const { state, reason } = this.#derive();
    const before = this.#health.state;
    if (state === before) return;
    const { clock, changed } = this.#ports;
    this.#health = { ...this.#health, state, since: clock.now(), reason: reason.slice(0, MAX_REASON) };
    if (state === 'down') {
      const holdMs = this.#damping.wentDown(clock.monotonic(), this.#target.damping);
      if (holdMs !== undefined) this.#settleIn(holdMs);
    }
    changed(this.health);
  }

  #settleIn(ms: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#settle();
    }, ms + 1);
    this.#timers.add(timer);
  }
}
