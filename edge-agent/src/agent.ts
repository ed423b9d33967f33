import type { Logger } from 'pino';
import packageJson from '../package.json' with { type: 'json' };
import { Decisions } from './decisions.ts';
import { AgentError } from './errors.ts';
import { explainCall, explainUser } from './explain.ts';
import { hostPort } from './health/probe.ts';
import { createProber } from './health/probers.ts';
import { CheckLink } from './link/check-link.ts';
import { ControlPlaneClient } from './link/client.ts';
import { awsCredentials, iamProof } from './link/iam.ts';
import { type EnrolOptions, enrol, type Identity, loadIdentity } from './link/identity.ts';
import { rotateKey } from './link/key-rotation.ts';
import { Link } from './link/link.ts';
import { PushSocket } from './link/push.ts';
import { SecretKeeper } from './link/secret-keeper.ts';
import { ServerClock } from './link/server-clock.ts';
import { SnapshotStore } from './link/store.ts';
import { Trust } from './link/trust.ts';
import type { AgentOptions } from './options.ts';
import type { Plan } from './plan.ts';
import { type Clock, TRANSPORT } from './ports.ts';
import { type RecorderFlags, redactionOf } from './recorder-options.ts';
import { backendReports, checkReports, runCheck } from './reports.ts';
import { Runtime, type RuntimeOptions } from './runtime.ts';
import { readSnapshotFile } from './snapshot-file.ts';
import { type AdminServer, type AgentStatus, createAdmin, listenAdmin } from './telemetry/admin.ts';
import { Hep } from './telemetry/hep/hep.ts';
import { hep } from './telemetry/hep/kept.ts';
import { HepEncoder, type HepIdentity } from './telemetry/hep/packet.ts';
import { AgentMetrics } from './telemetry/metrics.ts';
import { type PushDeps, type Pushes, startPushes } from './telemetry/push/pushes.ts';
import { isAnomalous, logLineOf } from './telemetry/recorder/kept-call.ts';
import { createRedactor, createUserHash } from './telemetry/recorder/redact.ts';
import type { Traces } from './telemetry/traces/traces.ts';
import { createMailboxes } from './transport/mailbox.ts';

export const VERSION = packageJson.version;
/** Since when this process counts. */
const STARTED_AT = Math.round(performance.timeOrigin);
const TRANSPORT_NAMES = Object.keys(TRANSPORT);
const CLOCK: Clock = { now: () => Date.now(), monotonic: () => performance.now() };

/** What an agent tells when it serves. */
export interface Ready {
  admin: { host: string; port: number };
  listeners: AgentStatus['listeners'];
  etag: string;
  generation: number;
}

/** One agent: the control thread and everything that it starts. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  /** Replaces this agent's key where that is due. */
  #rotate: (() => Promise<boolean>) | undefined;
  #identity: Identity | undefined;
  #runtime: Runtime | undefined;
  #admin: AdminServer | undefined;
  #link: Link | undefined;
  #checkLink: CheckLink | undefined;
  #metrics: AgentMetrics | undefined;
  #pushes: Pushes | undefined;
  #hep: Hep | undefined;
  #traces: Traces | undefined;
  readonly #decisions = new Decisions();
  /** Snapshot files that were refused. */
  #refused = 0;
  #closing: Promise<void> | undefined;

  constructor(options: AgentOptions, log: Logger) {
    this.#options = options;
    this.#log = log;
  }

  /** Resolves when a snapshot runs on every data thread. Rejects with AgentError if that cannot be; close it then. */
  async start(): Promise<Ready> {
    const { source, address } = this.#options;
    if (source.kind === 'file') {
      const { snapshot, etag, secrets } = await readSnapshotFile(source.path, source.secrets);
      const runtime = await this.#serve({ number: source.number, address });
      runtime.workers.setPeers(source.peers);
      await runtime.apply(snapshot, etag, secrets);
    } else {
      this.#identity = (await loadIdentity(this.#options.data)) ?? (await this.#enrol(source));
      const runtime = await this.#serve({ number: this.#identity.number, address });
      this.#link = await this.#newLink(source.base, this.#identity, runtime);
      await this.#link.start();
      this.#keepKeyFresh();
    }
    return this.#ready();
  }

  /** Now, and once a day. */
  #keepKeyFresh(): void {
    void this.#rotate?.();
    const timer = setInterval(() => void this.#rotate?.(), 86_400_000);
    this.#stop.signal.addEventListener('abort', () => clearInterval(timer), { once: true });
  }

  /** SIGHUP: reads the snapshot file and its secrets again, or asks the control plane now. What ran goes on if that fails. */
  async reload(): Promise<void> {
    const { source } = this.#options;
    if (source.kind !== 'file') return this.#link?.refresh();
    try {
      const { snapshot, etag, secrets } = await readSnapshotFile(source.path, source.secrets);
      await this.#runtime?.apply(snapshot, etag, secrets);
      this.#log.info({ etag, generation: snapshot.generation }, 'snapshot applied');
    } catch (error) {
      this.#refused++;
      this.#log.error({ reason: (error as Error).message }, 'snapshot refused: going on with what runs');
    }
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#stop.abort();
      this.#link?.close();
      this.#checkLink?.close();
      // Before the counters go.
      await this.#traces?.close(this.#runtime?.watch.recorder);
      await this.#pushes?.close();
      await Promise.all([this.#admin?.close(), this.#runtime?.close()]);
      // After the last message went out.
      await this.#hep?.close();
    })();
    return this.#closing;
  }

  #enrol(source: Joining): Promise<Identity> {
    const { data, name } = this.#options;
    const proof = proofOf(source, data);
    return enrol({ data, base: source.base, proof, name, version: VERSION, signal: this.#stop.signal, log: this.#log });
  }

  /** Starts data threads and the local HTTP; there is nothing to serve yet. */
  async #serve(agent: { number: number; address: string }): Promise<Runtime> {
    const { workers: count, datapath, warmUp, admin, recorder } = this.#options;
    this.#stop.signal.throwIfAborted();
    const log = this.#log;
    const redaction = redactionOf(recorder);
    const runtime: Runtime = new Runtime({
      agent,
      workers: { count, mailboxes: createMailboxes(count), datapath, warmUp, log, tapeBytes: recorder.recorderMemory },
      recorder: {
        ...recorderOf(recorder),
        rested: (call) => {
          if (isAnomalous(call)) log.info(logLineOf(call), 'a call was kept');
          this.#traces?.calls.rested(call);
        },
        evicted: (call) => this.#traces?.calls.evicted(call),
        decide: (record, bytes, at) => this.#decisions.decide(record, bytes, at),
      },
      drained: () => this.#link?.reportSoon(),
      planned: (plan, serial) => {
        this.#decisions.use(plan, serial);
        this.#hep?.use(plan, serial);
        this.#traces?.checks.retain(plan.farms);
      },
      health: {
        probe: createProber(() => runtime.secrets, this.#options.hep && ((message) => this.#hep?.probe(message))),
        clock: CLOCK,
        random: Math.random,
        probed: (report) => {
          this.#metrics?.probed(report);
          runtime.watch.recorder?.keepProbe(report);
          this.#traces?.checks.probed({ ...report, ...peerOf(runtime.workers.plan, report) });
        },
        changed: (health) => {
          this.#decisions.changed(health.farm, health.backend, health.state, health.since);
          log[health.state === 'down' ? 'warn' : 'info'](health, `backend ${health.state}`);
          const { since, ...change } = health;
          this.#link?.verdictChanged({ ...change, at: new Date(since).toISOString() });
        },
      },
    });
    this.#runtime = runtime;
    this.#hep = this.#startHep(runtime, agent.number);
    this.#traces = await this.#startTraces();
    const metrics = this.#newMetrics(runtime);
    this.#metrics = metrics;
    const app = createAdmin({
      metrics,
      calls: {
        recorder: () => runtime.watch.recorder,
        explainCall: (call) => explainCall(runtime.workers.plan, call, redaction),
        explainUser: (user, farm) => explainUser(runtime.workers.plan, user, farm),
        traffic: () => runtime.traffic(),
        hep: (call) => hep(call, new HepEncoder(this.#hepIdentity(agent.number))),
        hashed: createUserHash(redaction),
      },
      notReady: () => runtime.workers.notReady(),
      status: () => this.#status(runtime),
    });
    try {
      this.#admin = await listenAdmin(app, admin.host, admin.port);
    } catch (cause) {
      throw new AgentError('LISTEN', `admin HTTP on ${admin.host}:${admin.port}: ${(cause as Error).message}`, {
        cause,
      });
    }
    await this.#startPushes(metrics);
    return runtime;
  }

  #startHep(runtime: Runtime, agent: number): Hep | undefined {
    const { hep, recorder } = this.#options;
    if (!hep) return undefined;
    return new Hep({
      address: hep.address,
      identity: this.#hepIdentity(agent),
      redaction: redactionOf(recorder),
      tapes: runtime.workers.tapes,
      script: new URL('./hep-thread.ts', import.meta.url),
      log: this.#log.child({ room: 'hep' }),
    });
  }

  #hepIdentity(agent: number): HepIdentity {
    const { hep, name } = this.#options;
    return { agent, name: this.#identity?.name ?? name, key: hep?.key ?? '' };
  }

  async #startPushes(metrics: AgentMetrics): Promise<void> {
    const { push } = this.#options;
    if (push) this.#pushes = await startPushes(push, { families: () => metrics.families(), ...this.#pushDeps() });
  }

  async #startTraces(): Promise<Traces | undefined> {
    const { traces, recorder } = this.#options;
    if (!traces) return undefined;
    // OpenTelemetry is loaded by who uses it.
    const { Traces } = await import('./telemetry/traces/traces.ts');
    return new Traces(traces, this.#pushDeps(), recorder.recorderSample);
  }

  #pushDeps(): Omit<PushDeps, 'families'> {
    const { name, data } = this.#options;
    const { name: own = name, agentId: instance = name, site } = this.#identity ?? {};
    return {
      identity: { agent: own, instance, site, version: VERSION, startedAt: STARTED_AT },
      data,
      log: this.#log.child({ room: 'push' }),
    };
  }

  #newMetrics(runtime: Runtime): AgentMetrics {
    return new AgentMetrics(
      {
        totals: () => runtime.workers.totals(),
        backends: () => runtime.backends(),
        workers: () => runtime.workers.health,
        snapshot: () => {
          const { target, failures = this.#refused } = this.#link?.status ?? {};
          const { applied } = runtime;
          return { failures, ...(applied && { applied }), ...(target !== undefined && { target }) };
        },
        signals: () => runtime.signals(),
        disagreements: () => this.#checkLink?.disagreements ?? [],
        link: () => this.#link?.status,
        calls: () => ({ farms: runtime.watch.calls.farms.list(), eventsLost: runtime.watch.lost }),
        hep: () => this.#hep?.view(),
        pushes: () => [...(this.#pushes?.views() ?? []), ...(this.#traces ? [this.#traces.push()] : [])],
        traces: () => this.#traces?.view(),
      },
      { version: VERSION, node: process.version, datapath: this.#options.datapath },
      { agent: this.#identity?.name ?? this.#options.name, site: this.#identity?.site },
    );
  }

  async #newLink(base: URL, identity: Identity, runtime: Runtime): Promise<Link> {
    const log = this.#log.child({ room: 'link' });
    const serverClock = new ServerClock(CLOCK);
    const token = () => identity.token(serverClock.now());
    const { data } = this.#options;
    const { agentId, sealKey, site } = identity;
    const push = new PushSocket({
      base,
      token,
      log,
      onOpen: () => link.refresh(),
      onMessage: (message) => {
        if (message.type === 'snapshot') link.onHint(message);
        else if (message.type === 'schedule') checks.onHint(message);
        else void checks.onRun(message);
      },
    });
    const client = new ControlPlaneClient(base, token, serverClock, this.#stop.signal, (asked) => push.ask(asked));
    this.#rotate = () => rotateKey({ data, identity, client, push, log }, serverClock.now());
    const trust = await Trust.load(data, () => client.signingKeys());
    const checks = new CheckLink({
      client,
      data,
      assign: (assigned) => runtime.assignChecks(assigned),
      share: (verdicts) => runtime.shareVerdicts(verdicts),
      meet: (peers) => runtime.workers.setPeers(peers),
      run: (check) => runCheck(runtime, check),
      log,
    });
    this.#checkLink = checks;
    await checks.start();
    const link: Link = new Link({
      client,
      trust,
      secrets: new SecretKeeper({ client, trust, agentId, sealKey }),
      site,
      push,
      store: new SnapshotStore(data, trust),
      // The report that follows names the schedule that goes with it.
      apply: (snapshot, etag, secrets) => runtime.apply(snapshot, etag, secrets),
      backends: () => backendReports(runtime),
      checks: () => checkReports(runtime),
      heard: ({ schedule, ...target }) => {
        if (schedule !== undefined) checks.heard(schedule);
        push.heard(target);
      },
      traffic: () => runtime.traffic(),
      version: VERSION,
      address: this.#options.address,
      clock: CLOCK,
      log,
    });
    return link;
  }

  #status(runtime: Runtime): AgentStatus {
    const { applied } = runtime;
    const link = this.#link?.status;
    const { source, name } = this.#options;
    const own = this.#identity ?? {
      agentId: null,
      site: null,
      name,
      number: source.kind === 'file' ? source.number : null,
    };
    return {
      agent: {
        id: own.agentId,
        name: own.name,
        number: own.number,
        site: own.site,
        version: VERSION,
        uptimeSeconds: CLOCK.monotonic() / 1000,
      },
      snapshot: applied
        ? { etag: applied.etag, generation: applied.generation, appliedAt: new Date(applied.at).toISOString() }
        : null,
      listeners: runtime.listeners(),
      backends: backendReports(runtime),
      workers: runtime.workers.health,
      link: link ? { connected: link.connected, reconnects: link.reconnects } : null,
    };
  }

  #ready(): Ready {
    const { applied } = this.#runtime ?? {};
    if (!applied || !this.#admin || !this.#runtime) throw new AgentError('PLAN', 'closed before it was ready');
    const { host, port } = this.#admin;
    const { etag, generation } = applied;
    return { admin: { host, port }, listeners: this.#runtime.listeners(), etag, generation };
  }
}

/** Bytes and calls that the flight recorder keeps on the control thread, and how many it begins to keep per second. */
const KEPT = { bytes: 32 << 20, calls: 1000, perSecond: 20 } as const;

function recorderOf(flags: RecorderFlags): NonNullable<RuntimeOptions['recorder']> {
  const redact = createRedactor(redactionOf(flags));
  return { ...KEPT, redact, slowAfter: flags.recorderSlow / 1000, sampled: flags.recorderSample };
}

/** Address and transport of what a probe was sent to. */
function peerOf(plan: Plan | undefined, probed: { farm: string; backend: string }) {
  const farm = plan?.farms.find(({ name }) => name === probed.farm);
  const backend = farm?.backends.find(({ name }) => name === probed.backend);
  return { peer: backend && hostPort(backend), transport: backend && TRANSPORT_NAMES[backend.transport] };
}

type Joining = Extract<AgentOptions['source'], { kind: 'control-plane' }>;

/** What the first start is paid with. Throws AgentError USAGE where there is nothing. */
function proofOf(
  { joinToken, iamRegion: region, iamAudience: audience }: Joining,
  data: string,
): EnrolOptions['proof'] {
  if (joinToken !== undefined) return { joinToken };
  if (region === undefined)
    throw new AgentError(
      'USAGE',
      `no identity in ${data} yet: give --join-token TOKEN (or SIPFLEET_JOIN_TOKEN) or --iam-join REGION once`,
    );
  return {
    iam: async ({ publicKey, sealKey }) =>
      iamProof({ audience, publicKey, sealKey, credentials: await awsCredentials(), region, at: new Date() }),
  };
}
