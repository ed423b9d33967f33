import type { Plan } from '../plan.ts';
import type { ConnectionCounts, TransportCounts } from '../ports.ts';
import {
  DROP,
  LISTENER_FIELDS,
  type LocalStatus,
  type Refusal,
  SlabLayout,
  WORKER_STATES,
  type WorkerState,
} from './slab.ts';

const RECEIVED = LISTENER_FIELDS.indexOf('received');
const SENT = LISTENER_FIELDS.indexOf('sent');
const RECEIVED_BYTES = LISTENER_FIELDS.indexOf('receivedBytes');
const CONNECTIONS = LISTENER_FIELDS.indexOf('connections');
const OF_CONNECTIONS = ['accepted', 'refused', 'handshakeFailed', 'expired'] as const;
const SENT_BYTES = LISTENER_FIELDS.indexOf('sentBytes');
const SENT_LARGE = LISTENER_FIELDS.indexOf('sentLarge');
/** RFC 3261 §18.1.1: what a datagram should not exceed where the path MTU is unknown. */
const LARGE_BYTES = 1300;

/** One data thread's counters: plain adds on shared memory that it alone writes. */
export class SlabCounters {
  readonly #slab: Float64Array;
  readonly #layout: SlabLayout;
  /** What of the transport's own counts is already in here. */
  #oversized = -1;
  #sendDropped = -1;
  #overBudget = -1;
  #receiveDropped = 0;
  /** What of a listener's own counts is already in here. */
  readonly #taken = new Map<number, ConnectionCounts>();

  constructor(plan: Plan, memory: SharedArrayBuffer) {
    this.#slab = new Float64Array(memory);
    this.#layout = new SlabLayout(
      plan.listeners.length,
      plan.farms.reduce((sum, farm) => sum + farm.backends.length, 0),
    );
  }

  received(listener: number, bytes: number): void {
    this.#add(this.#layout.listener(listener, RECEIVED), 1);
    this.#add(this.#layout.listener(listener, RECEIVED_BYTES), bytes);
  }
  sent(listener: number, bytes: number): void {
    this.#add(this.#layout.listener(listener, SENT), 1);
    this.#add(this.#layout.listener(listener, SENT_BYTES), bytes);
    if (bytes > LARGE_BYTES) this.#add(this.#layout.listener(listener, SENT_LARGE), 1);
  }
  drop(reason: number): void {
    this.#add(this.#layout.drop(reason), 1);
  }
  local(status: LocalStatus): void {
    this.#add(this.#layout.local(status), 1);
  }
  refused(reason: Refusal): void {
    this.#add(this.#layout.refused(reason), 1);
  }
  requestTo(backend: number, method: number): void {
    this.#add(this.#layout.requestTo(backend, method), 1);
  }
  requestFrom(backend: number, method: number): void {
    this.#add(this.#layout.requestFrom(backend, method), 1);
  }
  retransmission(backend: number): void {
    this.#add(this.#layout.retransmission(backend), 1);
  }
  failover(backend: number): void {
    this.#add(this.#layout.failover(backend), 1);
  }
  sought(backend: number): void {
    this.#add(this.#layout.sought(backend), 1);
  }
  largeRequest(backend: number, byTcp: boolean): void {
    this.#add(this.#layout.largeRequest(backend, byTcp), 1);
  }
  responseFrom(backend: number, status: number): void {
    this.#add(this.#layout.responseFrom(backend, Math.floor(status / 100)), 1);
  }

  /** Adds what the transports dropped since the last call; they live longer than one plan's counters. */
  takeTransport(counts: TransportCounts): void {
    if (this.#oversized >= 0) {
      this.#add(DROP.oversized, counts.oversized - this.#oversized);
      this.#add(DROP.send_failed, counts.sendDropped - this.#sendDropped);
      this.#add(DROP.queue_budget, counts.overBudget - this.#overBudget);
      this.#add(DROP.receive_buffer, counts.receiveDropped - this.#receiveDropped);
    }
    this.#oversized = counts.oversized;
    this.#sendDropped = counts.sendDropped;
    this.#overBudget = counts.overBudget;
    this.#receiveDropped = counts.receiveDropped;
  }

  /** Adds what the worker did since the last call. */
  takeWork(busySeconds: number, batches: number): void {
    this.#add(this.#layout.work('workerBusy'), busySeconds);
    this.#add(this.#layout.work('udpBatches'), batches);
  }

  /** Notes how the worker is now. */
  takeStates(states: Readonly<Record<WorkerState, number>>): void {
    for (const state of WORKER_STATES) this.#slab[this.#layout.worker(state)] = states[state];
  }

  /** Adds what became of a listener's connections since the last call, and notes how many are open. */
  takeConnections(listener: number, open: number, counts: Readonly<ConnectionCounts>): void {
    const taken = this.#taken.get(listener) ?? counts;
    for (const field of OF_CONNECTIONS)
      this.#add(this.#layout.listener(listener, LISTENER_FIELDS.indexOf(field)), counts[field] - taken[field]);
    this.#slab[this.#layout.listener(listener, CONNECTIONS)] = open;
    this.#taken.set(listener, { ...counts });
  }

  #add(index: number, amount: number): void {
    this.#slab[index] = this.#slab[index]! + amount;
  }
}
