import { type BackendHealth, type BackendPorts, type HealthTarget, WatchedBackend } from './backend.ts';
import type { Phase } from './call/result.ts';
import type { CheckDefinition, CheckResult, Slot, Timing } from './check-run.ts';
import type { PassiveSignal } from './passive.ts';
import type { ProbeOutcome } from './probe.ts';
import type { ProbeResult, State, Voice } from './verdict.ts';

/** A finished probe, with what it was a probe of. */
export interface ProbeReport {
  farm: string;
  backend: string;
  check: string;
  result: ProbeResult;
  seconds: number;
  evidence: string;
  phase?: Phase;
  phases?: ProbeOutcome['phases'];
  messages?: ProbeOutcome['messages'];
}

/** What a schedule needs from outside; tests bring their own. */
export interface HealthPorts extends Omit<BackendPorts, 'probed'> {
  probed(report: ProbeReport): void;
}

/** An expensive check that the control plane wants this agent to make. */
export interface Assignment extends Slot {
  farm: string;
  backend: string;
  check: string;
}

/** What one of the assigned agents says about a check that this agent does not make. */
export interface SharedVerdict {
  farm: string;
  backend: string;
  check: string;
  agent: string;
  state: 'up' | 'down';
  evidence: string;
}

/** A check of a backend as this agent sees it. `own`: this agent makes it. */
export interface CheckView {
  farm: string;
  backend: string;
  check: string;
  own: boolean;
  expensive: boolean;
  state: State;
  last: CheckResult | undefined;
}

/** What others said is forgotten when it has not been confirmed for this long: then own cheap checks decide alone. */
export const SHARED_MAX_AGE_MS = 180_000;

/** Same farm, name, address and port: then a verdict outlives a change of the configuration. */
const keyOf = (t: HealthTarget): string => `${t.farm}/${t.backend}/${t.address}/${t.port}`;
const checkKey = (t: { farm: string; backend: string; check: string }): string => `${t.farm}/${t.backend}/${t.check}`;

/** Runs every check of every backend, each on its own timer, all in parallel, and holds the verdicts. */
export class HealthSchedule {
  readonly #ports: HealthPorts;
  #backends = new Map<string, WatchedBackend>();
  /** Undefined: no control plane tells who makes expensive checks, so this agent makes all. */
  #assigned: ReadonlyMap<string, Slot> | undefined;
  #forget: NodeJS.Timeout | undefined;
  #shared: readonly SharedVerdict[] = [];

  constructor(ports: HealthPorts) {
    this.#ports = ports;
  }

  /** Runs these targets and no others. Backends that stay keep their verdict, checks that stay keep their rhythm. */
  replace(targets: readonly HealthTarget[]): void {
    const before = this.#backends;
    this.#backends = new Map();
    for (const target of targets) {
      const known = before.get(keyOf(target));
      before.delete(keyOf(target));
      const timing = this.#timingOf(target);
      if (known) known.update(target, timing);
      this.#backends.set(keyOf(target), known ?? new WatchedBackend(target, this.#backendPorts(), timing));
    }
    for (const gone of before.values()) void gone.close();
    this.#spread();
  }

  /** Expensive checks are made as the control plane says, and no others; cheap ones go on. */
  assign(assignments: readonly Assignment[]): void {
    this.#assigned = new Map(assignments.map((a) => [checkKey(a), { periodMs: a.periodMs, phaseMs: a.phaseMs }]));
    for (const backend of this.#backends.values()) backend.retime(this.#timingOf(backend.target));
  }

  /** What the assigned agents say now. To be repeated within {@link SHARED_MAX_AGE_MS}, or it is forgotten. */
  share(verdicts: readonly SharedVerdict[]): void {
    clearTimeout(this.#forget);
    this.#shared = verdicts;
    this.#spread();
    if (verdicts.length > 0) this.#forget = setTimeout(() => this.share([]), SHARED_MAX_AGE_MS);
  }

  /** What a data thread saw of a backend. Without effect where it is not watched. */
  reportPassive(farm: string, backend: string, signal: PassiveSignal): void {
    this.#find(farm, backend)?.reportPassive(signal);
  }

  /** Probes now, beside the schedule. Undefined: there is no such check here. */
  run(farm: string, backend: string, check: string): Promise<CheckResult | undefined> {
    return this.#find(farm, backend)?.runs.get(check)?.probeNow() ?? Promise.resolve(undefined);
  }

  /** The state of every backend that is watched. */
  backends(): BackendHealth[] {
    return [...this.#backends.values()].map((b) => b.health);
  }

  checks(): CheckView[] {
    return [...this.#backends.values()].flatMap(({ target: { farm, backend }, runs }) =>
      [...runs].map(([check, run]) => ({
        farm,
        backend,
        check,
        own: run.timing.kind !== 'off',
        expensive: run.definition.expensive,
        state: run.verdict.state,
        last: run.last,
      })),
    );
  }

  /** What is known of a backend, or what it starts as if it is not watched (yet). */
  stateOf(target: HealthTarget): State {
    const known = this.#backends.get(keyOf(target));
    return known?.health.state ?? (target.checks.length > 0 ? target.startAs : 'unknown');
  }

  /** Resolves when probes that were under way have left nothing behind: a moment, or two seconds where a PBX does not answer. */
  async close(): Promise<void> {
    clearTimeout(this.#forget);
    const closing = [...this.#backends.values()].map((backend) => backend.close());
    this.#backends.clear();
    await Promise.all(closing);
  }

  #find(farm: string, backend: string): WatchedBackend | undefined {
    return [...this.#backends.values()].find((b) => b.target.farm === farm && b.target.backend === backend);
  }

  #backendPorts(): BackendPorts {
    const { probed } = this.#ports;
    return {
      ...this.#ports,
      probed: ({ farm, backend }, { name }, { at: _at, ...result }) =>
        probed({ farm, backend, check: name, ...result }),
    };
  }

  #timingOf({ farm, backend }: HealthTarget): (check: CheckDefinition) => Timing {
    return (check) => {
      if (!check.expensive || !this.#assigned) return { kind: 'interval' };
      const slot = this.#assigned.get(checkKey({ farm, backend, check: check.name }));
      return slot ? { kind: 'slot', slot } : { kind: 'off' };
    };
  }

  /** Hands every backend what others say about it. */
  #spread(): void {
    const voices = new Map<string, Map<string, Voice>>();
    for (const v of this.#shared) {
      const key = `${v.farm}/${v.backend}`;
      const ofBackend = voices.get(key) ?? new Map<string, Voice>();
      voices.set(key, ofBackend);
      const known = ofBackend.get(v.check);
      // Down only where all say so: one agent alone may have lost its own way to the PBX.
      if (known?.state !== 'up')
        ofBackend.set(v.check, { state: v.state, reason: `check ${v.check} by ${v.agent}: ${v.evidence}` });
    }
    for (const backend of this.#backends.values())
      backend.share(voices.get(`${backend.target.farm}/${backend.target.backend}`) ?? new Map());
  }
}
