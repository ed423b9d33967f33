import { type Farm, isIPv4, parseDuration, parseIP, type Snapshot } from '@sipfleet/contract';
import { compilePlan } from './compile.ts';
import { AgentError } from './errors.ts';
import { type BackendHealth, type HealthPorts, HealthSchedule, type HealthTarget } from './health/schedule.ts';
import { type Plan, STATE } from './plan.ts';
import { TRANSPORT, type TransportName } from './ports.ts';
import type { AgentStatus } from './telemetry/admin.ts';
import { portTaken } from './transport/probe.ts';
import { Workers, type WorkersOptions } from './workers.ts';

const TRANSPORT_NAMES = Object.keys(TRANSPORT) as TransportName[];

export interface RuntimeOptions {
  /** Number in the fleet and own address, for listeners that name none. */
  agent: { number: number; address: string };
  workers: WorkersOptions;
  health: HealthPorts;
}

export interface Applied {
  etag: string;
  generation: number;
  /** Milliseconds since the epoch. */
  at: number;
}

/** What runs: data threads and health checks, always of the same snapshot. */
export class Runtime {
  readonly workers: Workers;
  readonly #health: HealthSchedule;
  readonly #options: RuntimeOptions;
  #applied: Applied | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: RuntimeOptions) {
    this.#options = options;
    this.workers = new Workers(options.workers);
    this.#health = new HealthSchedule({
      ...options.health,
      changed: (health) => {
        this.workers.setState(health.farm, health.backend, STATE[health.state]);
        options.health.changed(health);
      },
    });
  }

  /** The snapshot that runs. */
  get applied(): Applied | undefined {
    return this.#applied;
  }

  /** Puts a snapshot into effect everywhere, or rejects with AgentError and leaves everything as it was. */
  apply(snapshot: Snapshot, etag: string): Promise<void> {
    const done = this.#queue.then(() => this.#apply(snapshot, etag));
    this.#queue = done.catch(() => {});
    return done;
  }

  backends(): BackendHealth[] {
    return this.#health.backends();
  }

  /** Listeners with the ports that are really bound. */
  listeners(): AgentStatus['listeners'] {
    const { plan, ports } = this.workers;
    return (plan?.listeners ?? []).map((l, i) => ({
      farm: plan?.farms[l.farm]?.name ?? '',
      transport: TRANSPORT_NAMES[l.transport] as string,
      address: l.address,
      port: ports[i] ?? l.port,
    }));
  }

  async close(): Promise<void> {
    this.#health.close();
    await this.workers.close();
  }

  async #apply(snapshot: Snapshot, etag: string): Promise<void> {
    const plan = compilePlan(snapshot, etag, this.#options.agent);
    await refuseTakenPorts(plan, this.workers.plan);
    const targets = healthTargets(snapshot, plan);
    this.#seedStates(plan, targets);
    await this.workers.apply(plan);
    this.#applied = { etag, generation: plan.generation, at: this.#options.health.clock.now() };
    this.#health.replace(targets);
    // Verdicts that fell while the plan was being applied went to the plan before.
    for (const { farm, backend, state } of this.backends()) this.workers.setState(farm, backend, STATE[state]);
  }

  /** A backend that is known to be down must not serve for the first intervals of a new plan. */
  #seedStates(plan: Plan, targets: readonly HealthTarget[]): void {
    for (const farm of plan.farms) {
      const states = new Uint8Array(farm.states);
      for (const [i, b] of farm.backends.entries()) {
        const target = targets.find((t) => t.farm === farm.name && t.backend === b.name);
        if (target && target.checks.length > 0) states[i] = STATE[this.#health.stateOf(target)];
      }
    }
  }
}

/** SO_REUSEPORT would let this agent share a port with a stranger and lose half of the calls: asked before a port is taken newly. */
async function refuseTakenPorts(plan: Plan, running: Plan | undefined): Promise<void> {
  for (const l of plan.listeners) {
    const same = (r: Plan['listeners'][number]): boolean =>
      r.transport === l.transport && r.address === l.address && r.port === l.port;
    if (running?.listeners.some(same)) continue;
    const transport = l.transport === TRANSPORT.udp ? 'udp' : 'tcp';
    if (await portTaken(transport, l.address, l.port))
      throw new AgentError(
        'LISTEN',
        `${transport} ${l.address} port ${l.port}: address already in use by another process`,
      );
  }
}

/** What is to be probed under a plan. Every probe comes from the address that the farm's own requests come from. */
function healthTargets(snapshot: Snapshot, plan: Plan): HealthTarget[] {
  return snapshot.farms.flatMap(({ spec }, farm) => {
    const checks = spec.checks.map(checkDefinition);
    return spec.backends.map((b): HealthTarget => {
      const { address, port, transport } = b;
      const localAddress = listenerAddress(plan, farm, TRANSPORT[transport], address);
      return { farm: spec.name, backend: b.name, address, port, transport, localAddress, checks };
    });
  });
}

function checkDefinition(check: Farm['checks'][number]): HealthTarget['checks'][number] {
  const { name, rise, fall } = check;
  const ms = (text: string): number => parseDuration(text) as number;
  return { name, intervalMs: ms(check.interval), timeoutMs: ms(check.timeout), rise, fall };
}

function listenerAddress(plan: Plan, farm: number, transport: number, backend: string): string {
  const v4 = (address: string): boolean => isIPv4(parseIP(address) ?? []);
  const fits = plan.listeners.find(
    (l) => l.farm === farm && l.transport === transport && v4(l.address) === v4(backend),
  );
  // The contract demands such a listener, unless the agent's own address, which stands in for it, is of the other family.
  if (!fits)
    throw new AgentError(
      'PLAN',
      `farm ${plan.farms[farm]?.name}: no listener to reach ${backend} from: set --address to one of its family`,
    );
  return fits.address;
}
