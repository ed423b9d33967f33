/**
 * Every metric of the agent, as data: what dashboards, alerts, documentation and the registry are made from.
 * Imports nothing. Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` on counters.
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
}

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
  backendRequestsSent: {
    name: 'sipfleet_backend_requests_sent_total',
    type: 'counter',
    help: 'Requests forwarded to a backend. Methods without a name of their own count as "other".',
    labels: ['farm', 'backend', 'method'],
    unit: '1',
  },
  backendRequestsReceived: {
    name: 'sipfleet_backend_requests_received_total',
    type: 'counter',
    help: 'Requests that came from a backend. Methods without a name of their own count as "other".',
    labels: ['farm', 'backend', 'method'],
    unit: '1',
  },
  backendResponses: {
    name: 'sipfleet_backend_responses_total',
    type: 'counter',
    help: 'Responses that came from a backend, by class (1xx to 6xx).',
    labels: ['farm', 'backend', 'code_class'],
    unit: '1',
  },
  localResponses: {
    name: 'sipfleet_local_responses_total',
    type: 'counter',
    help: 'Responses that the agent made itself. Codes without a series of their own count as 500.',
    labels: ['code'],
    unit: '1',
  },
  dropped: {
    name: 'sipfleet_dropped_messages_total',
    type: 'counter',
    help: 'Messages that were neither forwarded nor answered, by reason.',
    labels: ['reason'],
    unit: '1',
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
    help: 'Health check probes, by result (success or failure).',
    labels: ['farm', 'backend', 'check', 'result'],
    unit: '1',
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
