import type { Logger } from 'pino';
import packageJson from '../package.json' with { type: 'json' };
import { AgentError } from './errors.ts';
import { probeOptions } from './health/options.ts';
import { ControlPlaneClient } from './link/client.ts';
import { enrol, type Identity, loadIdentity } from './link/identity.ts';
import { Link } from './link/link.ts';
import { PushSocket } from './link/push.ts';
import { SnapshotStore } from './link/store.ts';
import type { AgentOptions } from './options.ts';
import type { Clock } from './ports.ts';
import { Runtime } from './runtime.ts';
import { readSnapshotFile } from './snapshot-file.ts';
import { type AdminServer, type AgentStatus, createAdmin, listenAdmin } from './telemetry/admin.ts';
import { AgentMetrics } from './telemetry/metrics.ts';
import { createMailboxes } from './transport/mailbox.ts';

export const VERSION = packageJson.version;
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
  #identity: Identity | undefined;
  #runtime: Runtime | undefined;
  #admin: AdminServer | undefined;
  #link: Link | undefined;
  #metrics: AgentMetrics | undefined;
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
      const first = await readSnapshotFile(source.path);
      const runtime = await this.#serve({ number: source.number, address });
      await runtime.apply(first.snapshot, first.etag);
    } else {
      this.#identity = (await loadIdentity(this.#options.data)) ?? (await this.#enrol(source));
      const runtime = await this.#serve({ number: this.#identity.number, address });
      this.#link = this.#newLink(source.base, this.#identity, runtime);
      await this.#link.start();
    }
    return this.#ready();
  }

  /** SIGHUP: reads the snapshot file again, or asks the control plane now. What ran goes on if that fails. */
  async reload(): Promise<void> {
    const { source } = this.#options;
    if (source.kind !== 'file') return this.#link?.refresh();
    try {
      const { snapshot, etag } = await readSnapshotFile(source.path);
      await this.#runtime?.apply(snapshot, etag);
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
      await Promise.all([this.#admin?.close(), this.#runtime?.close()]);
    })();
    return this.#closing;
  }

  #enrol(source: { base: URL; joinToken: string | undefined }): Promise<Identity> {
    const { data, name } = this.#options;
    if (source.joinToken === undefined)
      throw new AgentError(
        'USAGE',
        `no identity in ${data} yet: give --join-token TOKEN (or SIPFLEET_JOIN_TOKEN) once`,
      );
    const { joinToken, base } = source;
    return enrol({ data, base, joinToken, name, version: VERSION, signal: this.#stop.signal, log: this.#log });
  }

  /** Starts data threads and the local HTTP; there is nothing to serve yet. */
  async #serve(agent: { number: number; address: string }): Promise<Runtime> {
    const { workers: count, datapath, admin } = this.#options;
    this.#stop.signal.throwIfAborted();
    const log = this.#log;
    const runtime = new Runtime({
      agent,
      workers: { count, mailboxes: createMailboxes(count), datapath, log },
      health: {
        probe: probeOptions,
        clock: CLOCK,
        random: Math.random,
        probed: (report) => this.#metrics?.probed(report),
        changed: (health) => {
          log[health.state === 'down' ? 'warn' : 'info'](health, `backend ${health.state}`);
          this.#link?.verdictChanged();
        },
      },
    });
    this.#runtime = runtime;
    const metrics = this.#newMetrics(runtime);
    this.#metrics = metrics;
    const app = createAdmin({
      metrics,
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
    return runtime;
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
        link: () => this.#link?.status,
      },
      { version: VERSION, node: process.version, datapath: this.#options.datapath },
    );
  }

  #newLink(base: URL, identity: Identity, runtime: Runtime): Link {
    const log = this.#log.child({ room: 'link' });
    const token = () => identity.token();
    const link: Link = new Link({
      client: new ControlPlaneClient(base, token, this.#stop.signal),
      push: new PushSocket({ base, token, log, onOpen: () => link.refresh(), onHint: (hint) => link.onHint(hint) }),
      store: new SnapshotStore(this.#options.data),
      apply: (snapshot, etag) => runtime.apply(snapshot, etag),
      backends: () => backendReports(runtime),
      version: VERSION,
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

/** Backends as the status and the report to the control plane show them. */
function backendReports(runtime: Runtime): AgentStatus['backends'] {
  return runtime.backends().map((b) => ({ ...b, since: new Date(b.since).toISOString() }));
}
