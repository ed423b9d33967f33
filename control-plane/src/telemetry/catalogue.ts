/** Every metric of the control plane, as data; the same rules as in the agent's catalogue. Imports nothing. */
export interface MetricEntry {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  /** `1` for plain counts and states. */
  readonly unit: 'seconds' | '1';
  /** Upper bounds of a histogram's buckets, in `unit`. */
  readonly buckets?: readonly number[];
}

const AGENT = ['site', 'agent'] as const;

export const CATALOGUE = {
  requests: {
    name: 'sipfleet_control_plane_http_requests_total',
    type: 'counter',
    help: 'HTTP requests answered by this process, by route as in the OpenAPI document; what fits none is "unmatched".',
    labels: ['method', 'route', 'code'],
    unit: '1',
  },
  requestDuration: {
    name: 'sipfleet_control_plane_http_request_duration_seconds',
    type: 'histogram',
    help: 'Time until a request was answered.',
    labels: ['method', 'route'],
    unit: 'seconds',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  },
  exchanges: {
    name: 'sipfleet_control_plane_exchanges_total',
    type: 'counter',
    help: 'What agents asked over their push connections to this process (report, snapshot), by the status that it was answered with.',
    labels: ['type', 'code'],
    unit: '1',
  },
  exchangeDuration: {
    name: 'sipfleet_control_plane_exchange_duration_seconds',
    type: 'histogram',
    help: 'Time until an agent was answered over its push connection.',
    labels: ['type'],
    unit: 'seconds',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  },
  revision: {
    name: 'sipfleet_control_plane_revision',
    type: 'gauge',
    help: 'Global revision of the configuration.',
    labels: [],
    unit: '1',
  },
  targetGeneration: {
    name: 'sipfleet_control_plane_target_generation',
    type: 'gauge',
    help: 'Generation of the snapshot that the agents of a site should run.',
    labels: ['site'],
    unit: '1',
  },
  pendingHints: {
    name: 'sipfleet_control_plane_pending_hints',
    type: 'gauge',
    help: 'Committed changes whose push hint is not known to be out, at most 1000.',
    labels: [],
    unit: '1',
  },
  agentConnected: {
    name: 'sipfleet_control_plane_agent_connected',
    type: 'gauge',
    help: '1 while the agent holds a push connection to this process.',
    labels: AGENT,
    unit: '1',
  },
  agentCurrent: {
    name: 'sipfleet_control_plane_agent_current',
    type: 'gauge',
    help: '1 if the agent, as it last reported, runs the snapshot that it should.',
    labels: AGENT,
    unit: '1',
  },
  agentRefuses: {
    name: 'sipfleet_control_plane_agent_refuses',
    type: 'gauge',
    help: '1 if the agent refused the snapshot that it should run, and goes on with another.',
    labels: AGENT,
    unit: '1',
  },
  agentsDrifting: {
    name: 'sipfleet_control_plane_agents_drifting',
    type: 'gauge',
    help: 'Agents of a site that do not run what they should, by reason: new, silent, refused or behind. All are behind for seconds after a change.',
    labels: ['site', 'reason'],
    unit: '1',
  },
  agentLastReport: {
    name: 'sipfleet_control_plane_agent_last_report_timestamp_seconds',
    type: 'gauge',
    help: 'When the agent last reported, Unix time. Absent before its first report.',
    labels: AGENT,
    unit: 'seconds',
  },
  buildInfo: {
    name: 'sipfleet_control_plane_build_info',
    type: 'gauge',
    help: 'Always 1; the labels tell what runs.',
    labels: ['version', 'node'],
    unit: '1',
  },
} as const satisfies Record<string, MetricEntry>;
