import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type CheckReport,
  CheckSchedule,
  canonicalJson,
  type PeerAgent,
  parseWith,
  type RunCheck,
  type RunCheckResult,
  type ScheduleHint,
} from '@sipfleet/contract';
import type { Logger } from 'pino';
import type { FetchedSchedule } from './client.ts';
import { writeDurably } from './durable-file.ts';

/** What the link needs to keep checks going; the real client is ControlPlaneClient. */
export interface CheckLinkPorts {
  client: {
    schedule(known: string | undefined): Promise<FetchedSchedule | undefined>;
    checkResult(result: RunCheckResult): Promise<void>;
  };
  /** The agent's data directory. */
  data: string;
  assign(checks: CheckSchedule['checks']): void;
  share(verdicts: CheckSchedule['verdicts']): void;
  /** The other living agents of the site, as last heard. */
  meet(peers: readonly PeerAgent[]): void;
  /** Null: there is no such check here. */
  run(check: Pick<RunCheck, 'farm' | 'backend' | 'check'>): Promise<CheckReport | null>;
  log: Pick<Logger, 'info' | 'warn' | 'error'>;
}

/**
 * The answer to each report, every 72 s at the latest, says whether there is another schedule. Only where none came does this ask by itself:
 * well within the age limit of what others say.
 */
const POLL_MS = 90_000;
const NOTHING: Pick<CheckSchedule, 'checks' | 'verdicts' | 'disagreements' | 'peers'> = {
  checks: [],
  verdicts: [],
  disagreements: [],
};

/** Keeps this agent on the check schedule that the control plane wants. The last one holds while the control plane is away. */
export class CheckLink {
  readonly #ports: CheckLinkPorts;
  readonly #path: string;
  #etag: string | undefined;
  #schedule = NOTHING;
  #polling: Promise<void> | undefined;
  #again = false;
  #timer: NodeJS.Timeout | undefined;
  #hintTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(ports: CheckLinkPorts) {
    this.#ports = ports;
    this.#path = join(ports.data, 'check-schedule.json');
  }

  /** Backends that agents of this site hold for up and for down, as last heard. */
  get disagreements(): CheckSchedule['disagreements'] {
    return this.#schedule.disagreements;
  }

  /** Puts the last schedule into effect, without a word to the control plane. To be called before there is anything to check. */
  async start(): Promise<void> {
    try {
      // What others said then is no longer true.
      const { checks, peers } = parseWith(CheckSchedule, await this.#read());
      this.#schedule = { ...NOTHING, checks, ...(peers && { peers }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#ports.log.error({ reason: (error as Error).message }, 'the stored check schedule is damaged: without it');
    }
    this.#ports.assign(this.#schedule.checks);
    this.#ports.meet(this.#schedule.peers ?? []);
    this.#pollIn();
  }

  /** Asks the control plane now. For when a snapshot was applied, or the push socket opened. */
  refresh(): void {
    void this.#poll();
  }

  /** The control plane named the schedule that it has for this agent: another one is fetched, this one is confirmed. */
  heard(etag: string): void {
    if (etag !== this.#etag) return this.refresh();
    this.#ports.share(this.#schedule.verdicts);
    this.#pollIn();
  }

  onHint(hint: ScheduleHint): void {
    this.#hintTimer ??= setTimeout(() => {
      this.#hintTimer = undefined;
      this.refresh();
    }, Math.random() * hint.jitterMs);
  }

  /** Makes a check now and posts what it found. */
  async onRun({ id, farm, backend, check }: RunCheck): Promise<void> {
    try {
      await this.#ports.client.checkResult({ id, report: await this.#ports.run({ farm, backend, check }) });
    } catch (error) {
      this.#ports.log.warn({ reason: (error as Error).message, farm, backend, check }, 'check result not delivered');
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#hintTimer);
  }

  async #read(): Promise<unknown> {
    return JSON.parse(await readFile(this.#path, 'utf8'));
  }

  #pollIn(): void {
    clearTimeout(this.#timer);
    if (!this.#closed) this.#timer = setTimeout(() => void this.#poll(), POLL_MS * (1 + 0.3 * Math.random()));
  }

  /** One at a time; a call during one leads to another after it. */
  #poll(): Promise<void> {
    this.#again = this.#polling !== undefined;
    if (this.#closed) return Promise.resolve();
    this.#polling ??= this.#pollOnce().finally(() => {
      this.#polling = undefined;
      this.#pollIn();
      if (this.#again) void this.#poll();
    });
    return this.#polling;
  }

  async #pollOnce(): Promise<void> {
    const { client, assign, share, meet, log } = this.#ports;
    try {
      const fetched = await client.schedule(this.#etag);
      if (this.#closed) return;
      if (fetched) {
        const before = lasting(this.#schedule);
        this.#etag = fetched.etag;
        this.#schedule = fetched.schedule;
        assign(fetched.schedule.checks);
        meet(fetched.schedule.peers ?? []);
        if (lasting(fetched.schedule) !== before) await this.#keep(fetched.schedule);
      }
      // Also where nothing is new: what others said has just been confirmed.
      share(this.#schedule.verdicts);
    } catch (error) {
      if (!this.#closed) log.warn({ reason: (error as Error).message }, 'no check schedule: the last one holds');
    }
  }

  async #keep(schedule: CheckSchedule): Promise<void> {
    this.#ports.log.info({ checks: schedule.checks.length }, 'another check schedule');
    try {
      await mkdir(this.#ports.data, { recursive: true, mode: 0o700 });
      await writeDurably(this.#path, canonicalJson(schedule));
    } catch (error) {
      this.#ports.log.error(
        { reason: (error as Error).message },
        'check schedule in effect, but a restart would lose it',
      );
    }
  }
}

/** What a restart without a control plane needs. */
const lasting = ({ checks, peers = [] }: Pick<CheckSchedule, 'checks' | 'peers'>): string =>
  canonicalJson({ checks, peers });
