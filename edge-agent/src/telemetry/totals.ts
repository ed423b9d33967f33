import type { Plan } from '../plan.ts';
import { TRANSPORT, type TransportName } from '../ports.ts';
import {
  BACKEND_WIDTH,
  DROP_REASONS,
  LISTENER_FIELDS,
  LISTENER_STATES,
  LOCAL_STATUSES,
  METHODS,
  REFUSALS,
  SlabLayout,
  WORK,
  WORKER_STATES,
  WORKER_WIDTH,
} from './slab.ts';

export interface ListenerTotals {
  farm: string;
  /** `10.0.1.5:5060`, `[2001:db8::1]:5060`. */
  listener: string;
  transport: TransportName;
  received: number;
  sent: number;
  receivedBytes: number;
  sentBytes: number;
  sentLarge: number;
  /** Of connections, as in ConnectionCounts; 0 for UDP. */
  accepted: number;
  refused: number;
  handshakeFailed: number;
  expired: number;
  /** Open now. */
  connections: number;
  /** Seconds since the epoch; undefined where it has no certificate. */
  certificateExpires: number | undefined;
}

export interface BackendTotals {
  farm: string;
  backend: string;
  /** By index of METHODS. */
  requestsTo: Float64Array;
  /** By index of METHODS. */
  requestsFrom: Float64Array;
  /** Index 0 is 1xx. */
  responses: Float64Array;
  retransmissions: number;
  failovers: number;
  sought: number;
  largeByTcp: number;
  largeByUdp: number;
}

/** Counts since the process started, over all data threads and all plans. */
export interface Totals {
  /** By index of DROP_REASONS. */
  drops: Float64Array;
  /** By index of LOCAL_STATUSES. */
  local: Float64Array;
  /** By index of REFUSALS. */
  refused: Float64Array;
  /** By index of WORK. */
  work: Float64Array;
  /** By index of WORKER_STATES, over all workers. */
  states: Float64Array;
  listeners: ListenerTotals[];
  backends: BackendTotals[];
}

type ListenerCounts = Record<(typeof LISTENER_FIELDS)[number], number>;
const TRANSPORT_NAMES = Object.keys(TRANSPORT) as TransportName[];
const hostPort = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** A run of counters in the slab that belong to one name. */
interface Section {
  key: string;
  at: number;
  width: number;
  /** How many of them, at the end, are states and not counts: of no meaning when the slab's time is over. */
  states: number;
}

/**
 * Keeps counts across changes of plan: slabs are laid out by index, and an index means another backend under another
 * plan, so what leaves is added under its names. What a new plan no longer names is forgotten: its series end.
 */
export class CounterTotals {
  #plan: Plan | undefined;
  #ports: readonly number[] = [];
  #sections: Section[] = [];
  #base = new Map<string, Float64Array>();

  /** From now on slabs are laid out for `plan`. Fold the slabs of the one before first. `ports`: as really bound. */
  use(plan: Plan, ports: readonly number[]): void {
    this.#plan = plan;
    this.#ports = ports;
    this.#sections = sectionsOf(plan, ports);
    const named = new Set(this.#sections.map((s) => s.key));
    for (const key of this.#base.keys()) if (!named.has(key)) this.#base.delete(key);
  }

  /** Adds a slab that nobody writes to any more to what is kept. */
  fold(slab: SharedArrayBuffer): void {
    const counters = new Float64Array(slab);
    for (const section of this.#sections) {
      const sum = this.#base.get(section.key) ?? new Float64Array(section.width);
      add(sum, counters, section, section.width - section.states);
      this.#base.set(section.key, sum);
    }
  }

  /** What is kept plus what the living slabs hold. */
  sum(slabs: Iterable<SharedArrayBuffer>): Totals {
    const counters = [...slabs].map((slab) => new Float64Array(slab));
    const sums = new Map<string, Float64Array>();
    for (const section of this.#sections) {
      const sum = Float64Array.from(this.#base.get(section.key) ?? new Float64Array(section.width));
      for (const c of counters) add(sum, c, section, section.width);
      sums.set(section.key, sum);
    }
    return this.#name(sums);
  }

  #name(sums: Map<string, Float64Array>): Totals {
    const listeners = new Map<string, ListenerTotals>();
    const backends: BackendTotals[] = [];
    for (const [i, l] of (this.#plan?.listeners ?? []).entries()) {
      const farm = this.#plan?.farms[l.farm]?.name ?? '';
      const key = listenerKey(this.#plan as Plan, i, this.#ports);
      const sum = sums.get(key) as Float64Array;
      const counts = Object.fromEntries(LISTENER_FIELDS.map((field, f) => [field, sum[f]])) as ListenerCounts;
      const listener = hostPort(l.address, this.#ports[i] ?? l.port);
      const transport = TRANSPORT_NAMES[l.transport] as TransportName;
      listeners.set(key, { farm, listener, transport, certificateExpires: l.certificateExpires, ...counts });
    }
    const m = METHODS.length;
    for (const farm of this.#plan?.farms ?? []) {
      for (const backend of farm.backends) {
        const sum = sums.get(backendKey(farm.name, backend.name)) as Float64Array;
        backends.push({
          farm: farm.name,
          backend: backend.name,
          requestsTo: sum.subarray(0, m),
          requestsFrom: sum.subarray(m, 2 * m),
          responses: sum.subarray(2 * m, 2 * m + 6),
          retransmissions: sum[2 * m + 6] as number,
          failovers: sum[2 * m + 7] as number,
          sought: sum[2 * m + 8] as number,
          largeByTcp: sum[2 * m + 9] as number,
          largeByUdp: sum[2 * m + 10] as number,
        });
      }
    }
    const none = (width: number): Float64Array => new Float64Array(width);
    const worker = sums.get(WORKER) ?? none(WORKER_WIDTH);
    return {
      drops: sums.get(DROPS) ?? none(DROP_REASONS.length),
      local: sums.get(LOCAL) ?? none(LOCAL_STATUSES.length),
      refused: worker.subarray(0, REFUSALS.length),
      work: worker.subarray(REFUSALS.length, REFUSALS.length + WORK.length),
      states: worker.subarray(REFUSALS.length + WORK.length),
      listeners: [...listeners.values()],
      backends,
    };
  }
}

const DROPS = 'drops';
const LOCAL = 'local';
const WORKER = 'worker';
const backendKey = (farm: string, backend: string): string => `backend/${farm}/${backend}`;
const listenerKey = (plan: Plan, index: number, ports: readonly number[]): string => {
  const l = plan.listeners[index] as Plan['listeners'][number];
  return `listener/${plan.farms[l.farm]?.name}/${l.transport}/${hostPort(l.address, ports[index] ?? l.port)}`;
};

/** How many listeners and backends a plan numbers. */
export function layoutOf(plan: Plan): SlabLayout {
  const backends = plan.farms.reduce((n, farm) => n + farm.backends.length, 0);
  return new SlabLayout(plan.listeners.length, backends);
}

function sectionsOf(plan: Plan, ports: readonly number[]): Section[] {
  const layout = layoutOf(plan);
  const sections: Section[] = [
    { key: DROPS, at: layout.drop(0), width: DROP_REASONS.length, states: 0 },
    { key: LOCAL, at: layout.local(LOCAL_STATUSES[0]), width: LOCAL_STATUSES.length, states: 0 },
    { key: WORKER, at: layout.refused(REFUSALS[0]), width: WORKER_WIDTH, states: WORKER_STATES.length },
  ];
  for (const i of plan.listeners.keys())
    sections.push({
      key: listenerKey(plan, i, ports),
      at: layout.listener(i, 0),
      width: LISTENER_FIELDS.length,
      states: LISTENER_STATES,
    });
  for (const farm of plan.farms)
    for (const [i, backend] of farm.backends.entries())
      sections.push({
        key: backendKey(farm.name, backend.name),
        at: layout.requestTo(farm.firstBackend + i, 0),
        width: BACKEND_WIDTH,
        states: 0,
      });
  return sections;
}

function add(sum: Float64Array, counters: Float64Array, section: Section, width: number): void {
  for (let i = 0; i < width; i++) sum[i] = (sum[i] as number) + (counters[section.at + i] as number);
}
