import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AgentReport,
  type PushHint,
  parseWith,
  Snapshot,
  type SnapshotStatus,
  type Target,
  type VerdictChange,
} from '@sipfleet/contract';
import type { Logger } from 'pino';
import { AgentError } from '../errors.ts';
import type { Clock, Secrets } from '../ports.ts';
import { backoffMs } from './backoff.ts';
import type { FetchedSnapshot } from './client.ts';
import { Refusal } from './http.ts';
import { Reporter } from './reporter.ts';
import type { Kept, SealedSecrets } from './secret-keeper.ts';
import { SnapshotKeeper } from './snapshot-keeper.ts';
import type { SnapshotRecord, StoredSnapshot } from './store.ts';
import type { Purpose } from './trust.ts';

/** What the link needs; the real ones are ControlPlaneClient, PushSocket, SnapshotStore, Trust and SecretKeeper. */
export interface LinkPorts {
  client: {
    snapshot(running: string | undefined): Promise<FetchedSnapshot | undefined>;
    report(report: AgentReport): Promise<Target>;
  };
  push: { start(): void; close(): void; readonly connected: boolean; readonly reconnects: number };
  store: {
    load(): Promise<StoredSnapshot | undefined>;
    save(etag: string, generation: number, record: SnapshotRecord): Promise<void>;
  };
  trust: { check(purpose: Purpose, body: string, header: string | null): Promise<void> };
  secrets: {
    fetch(wanted: Snapshot['secrets']): Promise<Kept>;
    restore(sealed: SealedSecrets | undefined, wanted: Snapshot['secrets']): Kept;
  };
  /** Where this agent stands: it runs the snapshots of no other site. */
  site: string;
  /** Puts a snapshot into effect, or rejects and changes nothing. */
  apply(snapshot: Snapshot, etag: string, secrets: Secrets): Promise<void>;
  backends(): AgentReport['backends'];
  checks(): NonNullable<AgentReport['checks']>;
  /** Left out where nothing counts. */
  traffic?(): NonNullable<AgentReport['traffic']>;
  /** What the control plane answered to a report. */
  heard(target: Target): void;
  /** The agent's own. */
  address: string;
  version: string;
  clock: Clock;
  log: Pick<Logger, 'info' | 'warn' | 'error'>;
}

/** What failed may have failed because a port was taken for a moment. */
const RETRY_FAILED_MS = 45_000;

interface Failure {
  etag: string | null;
  generation: number | null;
  error: Error;
  at: number;
}

/** Keeps the agent on the snapshot that the control plane wants, and the control plane informed. */
export class Link {
  readonly #ports: LinkPorts;
  readonly #stop = new AbortController();
  #running: { etag: string; generation: number } | undefined;
  #failure: Failure | undefined;
  /** The control plane does not want this agent: before there is anything to run, waiting would be in vain. */
  #refusal: Error | undefined;
  #target: number | undefined;
  #failures = 0;
  #pulling: Promise<void> | undefined;
  #pullAgain = false;
  #hintTimer: NodeJS.Timeout | undefined;
  readonly #reporter: Reporter;
  readonly #keeper: SnapshotKeeper;
  /** Pulls that failed since the last that did not. */
  #pullAttempt = 0;

  constructor(ports: LinkPorts) {
    this.#ports = ports;
    const { client, clock, log } = ports;
    this.#keeper = new SnapshotKeeper(ports);
    this.#reporter = new Reporter({
      compose: () => this.#compose(),
      send: (report) => client.report(report),
      heard: (target) => this.#heard(target),
      clock,
      log,
    });
  }

  /** Snapshots that could not be applied, the generation that the control plane wants as far as it was heard, and what became of what is to be on disk. */
  get status(): {
    target: number | undefined;
    failures: number;
    connected: boolean;
    reconnects: number;
    disk: SnapshotKeeper['status'];
  } {
    const { connected, reconnects } = this.#ports.push;
    const [target, failures] = [this.#target, this.#failures];
    return { target, failures, connected, reconnects, disk: this.#keeper.status };
  }

  /**
   * Resolves as soon as a snapshot runs: the last known good one at once if there is one, without a word to the control
   * plane; else the first that can be had, however long that takes. Rejects if what there is cannot run, and is closed then: two links
   * of one agent would write the same file.
   */
  async start(): Promise<void> {
    try {
      await this.#begin();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  async #begin(): Promise<void> {
    await this.#boot();
    this.#ports.push.start();
    // Not at once: the report that matters, APPLIED or FAILED, is likely a moment away.
    this.#reporter.soon();
    for (let attempt = 0; !this.#running; attempt++) {
      await this.#pull();
      if (this.#running) return;
      if (this.#refusal) throw this.#refusal;
      if (this.#failure) {
        await this.#reporter.send();
        throw this.#failure.error;
      }
      await sleep(backoffMs(attempt), undefined, { signal: this.#stop.signal }).catch(() => {
        throw new AgentError('LINK', 'closed before a snapshot was there');
      });
    }
    void this.#pull();
  }

  /** Reports now; the answer says what was missed. For when the push socket opens. */
  refresh(): void {
    this.#reporter.within(0);
  }

  /** Something new may be there. Asks for it after a random part of the jitter, so that a fleet does not ask at once. */
  onHint(hint: PushHint): void {
    if (hint.generation === this.#running?.generation || this.#hintTimer) return;
    this.#hintTimer = setTimeout(() => {
      this.#hintTimer = undefined;
      void this.#pull();
    }, Math.random() * hint.jitterMs);
  }

  /** Something that operators wait for has happened: no minute is to pass until they hear of it. */
  reportSoon(): void {
    this.#reporter.soon();
  }

  verdictChanged(change: VerdictChange): void {
    this.#reporter.changed(change);
  }

  close(): void {
    this.#stop.abort();
    clearTimeout(this.#hintTimer);
    this.#reporter.close();
    this.#keeper.close();
    this.#ports.push.close();
  }

  async #boot(): Promise<void> {
    const { store, log } = this.#ports;
    const stored = await store.load();
    for (const reason of stored?.skipped ?? [])
      log.error({ reason }, 'a stored snapshot is damaged: taking the one before');
    if (!stored) return;
    const { etag, snapshot } = stored;
    const kept = this.#restore(stored);
    if (kept && (await this.#tryApply(etag, snapshot, kept.secrets)))
      log.info(this.#running, 'running from the last known good snapshot');
  }

  /** Undefined where they cannot be opened (any more): the control plane has them, and the snapshot is none the worse for it. */
  #restore({ secrets, snapshot }: StoredSnapshot): Kept | undefined {
    try {
      return this.#ports.secrets.restore(secrets, snapshot.secrets);
    } catch (error) {
      const reason = (error as Error).message;
      this.#ports.log.error({ reason }, 'the stored snapshot cannot be run: asking the control plane');
      return undefined;
    }
  }

  /** Fetches and applies what should run. One at a time; a call during one leads to another after it. */
  #pull(): Promise<void> {
    this.#pullAgain = this.#pulling !== undefined;
    if (this.#stop.signal.aborted) return Promise.resolve();
    this.#pulling ??= this.#pullOnce().finally(() => {
      this.#pulling = undefined;
      if (this.#pullAgain) void this.#pull();
    });
    return this.#pulling;
  }

  async #pullOnce(): Promise<void> {
    const { client, secrets, log } = this.#ports;
    try {
      const fetched = await client.snapshot(this.#running?.etag);
      this.#pullAttempt = 0;
      if (this.#stop.signal.aborted) return;
      if (!fetched || fetched.etag === this.#running?.etag) return this.#wantedRuns();
      if (this.#failedLately(fetched.etag)) return;
      const { etag } = fetched;
      const snapshot = await this.#attempt(etag, null, () => this.#read(fetched));
      if (!snapshot) return;
      const { generation } = snapshot;
      const kept = await this.#attempt(etag, generation, () => secrets.fetch(snapshot.secrets));
      if (!kept || !(await this.#tryApply(etag, snapshot, kept.secrets))) return;
      log.info(this.#running, 'snapshot applied');
      const { body, signature } = fetched;
      await this.#keeper.keep(etag, generation, { snapshot: body.toString('utf8'), signature, secrets: kept.sealed });
      this.#reporter.within(0);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      if ((error as Error).cause instanceof Refusal) this.#refusal = error as Error;
      else if (this.#running) this.#reporter.within(backoffMs(this.#pullAttempt++));
      log.warn({ reason: (error as Error).message }, 'no snapshot from the control plane');
    }
  }

  /** The control plane wants what runs: what it wanted before, and could not run, is history. */
  #wantedRuns(): void {
    if (!this.#failure || !this.#running) return;
    this.#failure = undefined;
    this.#reporter.within(0);
  }

  /** What `step` gives; undefined, and the snapshot is held to have failed, unless it was the control plane that did not answer. */
  async #attempt<T>(etag: string, generation: number | null, step: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await step();
    } catch (error) {
      if (error instanceof AgentError && error.code === 'LINK') throw error;
      this.#fail(etag, generation, error as Error);
      return undefined;
    }
  }

  async #read({ body, signature }: FetchedSnapshot): Promise<Snapshot> {
    const text = body.toString('utf8');
    await this.#ports.trust.check('snapshot', text, signature);
    const snapshot = parseSnapshot(text);
    if (snapshot.site !== this.#ports.site)
      throw new AgentError(
        'PLAN',
        `the snapshot is of site ${snapshot.site}; this agent stands at ${this.#ports.site}`,
      );
    return snapshot;
  }

  async #tryApply(etag: string, snapshot: Snapshot, secrets: Secrets): Promise<boolean> {
    try {
      await this.#ports.apply(snapshot, etag, secrets);
    } catch (error) {
      this.#fail(etag, snapshot.generation, error as Error);
      return false;
    }
    this.#running = { etag, generation: snapshot.generation };
    this.#failure = undefined;
    return true;
  }

  #fail(etag: string, generation: number | null, error: Error): void {
    if (this.#stop.signal.aborted) return;
    this.#failures++;
    this.#failure = { etag, generation, error, at: this.#ports.clock.monotonic() };
    this.#ports.log.error({ etag, generation, reason: error.message }, 'snapshot refused: going on with what runs');
    this.#reporter.within(0);
  }

  #failedLately(etag: string): boolean {
    const failure = this.#failure;
    return failure?.etag === etag && this.#ports.clock.monotonic() - failure.at < RETRY_FAILED_MS;
  }

  #heard(target: Target): void {
    this.#target = target.generation;
    this.#ports.heard(target);
    if (target.etag === this.#running?.etag) this.#wantedRuns();
    else if (!this.#failedLately(target.etag)) void this.#pull();
  }

  #compose(): AgentReport {
    const { version, clock, backends, checks, traffic } = this.#ports;
    const running = this.#running?.etag ?? null;
    const snapshot: SnapshotStatus = this.#failure
      ? {
          status: 'FAILED',
          etag: this.#failure.etag,
          generation: this.#failure.generation,
          reason: this.#failure.error.message.slice(0, 2000),
          running,
        }
      : this.#running
        ? { status: 'APPLIED', ...this.#running, running }
        : { status: 'NONE', etag: null, generation: null, running };
    const uptimeSeconds = clock.monotonic() / 1000;
    return {
      version,
      address: this.#ports.address,
      uptimeSeconds,
      snapshot,
      backends: backends().slice(0, 20_000),
      checks: checks().slice(0, 5_000),
      ...(traffic && { traffic: traffic().slice(0, 5_000) }),
    };
  }
}

function parseSnapshot(text: string): Snapshot {
  try {
    return parseWith(Snapshot, JSON.parse(text));
  } catch (cause) {
    throw new AgentError('PLAN', `the snapshot is not understood: ${(cause as Error).message}`, { cause });
  }
}
