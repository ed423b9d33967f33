import { METHODS } from '../sip/method.ts';

/**
 * Layout of the counters that data threads keep: one Float64Array over shared memory per worker and plan,
 * written by its worker alone (so plain adds), summed by the control thread. 2^53 counts are exact.
 *
 *   [ drops | local responses | refusals, work and states of the worker | per listener … | per backend … ]
 */

/** Why a message went nowhere. Index = position; names are the `reason` label of sipfleet_dropped_messages_total. */
export const DROP_REASONS = [
  'malformed',
  'oversized',
  'unknown_flow',
  'forged_token',
  'forged_branch',
  'no_backend',
  'no_route',
  'send_failed',
  'mailbox_full',
  'keepalive',
  'internal',
  'overload',
  'queue_budget',
  'receive_buffer',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];
/** `DROP.malformed` → its index. */
export const DROP = Object.fromEntries(DROP_REASONS.map((name, i) => [name, i])) as Record<DropReason, number>;

export { METHODS, type MethodName } from '../sip/method.ts';

/** Responses that the agent itself makes (proxy/reply.ts). */
export const LOCAL_STATUSES = [100, 200, 400, 403, 408, 416, 420, 430, 440, 482, 483, 487, 503, 505] as const;
export type LocalStatus = (typeof LOCAL_STATUSES)[number];

/** Why new requests were refused with 503 and Retry-After, to protect what stands. Names are the `reason` label of sipfleet_refused_requests_total. */
export const REFUSALS = ['transaction_limit', 'overload'] as const;
export type Refusal = (typeof REFUSALS)[number];

/** What all workers did: seconds that they did not wait, and batches of datagrams that they took. */
export const WORK = ['workerBusy', 'udpBatches'] as const;
export type Work = (typeof WORK)[number];

/** Of one worker, now: open exchanges, bytes that wait to be sent on streams, and 1 while it refuses new work for overload. */
export const WORKER_STATES = ['transactions', 'queuedBytes', 'overloaded'] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

export const LISTENER_FIELDS = [
  'received',
  'sent',
  'receivedBytes',
  'sentBytes',
  'sentLarge',
  'accepted',
  'refused',
  'handshakeFailed',
  'expired',
  // A state, not a count: it ends with the slab. The last one.
  'connections',
] as const;
/** How many of them, at the end, are states. */
export const LISTENER_STATES = 1;

/** Per backend: requests sent to it and received from it by method, responses received from it by class 1xx–6xx,
 * retransmissions to it, attempts at it that were given up for another one, users that it did not know and who were sought elsewhere,
 * and requests too large for a datagram that went over TCP and by UDP. */
export const BACKEND_WIDTH = METHODS.length * 2 + 11;

const WORKER_AT = DROP_REASONS.length + LOCAL_STATUSES.length;
const STATES_AT = REFUSALS.length + WORK.length;
export const WORKER_WIDTH = STATES_AT + WORKER_STATES.length;
const LISTENERS_AT = WORKER_AT + WORKER_WIDTH;

/** Index arithmetic for a plan with this many listeners and backends (all farms together). */
export class SlabLayout {
  readonly listeners: number;
  readonly backends: number;
  readonly length: number;

  constructor(listeners: number, backends: number) {
    this.listeners = listeners;
    this.backends = backends;
    this.length = LISTENERS_AT + listeners * LISTENER_FIELDS.length + backends * BACKEND_WIDTH;
  }
  get bytes(): number {
    return this.length * Float64Array.BYTES_PER_ELEMENT;
  }
  drop(reason: number): number {
    return reason;
  }
  /** Index for a locally made response. */
  local(status: LocalStatus): number {
    return DROP_REASONS.length + LOCAL_STATUSES.indexOf(status);
  }
  refused(reason: Refusal): number {
    return WORKER_AT + REFUSALS.indexOf(reason);
  }
  work(field: Work): number {
    return WORKER_AT + REFUSALS.length + WORK.indexOf(field);
  }
  worker(state: WorkerState): number {
    return WORKER_AT + STATES_AT + WORKER_STATES.indexOf(state);
  }
  listener(listener: number, field: number): number {
    return LISTENERS_AT + listener * LISTENER_FIELDS.length + field;
  }
  /** `backend` is the index over all farms of the plan: `farm.firstBackend + i`. */
  requestTo(backend: number, method: number): number {
    return this.#backend(backend) + method;
  }
  requestFrom(backend: number, method: number): number {
    return this.#backend(backend) + METHODS.length + method;
  }
  /** `statusClass` 1–6. */
  responseFrom(backend: number, statusClass: number): number {
    return this.#backend(backend) + METHODS.length * 2 + statusClass - 1;
  }
  retransmission(backend: number): number {
    return this.#backend(backend) + METHODS.length * 2 + 6;
  }
  failover(backend: number): number {
    return this.#backend(backend) + METHODS.length * 2 + 7;
  }
  sought(backend: number): number {
    return this.#backend(backend) + METHODS.length * 2 + 8;
  }
  largeRequest(backend: number, byTcp: boolean): number {
    return this.#backend(backend) + METHODS.length * 2 + (byTcp ? 9 : 10);
  }
  #backend(backend: number): number {
    return LISTENERS_AT + this.listeners * LISTENER_FIELDS.length + backend * BACKEND_WIDTH;
  }
}
