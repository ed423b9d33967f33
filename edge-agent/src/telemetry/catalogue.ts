import { BACKEND_BUDGET } from './budgets.ts';
import { CALL_METRICS } from './catalogue-calls.ts';
import { DELIVERY_METRICS } from './catalogue-delivery.ts';

/**
 * Every metric of the agent, as data: what dashboards, alerts, documentation and the registry are made from.
 * Imports data only. Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` on counters.
 */
export interface MetricEntry {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  /** `1` for plain counts and states. */
  readonly unit: 'seconds' | 'bytes' | '1';
  /** Upper bounds of a histogram's buckets, in `unit`. */
  readonly buckets?: readonly number[];
  /** Values of a label that get series of their own, per farm and whatever other labels there are; the rest counts under `_other`. */
  readonly budget?: Readonly<Partial<Record<'backend' | 'code', number>>>;
}

const BACKENDS = { backend: BACKEND_BUDGET } as const;
const LISTENER = ['farm', 'listener', 'transport'] as const;

export const CATALOGUE = {
  messagesReceived: {
    name: 'sipfleet_messages_received_total',
    type: 'counter',
    help: 'SIP messages received, by the listener they came in by.',
    labels: LISTENER,
    unit: '1',
  },
  messagesSent: {
    name: 'sipfleet_messages_sent_total',
    type: 'counter',
    help: 'SIP messages sent, by the listener they left from.',
    labels: LISTENER,
    unit: '1',
  },
  receivedBytes: {
    name: 'sipfleet_received_bytes_total',
    type: 'counter',
    help: 'Bytes of SIP messages received, without IP, UDP and TCP headers.',
    labels: LISTENER,
    unit: 'bytes',
  },
  sentBytes: {
    name: 'sipfleet_sent_bytes_total',
    type: 'counter',
    help: 'Bytes of SIP messages sent, without IP, UDP and TCP headers.',
    labels: LISTENER,
    unit: 'bytes',
  },
  largeMessagesSent: {
    name: 'sipfleet_large_messages_sent_total',
    type: 'counter',
    help: 'SIP messages of more than 1,300 bytes sent (RFC 3261 §18.1.1), by the listener they left from: as datagrams they may be cut into fragments.',
    labels: LISTENER,
    unit: '1',
  },
  connections: {
    name: 'sipfleet_connections',
    type: 'gauge',
    help: 'Open TCP, TLS and WebSocket connections, by the listener that accepted them or that they were opened for.',
    labels: LISTENER,
    unit: '1',
  },
  connectionsAccepted: {
    name: 'sipfleet_connections_accepted_total',
    type: 'counter',
    help: 'Connections that peers opened and the agent took.',
    labels: LISTENER,
    unit: '1',
  },
  connectionsRefused: {
    name: 'sipfleet_connections_refused_total',
    type: 'counter',
    help: 'Connections closed at once, because too many were open, in all or from one source.',
    labels: LISTENER,
    unit: '1',
  },
  handshakesFailed: {
    name: 'sipfleet_handshakes_failed_total',
    type: 'counter',
    help: 'Connections closed before SIP began: a bad PROXY header, TLS handshake or WebSocket upgrade, or one that did not end.',
    labels: LISTENER,
    unit: '1',
  },
  connectionsExpired: {
    name: 'sipfleet_connections_expired_total',
    type: 'counter',
    help: 'Connections closed because nothing came for too long, or a message did not end.',
    labels: LISTENER,
    unit: '1',
  },
  certificateExpiry: {
    name: 'sipfleet_certificate_expiry_timestamp_seconds',
    type: 'gauge',
    help: 'When the first of the certificates of a TLS or WSS listener expires, Unix time.',
    labels: LISTENER,
    unit: 'seconds',
  },
  backendRequestsSent: {
    name: 'sipfleet_backend_requests_sent_total',
    type: 'counter',
    help: 'Requests forwarded to a backend. Methods without a name of their own count as "other".',
    labels: ['farm', 'backend', 'method'],
    unit: '1',
    budget: BACKENDS,
  },
  backendRequestsReceived: {
    name: 'sipfleet_backend_requests_received_total',
    type: 'counter',
    help: 'Requests that came from a backend. Methods without a name of their own count as "other".',
    labels: ['farm', 'backend', 'method'],
    unit: '1',
    budget: BACKENDS,
  },
  backendResponses: {
    name: 'sipfleet_backend_responses_total',
    type: 'counter',
    help: 'Responses that came from a backend, by class (1xx to 6xx).',
    labels: ['farm', 'backend', 'code_class'],
    unit: '1',
    budget: BACKENDS,
  },
  retransmissions: {
    name: 'sipfleet_retransmissions_total',
    type: 'counter',
    help: 'Requests sent to a backend again for want of an answer (Timers A and E).',
    labels: ['farm', 'backend'],
    unit: '1',
    budget: BACKENDS,
  },
  failovers: {
    name: 'sipfleet_failovers_total',
    type: 'counter',
    help: 'Attempts at a backend that were given up for another one: silence, a failover code, or it went down.',
    labels: ['farm', 'backend'],
    unit: '1',
    budget: BACKENDS,
  },
  soughtElsewhere: {
    name: 'sipfleet_sought_elsewhere_total',
    type: 'counter',
    help: 'Answers 404 and 480 of a backend upon which the user was sought at another one, while registrations lag behind the candidate order.',
    labels: ['farm', 'backend'],
    unit: '1',
    budget: BACKENDS,
  },
  largeRequests: {
    name: 'sipfleet_large_requests_total',
    type: 'counter',
    help: 'Requests above the tcpAbove of their backend, retransmissions included, by how they went: over tcp, or by udp because TCP was refused within the last minute.',
    labels: ['farm', 'backend', 'transport'],
    unit: '1',
    budget: BACKENDS,
  },
  localResponses: {
    name: 'sipfleet_local_responses_total',
    type: 'counter',
    help: 'Responses that the agent made itself.',
    labels: ['code'],
    unit: '1',
  },
  dropped: {
    name: 'sipfleet_dropped_messages_total',
    type: 'counter',
    help: 'Messages that were not forwarded, by reason. Some are answered all the same: no_backend with 503, forged_token with 403, unknown_flow with 430, malformed with 400 where that can be done.',
    labels: ['reason'],
    unit: '1',
  },
  ...CALL_METRICS,
  refused: {
    name: 'sipfleet_refused_requests_total',
    type: 'counter',
    help: 'New requests refused with 503 and Retry-After to protect established calls: at the transaction limit, or in overload.',
    labels: ['reason'],
    unit: '1',
  },
  transactions: {
    name: 'sipfleet_transactions',
    type: 'gauge',
    help: 'Requests under way that the agent keeps a transaction for, over all data threads. At 50,000 per thread, or 256 MiB of messages kept, new ones are refused.',
    labels: [],
    unit: '1',
  },
  queuedBytes: {
    name: 'sipfleet_stream_queued_bytes',
    type: 'gauge',
    help: 'Bytes that wait to be sent on TCP, TLS and WebSocket connections, because peers read slowly.',
    labels: [],
    unit: 'bytes',
  },
  overloaded: {
    name: 'sipfleet_workers_overloaded',
    type: 'gauge',
    help: 'Data threads that are behind and refuse a part of the new requests.',
    labels: [],
    unit: '1',
  },
  backendSignals: {
    name: 'sipfleet_backend_signals_total',
    type: 'counter',
    help: 'What traffic told against a backend: timeout (a request given up after silence), refused (ICMP, or a connection refused), 503.',
    labels: ['farm', 'backend', 'signal'],
    unit: '1',
    budget: BACKENDS,
  },
  backendState: {
    name: 'sipfleet_backend_state',
    type: 'gauge',
    help: '1 for the state a backend is in, 0 for the others. A backend serves while it is unknown or up.',
    labels: ['farm', 'backend', 'state'],
    unit: '1',
  },
  checkResults: {
    name: 'sipfleet_check_results_total',
    type: 'counter',
    help: 'Health check probes, by result: success, failure, or inconclusive where nothing was learnt about the backend.',
    labels: ['farm', 'backend', 'check', 'result'],
    unit: '1',
    budget: BACKENDS,
  },
  checkFailures: {
    name: 'sipfleet_check_failures_total',
    type: 'counter',
    help: 'Health check probes that failed, by the phase that decided it (connect, register, invite, answer, media, bye …); "probe" for checks without phases.',
    labels: ['farm', 'backend', 'check', 'phase'],
    unit: '1',
    budget: BACKENDS,
  },
  checkDuration: {
    name: 'sipfleet_check_duration_seconds',
    type: 'histogram',
    help: 'Time from the start of a health check probe to its result, failures included.',
    // Not by backend: 20,000 backends with 13 series each would block the control thread for seconds at every scrape.
    labels: ['farm', 'check'],
    unit: 'seconds',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  checkPhases: {
    name: 'sipfleet_check_phase_results_total',
    type: 'counter',
    help: 'Phases that register and call checks went through (connect, register, invite, answer, media, bye …), by result.',
    labels: ['farm', 'check', 'phase', 'result'],
    unit: '1',
  },
  checkPhaseDuration: {
    name: 'sipfleet_check_phase_duration_seconds',
    type: 'histogram',
    help: 'Time that each phase of register and call checks took.',
    labels: ['farm', 'check', 'phase'],
    unit: 'seconds',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  backendDisagreement: {
    name: 'sipfleet_backend_disagreeing_agents',
    type: 'gauge',
    help: 'Agents of this site that hold the backend for down while others hold it for up, as the control plane last told. Absent where all agree.',
    labels: ['farm', 'backend'],
    unit: '1',
  },
  snapshotApplied: {
    name: 'sipfleet_snapshot_generation',
    type: 'gauge',
    help: 'Generation of the snapshot that runs. Absent before the first.',
    labels: [],
    unit: '1',
  },
  snapshotTarget: {
    name: 'sipfleet_snapshot_target_generation',
    type: 'gauge',
    help: 'Generation that the control plane last told this agent to run. Absent before it was heard of.',
    labels: [],
    unit: '1',
  },
  snapshotAppliedAt: {
    name: 'sipfleet_snapshot_applied_timestamp_seconds',
    type: 'gauge',
    help: 'When the running snapshot was applied, Unix time. Absent before the first.',
    labels: [],
    unit: 'seconds',
  },
  snapshotFailures: {
    name: 'sipfleet_snapshot_apply_failures_total',
    type: 'counter',
    help: 'Snapshots that could not be applied. The one before went on.',
    labels: [],
    unit: '1',
  },
  snapshotUnsaved: {
    name: 'sipfleet_snapshot_unsaved',
    type: 'gauge',
    help: '1 while the snapshot that runs could not be written to disk: a restart without the control plane would begin with an older one. Absent where there is no control plane.',
    labels: [],
    unit: '1',
  },
  snapshotSaveFailures: {
    name: 'sipfleet_snapshot_save_failures_total',
    type: 'counter',
    help: 'Tries to write the snapshot that runs to disk that failed.',
    labels: [],
    unit: '1',
  },
  linkConnected: {
    name: 'sipfleet_link_connected',
    type: 'gauge',
    help: '1 while the push socket to the control plane is open. Absent where there is no control plane.',
    labels: [],
    unit: '1',
  },
  linkReconnects: {
    name: 'sipfleet_link_reconnects_total',
    type: 'counter',
    help: 'Times the push socket was opened again after it was lost.',
    labels: [],
    unit: '1',
  },
  ...DELIVERY_METRICS,
  workerBusy: {
    name: 'sipfleet_worker_busy_seconds_total',
    type: 'counter',
    help: 'Time that data threads were not waiting for anything, all threads together. Its rate divided by sipfleet_workers is their utilisation.',
    labels: [],
    unit: 'seconds',
  },
  udpBatches: {
    name: 'sipfleet_udp_batches_total',
    type: 'counter',
    help: 'Batches of datagrams that data threads took from sockets at once. Datagrams received divided by it: how many came together.',
    labels: [],
    unit: '1',
  },
  workers: {
    name: 'sipfleet_workers',
    type: 'gauge',
    help: 'Data threads that run the current snapshot.',
    labels: [],
    unit: '1',
  },
  workerRestarts: {
    name: 'sipfleet_worker_restarts_total',
    type: 'counter',
    help: 'Data threads that ended unexpectedly. Each is started again.',
    labels: [],
    unit: '1',
  },
  buildInfo: {
    name: 'sipfleet_build_info',
    type: 'gauge',
    help: 'Always 1; the labels tell what runs. Datapath as it was asked for: auto, ffi or dgram.',
    labels: ['version', 'node', 'datapath'],
    unit: '1',
  },
} as const satisfies Record<string, MetricEntry>;

/** What prom-client adds about the process, as far as dashboards and alerts use it. */
export const PROCESS_METRICS = [
  'process_cpu_seconds_total',
  'process_resident_memory_bytes',
  'process_open_fds',
  'process_max_fds',
  'process_start_time_seconds',
  'nodejs_eventloop_lag_p99_seconds',
  'nodejs_heap_size_used_bytes',
  'nodejs_external_memory_bytes',
] as const;
