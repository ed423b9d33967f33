import type { Clock } from '../ports.ts';
import type { ProbeOutcome, ProbeTarget } from './options.ts';
import { combine, judge, type ProbeResult, type State, UNDECIDED, type Verdict } from './verdict.ts';

export interface CheckDefinition {
  name: string;
  intervalMs: number;
  timeoutMs: number;
  rise: number;
  fall: number;
}

/** A backend and everything that is checked about it. */
export interface HealthTarget extends Omit<ProbeTarget, 'timeoutMs'> {
  farm: string;
  backend: string;
  checks: readonly CheckDefinition[];
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

export interface ProbeReport {
  farm: string;
  backend: string;
  check: string;
  result: ProbeResult;
  seconds: number;
  evidence: string;
}

/** What a schedule needs from outside; tests bring their own. */
export interface HealthPorts {
  probe(target: ProbeTarget, signal: AbortSignal): Promise<ProbeOutcome>;
  clock: Clock;
  /** 0 ≤ n < 1, places the first probe of every check within its interval. */
  random(): number;
  probed(report: ProbeReport): void;
  changed(health: BackendHealth): void;
}

interface Run {
  definition: CheckDefinition;
  verdict: Verdict;
  stop: AbortController;
  /** The wait for the next probe; undefined before the run was started. */
  timer?: NodeJS.Timeout;
}

interface Entry {
  target: HealthTarget;
  health: BackendHealth;
  runs: Map<string, Run>;
}

/** Same farm, name, address and port: then a verdict outlives a change of the configuration. */
type Identity = Pick<HealthTarget, 'farm' | 'backend' | 'address' | 'port'>;
const keyOf = (t: Identity): string => `${t.farm}/${t.backend}/${t.address}/${t.port}`;
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Runs every check of every backend, each on its own timer, all in parallel, and holds the verdicts. */
export class HealthSchedule {
  readonly #ports: HealthPorts;
  #entries = new Map<string, Entry>();

  constructor(ports: HealthPorts) {
    this.#ports = ports;
  }

  /** Runs these targets and no others. Backends that stay keep their verdict, checks that stay keep their rhythm. */
  replace(targets: readonly HealthTarget[]): void {
    const before = this.#entries;
    this.#entries = new Map();
    for (const target of targets) {
      const key = keyOf(target);
      const old = before.get(key);
      const entry = this.#adopt(target, old);
      this.#entries.set(key, entry);
      for (const run of entry.runs.values()) if (!run.timer) this.#start(key, run);
      if (!old) continue;
      stopAll(old);
      before.delete(key);
      this.#settle(entry, target.checks.length > 0 ? 'checks were changed' : 'no checks configured');
    }
    for (const gone of before.values()) stopAll(gone);
  }

  /** The state of every backend that is watched. */
  backends(): BackendHealth[] {
    return [...this.#entries.values()].map((e) => ({ ...e.health }));
  }

  /** What is known of a backend; `unknown` if it is not watched (yet). */
  stateOf(backend: Identity): State {
    return this.#entries.get(keyOf(backend))?.health.state ?? 'unknown';
  }

  close(): void {
    for (const entry of this.#entries.values()) stopAll(entry);
    this.#entries.clear();
  }

  /** An entry for `target` that takes over what `old` has in common with it. Runs that stay are taken out of `old`. */
  #adopt(target: HealthTarget, old: Entry | undefined): Entry {
    const { farm, backend } = target;
    const reason = target.checks.length > 0 ? 'not probed yet' : 'no checks configured';
    const health = old?.health ?? { farm, backend, state: 'unknown', since: this.#ports.clock.now(), reason };
    const entry: Entry = { target, health, runs: new Map() };
    const samePath = old?.target.transport === target.transport && old.target.localAddress === target.localAddress;
    for (const definition of target.checks) {
      const was = old?.runs.get(definition.name);
      if (was && samePath && same(was.definition, definition)) {
        entry.runs.set(definition.name, was);
        old?.runs.delete(definition.name);
      } else {
        const verdict = was ? { ...was.verdict, streak: 0 } : UNDECIDED;
        entry.runs.set(definition.name, { definition, verdict, stop: new AbortController() });
      }
    }
    return entry;
  }

  #start(key: string, run: Run): void {
    // Spread over the interval, so that a farm of 200 backends is not probed in one burst.
    run.timer = setTimeout(() => void this.#probe(key, run), this.#ports.random() * run.definition.intervalMs);
  }

  async #probe(key: string, run: Run): Promise<void> {
    const { probe, clock } = this.#ports;
    const target = this.#entries.get(key)?.target;
    if (!target) return;
    const started = clock.monotonic();
    const { name, intervalMs, timeoutMs } = run.definition;
    const outcome = await probe({ ...target, timeoutMs }, run.stop.signal);
    // Stopped meanwhile, or taken over by another entry of the same key: ask for the one that counts now.
    const entry = this.#entries.get(key);
    if (!entry || run.stop.signal.aborted) return;
    const elapsed = clock.monotonic() - started;
    const { farm, backend } = target;
    run.verdict = judge(run.verdict, outcome.result, run.definition);
    run.timer = setTimeout(() => void this.#probe(key, run), Math.max(0, intervalMs - elapsed));
    this.#ports.probed({ farm, backend, check: name, seconds: elapsed / 1000, ...outcome });
    this.#settle(entry, `check ${name}: ${outcome.evidence}`);
  }

  /** Draws the backend's state from its checks, and tells if it is another one. */
  #settle(entry: Entry, reason: string): void {
    const state = combine([...entry.runs.values()].map((run) => run.verdict.state));
    if (state === entry.health.state) return;
    entry.health = { ...entry.health, state, since: this.#ports.clock.now(), reason: reason.slice(0, 200) };
    this.#ports.changed({ ...entry.health });
  }
}

function stopAll(entry: Entry): void {
  for (const run of entry.runs.values()) {
    run.stop.abort();
    clearTimeout(run.timer);
  }
}
