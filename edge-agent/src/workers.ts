import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { setState } from './balancer/recovery.ts';
import { Signals } from './balancer/signals.ts';
import { DataThread, type Note } from './data-thread.ts';
import { AgentError } from './errors.ts';
import { type Plan, STATE, type StateCode } from './plan.ts';
import type { WorkerStart } from './ports.ts';
import { createFlows } from './proxy/flows.ts';
import { createPeers, type Peer, Peers } from './proxy/peers.ts';
import { createEventRing } from './telemetry/events.ts';
import { createTape } from './telemetry/tape.ts';
import { CounterTotals, layoutOf, type Totals } from './telemetry/totals.ts';
import { createOpenConnections } from './transport/open-connections.ts';
import { warmUpPlan } from './warm-up/plan.ts';

export interface WorkersOptions {
  count: number;
  /** Shared memory of the mailboxes between workers, made by transport/mailbox.ts. */
  mailboxes: SharedArrayBuffer;
  datapath: WorkerStart['datapath'];
  log: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** Bytes of each thread's tape, a power of two; 0, or left out: nothing is recorded. */
  tapeBytes?: number;
  /** Calls are played through the threads before they serve the first time. Left out: not. */
  warmUp?: boolean;
  /** Called before the threads commit a plan: what they tell from then on names it by `serial`. */
  beforeCommit?: (plan: Plan, serial: number) => void;
  /** What a data thread runs. */
  script?: URL;
  /** How long a thread may take to answer before it is held to be stuck, in milliseconds. */
  deadlineMs?: number;
}

/** A place for a data thread. It outlives the thread that fills it. */
interface Slot {
  index: number;
  thread: DataThread | undefined;
  bornAt: number;
  /** Deaths in a row, none of which was preceded by a minute of service. */
  deaths: number;
  /** What its threads tell about calls. */
  events: SharedArrayBuffer;
  /** The last messages of its threads. */
  tape: SharedArrayBuffer;
  /** Counters of the plan that its thread runs; undefined while it runs none. */
  counters: SharedArrayBuffer | undefined;
  revival?: NodeJS.Timeout;
}

const SETTLED_MS = 60_000;
const CLOSE_MS = 3_000;

/** The data threads as one: all run the same plan or are on their way to it. */
export class Workers {
  readonly #options: Required<WorkersOptions>;
  #serial = 0;
  readonly #seed = randomBytes(16);
  readonly #flows = createFlows();
  readonly #peers = createPeers();
  readonly #openConnections: SharedArrayBuffer;
  readonly #totals = new CounterTotals();
  readonly #slots: Slot[];
  #plan: Plan | undefined;
  #ports: readonly number[] = [];
  #restarts = 0;
  /** Changes of plan and revivals, one after the other. */
  #queue: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  /** Starts the threads; they serve from the first {@link apply} on. */
  constructor(options: WorkersOptions) {
    this.#options = {
      script: new URL('./worker.ts', import.meta.url),
      deadlineMs: 10_000,
      beforeCommit: () => {},
      tapeBytes: 0,
      warmUp: false,
      ...options,
    };
    this.#openConnections = createOpenConnections(options.count);
    this.#slots = Array.from({ length: options.count }, (_, index) => ({
      index,
      thread: undefined,
      bornAt: 0,
      deaths: 0,
      events: createEventRing(),
      tape: this.#options.tapeBytes > 0 ? createTape(this.#options.tapeBytes) : new SharedArrayBuffer(0),
      counters: undefined,
    }));
    const warmUp = this.#options.warmUp ? warmUpPlan() : undefined;
    for (const slot of this.#slots) this.#spawn(slot, warmUp);
  }

  /** The plan that runs. */
  get plan(): Plan | undefined {
    return this.#plan;
  }

  /** Really bound ports, in the order of `plan.listeners`. */
  get ports(): readonly number[] {
    return this.#ports;
  }

  /** Memory of the tapes, one per thread; none where nothing is recorded. */
  get tapes(): readonly SharedArrayBuffer[] {
    return this.#slots.flatMap((slot) => (slot.tape.byteLength > 0 ? [slot.tape] : []));
  }

  /** Memory of the event rings, one per thread. */
  get eventRings(): readonly SharedArrayBuffer[] {
    return this.#slots.map((slot) => slot.events);
  }

  /** Threads that run the plan, and how many died so far. */
  get health(): { running: number; restarts: number } {
    return { running: this.#slots.filter((s) => s.counters).length, restarts: this.#restarts };
  }

  /** Why not every thread runs a plan; undefined if all do. */
  notReady(): string | undefined {
    if (!this.#plan) return 'no snapshot applied yet';
    const missing = this.#slots.filter((s) => !s.counters).map((s) => s.index);
    return missing.length > 0 ? `data thread ${missing.join(', ')} is being restarted` : undefined;
  }

  /** Counts since the process started, by names. */
  totals(): Totals {
    return this.#totals.sum(this.#slots.flatMap((s) => s.counters ?? []));
  }

  /** Tells the data threads what a backend is held to be. Without effect for a backend that is not in the plan. */
  setState(farm: string, backend: string, state: StateCode): void {
    const plan = this.#plan?.farms.find((f) => f.name === farm);
    const at = plan?.backends.findIndex((b) => b.name === backend) ?? -1;
    if (!plan || at < 0) return;
    const cut = plan.cutConnections && state === STATE.down && new Uint8Array(plan.states)[at] !== STATE.down;
    setState(plan, at, state, Math.floor(Date.now() / 1000));
    if (cut) new Signals(plan.signals).order(at, 'cut');
  }

  /** The other agents of the site. */
  setPeers(peers: readonly Peer[]): void {
    new Peers(this.#peers).replace(peers);
  }

  /** Puts `plan` into effect on every thread, or, rejecting with AgentError PLAN, on none: then the one before goes on. */
  apply(plan: Plan): Promise<void> {
    return this.#enqueue(() => this.#apply(plan));
  }

  /** Ends every thread. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const slot of this.#slots) clearTimeout(slot.revival);
      await Promise.all(this.#slots.map((slot) => slot.thread?.close(CLOSE_MS)));
    })();
    return this.#closing;
  }

  #enqueue<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(() => {
      if (this.#closing) throw new AgentError('PLAN', 'the agent is closing');
      return task();
    });
    this.#queue = done.catch(() => {});
    return done;
  }

  async #apply(plan: Plan): Promise<void> {
    const serial = (this.#serial + 1) & 0xffff;
    const prepared = this.#slots.map((slot) => {
      const thread = slot.thread ?? this.#spawn(slot);
      return { slot, thread, counters: new SharedArrayBuffer(layoutOf(plan).bytes) };
    });
    const answers = await Promise.allSettled(
      prepared.map(({ thread, counters }) => this.#prepare(thread, plan, counters, serial)),
    );
    const reasons = answers.flatMap((a) => (a.status === 'rejected' ? [(a.reason as Error).message] : []));
    if (reasons.length > 0) {
      for (const { thread } of prepared) thread.tell({ type: 'abort', etag: plan.etag });
      throw new AgentError('PLAN', [...new Set(reasons)].join('; '));
    }
    this.#serial = serial;
    this.#options.beforeCommit(plan, serial);
    // From here on there is no way back: some threads may have committed. One that fails is restarted with the new plan.
    const committed = await Promise.all(prepared.map(({ thread }) => this.#commit(thread, plan.etag)));
    for (const { counters } of this.#slots) if (counters) this.#totals.fold(counters);
    this.#plan = plan;
    this.#ports = answers.flatMap((a) => (a.status === 'fulfilled' ? [a.value] : []))[0] ?? [];
    this.#totals.use(plan, this.#ports);
    for (const [i, { slot, thread, counters }] of prepared.entries())
      slot.counters = committed[i] && slot.thread === thread ? counters : undefined;
  }

  async #prepare(thread: DataThread, plan: Plan, counters: SharedArrayBuffer, serial: number): Promise<number[]> {
    const { ports } = await thread.ask(
      { type: 'prepare', plan, counters, serial },
      'prepared',
      this.#options.deadlineMs,
    );
    return ports;
  }

  async #commit(thread: DataThread, etag: string): Promise<boolean> {
    try {
      await thread.ask({ type: 'commit', etag }, 'committed', this.#options.deadlineMs);
      return true;
    } catch (error) {
      thread.kill(`it could not commit: ${(error as Error).message}`);
      return false;
    }
  }

  /** `warmUp`: only at the first start. Whoever takes the place of a dead thread is needed at once. */
  #spawn(slot: Slot, warmUp?: Plan): DataThread {
    const { count, mailboxes, datapath, script } = this.#options;
    const shared = {
      mailboxes,
      flows: this.#flows,
      peers: this.#peers,
      openConnections: this.#openConnections,
      seed: this.#seed,
      events: slot.events,
      tape: slot.tape,
    };
    const start = { index: slot.index, workers: count, datapath, warmUp, ...shared };
    const thread = new DataThread(script, start, (note) => this.#note(slot, note));
    slot.thread = thread;
    slot.bornAt = performance.now();
    void thread.ended.then((reason) => this.#buried(slot, reason));
    return thread;
  }

  #note({ index: worker, bornAt }: Slot, note: Note): void {
    const { log } = this.#options;
    if (note.type === 'fault')
      log.error({ worker, reason: note.reason }, 'a message was dropped: a fault of the agent');
    else if (typeof note.played === 'string')
      log.warn({ worker, reason: note.played }, 'the data thread is not warmed up: its first calls will be slower');
    else if (note.played)
      log.info({ worker, ...note.played, ms: Math.round(performance.now() - bornAt) }, 'the data thread is warmed up');
  }

  /** A thread ended. Unless everything is being closed, another takes its place, sooner the rarer it happens. */
  #buried(slot: Slot, reason: string): void {
    slot.thread = undefined;
    if (slot.counters) this.#totals.fold(slot.counters);
    slot.counters = undefined;
    if (this.#closing) return;
    this.#restarts++;
    slot.deaths = performance.now() - slot.bornAt > SETTLED_MS ? 0 : slot.deaths + 1;
    const waitMs = Math.min(10_000, 50 * 2 ** slot.deaths);
    this.#options.log.error({ worker: slot.index, reason, restartInMs: waitMs }, 'a data thread ended unexpectedly');
    slot.revival = setTimeout(() => void this.#enqueue(() => this.#revive(slot)).catch(() => {}), waitMs);
  }

  /** Brings a slot back to the running plan. A failure ends the thread, and so leads here again. */
  async #revive(slot: Slot): Promise<void> {
    if (slot.thread || !this.#plan) return;
    const plan = this.#plan;
    const counters = new SharedArrayBuffer(layoutOf(plan).bytes);
    const thread = this.#spawn(slot);
    try {
      await this.#prepare(thread, plan, counters, this.#serial);
    } catch (error) {
      return thread.kill((error as Error).message);
    }
    if ((await this.#commit(thread, plan.etag)) && slot.thread === thread) {
      slot.counters = counters;
      this.#options.log.info({ worker: slot.index }, 'the data thread runs again');
    }
  }
}
