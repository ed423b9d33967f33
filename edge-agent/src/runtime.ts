import {
  type Farm,
  isExpensive,
  isIPv4,
  parseDuration,
  parseIP,
  type Snapshot,
  secretReferences,
} from '@sipfleet/contract';
import { BackendSignals, type SignalTotal } from './backend-signals.ts';
import { compilePlan } from './compile.ts';
import { compileBackendTls } from './compile-transport.ts';
import { AgentError } from './errors.ts';
import type { BackendHealth, HealthTarget } from './health/backend.ts';
import type { CheckResult } from './health/check-run.ts';
import type { DampingRule } from './health/damping.ts';
import {
  type Assignment,
  type CheckView,
  type HealthPorts,
  HealthSchedule,
  type SharedVerdict,
} from './health/schedule.ts';
import { type Plan, STATE } from './plan.ts';
import { type Secrets, TRANSPORT, type TransportName } from './ports.ts';
import type { AgentStatus } from './telemetry/admin.ts';
import { type Traffic, trafficOf } from './telemetry/calls/traffic.ts';
import { CallWatch, type WatchOptions } from './telemetry/calls/watch.ts';
import { portTaken } from './transport/probe.ts';
import { Workers, type WorkersOptions } from './workers.ts';

const TRANSPORT_NAMES = Object.keys(TRANSPORT) as TransportName[];

export interface RuntimeOptions {
  /** Number in the fleet and own address, for listeners that name none. */
  agent: { number: number; address: string };
  workers: WorkersOptions;
  health: HealthPorts;
  /** What is kept of calls, and how; left out: nothing is recorded. */
  recorder?: Omit<NonNullable<WatchOptions['recorder']>, 'tapes'>;
  /** Told when the last call of a backend that drains has ended. */
  drained?(): void;
  /** Told which plan the data threads are about to run. */
  planned?(plan: Plan, serial: number): void;
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
  /** Sessions and registrations, by what the data threads tell. */
  readonly watch: CallWatch;
  /** Probes that failed, by farm. */
  readonly #checksFailed = new Map<string, number>();
  readonly #health: HealthSchedule;
  readonly #signals: BackendSignals;
  readonly #options: RuntimeOptions;
  #applied: Applied | undefined;
  #secrets: Secrets = new Map();
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: RuntimeOptions) {
    this.#options = options;
    this.workers = new Workers({
      ...options.workers,
      beforeCommit: (plan, serial) => {
        this.watch.use(plan, serial);
        options.planned?.(plan, serial);
      },
    });
    const { recorder } = options;
    const { tapes, eventRings: rings } = this.workers;
    this.watch = new CallWatch({
      rings,
      emptied: (farm, backend) => {
        const plan = this.workers.plan?.farms.find(({ name }) => name === farm);
        if (!plan?.backends.some(({ name, drain }) => name === backend && drain)) return;
        options.workers.log.info({ farm, backend }, 'the last call of a backend that drains has ended');
        options.drained?.();
      },
      ...(recorder && tapes.length > 0 && { recorder: { tapes, ...recorder } }),
    });
    this.#health = new HealthSchedule({
      ...options.health,
      probed: (report) => {
        const { farm, result } = report;
        if (result === 'failure') this.#checksFailed.set(farm, (this.#checksFailed.get(farm) ?? 0) + 1);
        options.health.probed(report);
      },
      changed: (health) => {
        this.workers.setState(health.farm, health.backend, STATE[health.state]);
        options.health.changed(health);
      },
    });
    this.#signals = new BackendSignals({
      running: () => this.workers,
      report: (farm, backend, signal) => this.#health.reportPassive(farm, backend, signal),
      log: options.workers.log,
      icmp: options.workers.datapath !== 'dgram',
    });
  }

  /** The snapshot that runs. */
  get applied(): Applied | undefined {
    return this.#applied;
  }

  /** The Secrets that were applied last. */
  get secrets(): Secrets {
    return this.#secrets;
  }

  /** Puts a snapshot with its Secrets into effect everywhere, or rejects with AgentError and leaves everything as it was. */
  apply(snapshot: Snapshot, etag: string, secrets: Secrets = new Map()): Promise<void> {
    const done = this.#queue.then(() => this.#apply(snapshot, etag, secrets));
    this.#queue = done.catch(() => {});
    return done;
  }

  backends(): BackendHealth[] {
    return this.#health.backends();
  }

  /** Dialogs that go on at a backend, as far as this agent saw them. */
  callsOf(farm: string, backend: string): number {
    const calls = this.watch.calls.farms.list().find(({ name }) => name === farm);
    return calls?.backends.get(backend)?.calls ?? 0;
  }

  checks(): CheckView[] {
    return this.#health.checks();
  }

  /** Expensive checks are made as the control plane says; without this call this agent makes all. */
  assignChecks(assignments: readonly Assignment[]): void {
    this.#health.assign(assignments);
  }

  /** What the assigned agents of this site say. */
  shareVerdicts(verdicts: readonly SharedVerdict[]): void {
    this.#health.share(verdicts);
  }

  /** Probes now. Undefined: there is no such check here. */
  runCheck(farm: string, backend: string, check: string): Promise<CheckResult | undefined> {
    return this.#health.run(farm, backend, check);
  }

  /** What traffic told against backends so far. */
  signals(): SignalTotal[] {
    return this.#signals.totals();
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

  /** Each farm's traffic since the start, for the report to the control plane. */
  traffic(): Traffic[] {
    this.watch.drain();
    return this.watch.calls.farms.list().map((farm) => trafficOf(farm, this.#checksFailed.get(farm.name) ?? 0));
  }

  async close(): Promise<void> {
    this.watch.close();
    this.#signals.close();
    await Promise.all([this.#health.close(), this.workers.close()]);
  }

  async #apply(snapshot: Snapshot, etag: string, secrets: Secrets): Promise<void> {
    refuseMissingSecrets(snapshot, secrets);
    const running = this.workers.plan;
    const now = Math.floor(this.#options.health.clock.now() / 1000);
    const plan = compilePlan(snapshot, etag, this.#options.agent, secrets, { now, ...(running && { plan: running }) });
    await refuseTakenPorts(plan, this.workers.plan);
    const targets = healthTargets(snapshot, plan, secrets);
    this.#seedStates(plan, targets);
    await this.workers.apply(plan);
    this.#secrets = secrets;
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

/** A farm without its certificate or credentials would serve worse than the one that runs. */
function refuseMissingSecrets(snapshot: Snapshot, secrets: Secrets): void {
  for (const { spec } of snapshot.farms)
    for (const { field, name } of secretReferences(spec))
      if (!secrets.has(name)) throw new AgentError('PLAN', `farm ${spec.name}: ${field}: there is no Secret ${name}`);
}

/** SO_REUSEPORT would let this agent share a port with a stranger and lose half of the calls: asked before a port is taken newly. */
async function refuseTakenPorts(plan: Plan, running: Plan | undefined): Promise<void> {
  for (const l of plan.listeners) {
    const same = (r: Plan['listeners'][number]): boolean =>
      (r.transport === TRANSPORT.udp) === (l.transport === TRANSPORT.udp) &&
      r.address === l.address &&
      r.port === l.port;
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
function healthTargets(snapshot: Snapshot, plan: Plan, secrets: Secrets): HealthTarget[] {
  return snapshot.farms.flatMap(({ spec }, farm) => {
    const checks = spec.checks.map(checkDefinition);
    const { startAs, damping } = spec.health;
    const rules = { startAs, checks, ...(damping ? { damping: dampingRule(damping) } : {}) };
    return spec.backends.map((b, i): HealthTarget => {
      const { address, port, transport } = b;
      const localAddress = listenerAddress(plan, farm, TRANSPORT[transport], address);
      const tls = compileBackendTls(spec, i, secrets);
      return {
        farm: spec.name,
        backend: b.name,
        address,
        port,
        transport,
        localAddress,
        ...(tls && { tls }),
        ...rules,
      };
    });
  });
}

const msOf = (text = ''): number => parseDuration(text) as number;

function checkDefinition(spec: Farm['checks'][number]): HealthTarget['checks'][number] {
  const { name, rise, fall, interval, timeout } = spec;
  const expensive = isExpensive(spec);
  return { name, intervalMs: msOf(interval), timeoutMs: msOf(timeout), rise, fall, expensive, spec };
}

function dampingRule({ flaps, within, hold }: NonNullable<Farm['health']['damping']>): DampingRule {
  return { flaps, withinMs: msOf(within), holdMs: msOf(hold) };
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
