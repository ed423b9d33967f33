import { explain } from './balancer/explain.ts';
import { Sources } from './balancer/sources.ts';
import { type FarmPlan, type Plan, STATE, type StateCode } from './plan.ts';
import type { Endpoint, TransportCode } from './ports.ts';
import type { Decision } from './telemetry/recorder/kept-call.ts';
import type { TapeRecord } from './telemetry/tape.ts';

/** Plans that messages on the tapes may still name, and changes of state that may lie between a message and the question about it. */
const KEPT_PLANS = 8;
const KEPT_CHANGES = 1000;

/**
 * Says of a request on a tape why it went where it went: by the plan that it met and the states of its backends at that moment, not of now. Asked for
 * kept calls only; the packet path remembers nothing for it.
 */
export class Decisions {
  readonly #plans = new Map<number, { plan: Plan; sources: Map<FarmPlan, Sources> }>();
  /** The oldest first. */
  readonly #changes: { at: number; backend: string; before: StateCode }[] = [];
  readonly #states = new Map<string, StateCode>();

  /** The data threads are about to run `plan`. */
  use(plan: Plan, serial: number): void {
    this.#plans.set(serial, { plan, sources: new Map() });
    for (const old of this.#plans.keys()) if (this.#plans.size > KEPT_PLANS) this.#plans.delete(old);
    this.#states.clear();
    for (const farm of plan.farms)
      for (const [i, { name }] of farm.backends.entries())
        this.#states.set(`${farm.name}/${name}`, new Uint8Array(farm.states)[i] as StateCode);
  }

  /** A backend's state changed. `at`: milliseconds since the epoch. */
  changed(farm: string, backend: string, state: keyof typeof STATE, at: number): void {
    const key = `${farm}/${backend}`;
    this.#changes.push({ at, backend: key, before: this.#states.get(key) ?? STATE.unknown });
    if (this.#changes.length > KEPT_CHANGES) this.#changes.shift();
    this.#states.set(key, STATE[state]);
  }

  /** Undefined where nothing can be said. `at`: when it came, milliseconds since the epoch. */
  decide(record: TapeRecord, request: Uint8Array, at: number): Decision | undefined {
    const used = this.#plans.get(record.plan);
    const farm = used?.plan.farms[used.plan.listeners[record.listener]?.farm ?? -1];
    if (!used || !farm) return undefined;
    const sources = used.sources.get(farm) ?? new Sources(farm.backends);
    used.sources.set(farm, sources);
    const from = endpointOf(record);
    const found = explain(this.#asItWas(farm, at), request, from, sources.find(from), Math.floor(at / 1000));
    if (!found) return undefined;
    const { strategy, key, bucket, candidates, notes } = found;
    return {
      strategy,
      key: key ?? undefined,
      bucket: bucket ?? undefined,
      candidates: candidates.map((c) => c.backend),
      excluded: candidates.flatMap((c) => (c.excluded === null ? [] : [`${c.backend}: ${c.excluded}`])),
      notes,
    };
  }

  /** The farm with the states that its backends had at a moment. */
  #asItWas(farm: FarmPlan, at: number): FarmPlan {
    const states = new SharedArrayBuffer(farm.states.byteLength);
    const then = new Uint8Array(states);
    then.set(new Uint8Array(farm.states));
    for (let i = this.#changes.length - 1; i >= 0 && this.#changes[i]!.at > at; i--) {
      const { backend, before } = this.#changes[i]!;
      const index = farm.backends.findIndex(({ name }) => `${farm.name}/${name}` === backend);
      if (index >= 0) then[index] = before;
    }
    return { ...farm, states };
  }
}

const endpointOf = ({ transport, ip0, ip1, ip2, ip3, port }: TapeRecord): Endpoint => ({
  transport: transport as TransportCode,
  ip0,
  ip1,
  ip2,
  ip3,
  port,
  connection: 0,
});
