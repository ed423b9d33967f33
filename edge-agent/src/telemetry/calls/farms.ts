import type { Plan } from '../../plan.ts';
import { FarmDelays } from './delays.ts';

/** Who began a session: a client (phone, trunk), or a backend. */
export const ORIGINS = ['client', 'backend'] as const;
export type Origin = 0 | 1;

/** What is counted of session requests (INVITE outside of a dialog) when they have come to an end (RFC 6076 §4.4–4.9). */
export const SESSION_COUNTS = [
  'requests',
  'challenges',
  'redirects',
  'established',
  'effective',
  'ineffective',
  'completed',
  'short',
] as const;
export const SESSION = Object.fromEntries(SESSION_COUNTS.map((name, i) => [name, i])) as Record<
  (typeof SESSION_COUNTS)[number],
  number
>;

/** What is counted of REGISTER transactions when they have come to an end (RFC 6076 §4.1–4.2). */
export const REGISTRATION_COUNTS = ['requests', 'challenges', 'successes', 'failures'] as const;
export const REGISTRATION = Object.fromEntries(REGISTRATION_COUNTS.map((name, i) => [name, i])) as Record<
  (typeof REGISTRATION_COUNTS)[number],
  number
>;

/** A backend by its name, whatever its index is under a plan. The one of name `none` stands for requests that reached no backend. */
export class BackendCalls {
  readonly name: string;
  readonly farm: FarmCalls;
  /** By origin, then by {@link SESSION}. */
  readonly sessions = [new Float64Array(SESSION_COUNTS.length), new Float64Array(SESSION_COUNTS.length)] as const;
  readonly registrations = new Float64Array(REGISTRATION_COUNTS.length);
  /** Final statuses of REGISTER transactions; 0: none came. */
  readonly registrationCodes = new Map<number, number>();
  /** Dialogs that go on, by origin. */
  readonly active: [number, number] = [0, 0];
  /** Registrations that stand. */
  registered = 0;
  /** Where the data threads read how many dialogs go on; undefined where the running plan has no such backend. */
  cell: Int32Array | undefined;

  constructor(name: string, farm: FarmCalls) {
    this.name = name;
    this.farm = farm;
  }

  /** Dialogs that go on. */
  get calls(): number {
    return this.active[0] + this.active[1];
  }

  activate(origin: Origin, by: 1 | -1): void {
    this.active[origin] += by;
    const { calls } = this;
    if (this.cell) Atomics.store(this.cell, 0, calls);
    if (calls === 0) this.farm.emptied(this.name);
  }
}

/** A farm by its name. */
export class FarmCalls {
  readonly name: string;
  /** Tells farms apart in keys of registrations. */
  readonly number: number;
  readonly backends = new Map<string, BackendCalls>();
  /** Requests that reached no backend. */
  readonly none = new BackendCalls('none', this);
  /** Final statuses of session requests by origin; 0: none came. */
  readonly codes = [new Map<number, number>(), new Map<number, number>()] as const;
  readonly delays = new FarmDelays();
  /** Dialogs that were forgotten because nothing was heard of them for too long. */
  expired = 0;

  /** A backend's last dialog has ended. */
  readonly emptied: (backend: string) => void;

  constructor(name: string, number: number, emptied: (backend: string) => void = () => {}) {
    this.name = name;
    this.number = number;
    this.emptied = emptied;
  }

  /** All that counts: its backends, and the place for requests that reached none. */
  all(): BackendCalls[] {
    return [...this.backends.values(), this.none];
  }
}

interface PlanFarm {
  farm: FarmCalls;
  backends: readonly BackendCalls[];
}

/** Plans whose events may still be on their way. */
const KEPT_PLANS = 8;

/** A backend's last dialog has ended. */
export type Emptied = (farm: string, backend: string) => void;

/** Farms and backends by name over all changes of plan, and by index for the events of each plan. */
export class Farms {
  readonly #byName = new Map<string, FarmCalls>();
  readonly #plans = new Map<number, PlanFarm[]>();
  /** The plan that was asked for last: thousands of events in a row are of the same. */
  #serial = -1;
  #plan: readonly PlanFarm[] = [];
  #numbers = 0;
  readonly #emptied: Emptied;

  constructor(emptied: Emptied = () => {}) {
    this.#emptied = emptied;
  }

  /** The data threads are about to run `plan`, and name it by `serial`. What it no longer names is forgotten. */
  use(plan: Plan, serial: number): void {
    for (const farm of this.#byName.values()) for (const backend of farm.backends.values()) backend.cell = undefined;
    const farms = plan.farms.map(({ name, backends, sessions }) => {
      const farm =
        this.#byName.get(name) ?? new FarmCalls(name, this.#numbers++, (backend) => this.#emptied(name, backend));
      this.#byName.set(name, farm);
      const cells = new Int32Array(sessions);
      const list = backends.map((b, i) => {
        const backend = farm.backends.get(b.name) ?? new BackendCalls(b.name, farm);
        backend.cell = cells.subarray(i, i + 1);
        Atomics.store(backend.cell, 0, backend.calls);
        return backend;
      });
      farm.backends.clear();
      for (const backend of list) farm.backends.set(backend.name, backend);
      return { farm, backends: list };
    });
    const named = new Set(plan.farms.map((f) => f.name));
    for (const name of this.#byName.keys()) if (!named.has(name)) this.#byName.delete(name);
    this.#plans.set(serial, farms);
    this.#serial = -1;
    for (const old of this.#plans.keys()) if (this.#plans.size > KEPT_PLANS) this.#plans.delete(old);
  }

  farm(serial: number, index: number): FarmCalls | undefined {
    return this.#of(serial)[index]?.farm;
  }

  /** Undefined also for −1, which stands for a client. */
  backend(serial: number, farm: number, index: number): BackendCalls | undefined {
    return index < 0 ? undefined : this.#of(serial)[farm]?.backends[index];
  }

  /** Those of the running plan. */
  list(): FarmCalls[] {
    return [...this.#byName.values()];
  }

  #of(serial: number): readonly PlanFarm[] {
    if (serial === this.#serial) return this.#plan;
    this.#serial = serial;
    this.#plan = this.#plans.get(serial) ?? [];
    return this.#plan;
  }
}
