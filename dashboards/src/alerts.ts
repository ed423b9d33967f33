import type { RuleGroup, Window } from './recording.ts';

export interface AlertRule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: 'critical' | 'warning'; window?: Window };
  annotations: { summary: string; runbook: string; dashboard: string };
}

interface Alert {
  name: string;
  severity: 'critical' | 'warning';
  expr: string;
  /** How long it must hold. */
  holds?: string;
  summary: string;
  /** Of several alerts of one name: the one that this is about. */
  window?: Window;
  /** Where to look first, as path and query below Grafana's URL. */
  dashboard: string;
}

/** The runbook has the alert's name in small letters: `SipfleetBackendDown` → `docs/runbooks/backend-down.md`; both speeds of a burn rate share one. */
export const runbookOf = (name: string): string =>
  `docs/runbooks/${name
    .replace(/^Sipfleet|(Fast|Slow)$/g, '')
    .replace(/(?<=[a-z0-9])(?=[A-Z])/g, '-')
    .toLowerCase()}.md`;

const alert = ({ name, severity, expr, holds, summary, window, dashboard }: Alert): AlertRule => ({
  alert: name,
  expr,
  ...(holds === undefined ? {} : { for: holds }),
  labels: { severity, ...(window === undefined ? {} : { window }) },
  annotations: { summary, runbook: runbookOf(name), dashboard },
});

/** Of the control plane: requests and exchanges over push connections a second; either may not have come yet. */
const answered = (which: string): string =>
  `(${['http_requests', 'exchanges']
    .map((what) => `(sum(rate(sipfleet_control_plane_${what}_total${which}[5m])) or vector(0))`)
    .join(' + ')})`;

const FARM = '/d/sipfleet-farm?var-site={{ $labels.site }}&var-farm={{ $labels.farm }}';
const BACKEND =
  '/d/sipfleet-backend?var-site={{ $labels.site }}&var-farm={{ $labels.farm }}&var-backend={{ $labels.backend }}';
const CALLS = '/d/sipfleet-calls?var-site={{ $labels.site }}&var-farm={{ $labels.farm }}';
const AGENT = '/d/sipfleet-agent?var-site={{ $labels.site }}&var-agent={{ $labels.agent }}';
const SECURITY = '/d/sipfleet-security?var-site={{ $labels.site }}';
const CONTROL_PLANE = '/d/sipfleet-control-plane';

/** What may fail of registrations and of calls: 0.5 % in 30 days. */
export const OBJECTIVE = 0.995;
/** The error budget is spent this many times as fast as it may be (https://sre.google/workbook/alerting-on-slos/). */
const BURN: readonly { factor: number; long: Window; short: Window; severity: Alert['severity']; suffix: string }[] = [
  { factor: 14.4, long: '1h', short: '5m', severity: 'critical', suffix: 'Fast' },
  { factor: 6, long: '6h', short: '30m', severity: 'critical', suffix: 'Fast' },
  { factor: 3, long: '1d', short: '2h', severity: 'warning', suffix: 'Slow' },
  { factor: 1, long: '3d', short: '6h', severity: 'warning', suffix: 'Slow' },
];
/** Fewer requests than this in the long window tell nothing: one failure of four is no outage. */
const ENOUGH = 20;

function burnRate(name: string, errors: string, requests: string, what: string, dashboard: string): AlertRule[] {
  return BURN.map(({ factor, long, short, severity, suffix }) => {
    const limit = Number((factor * (1 - OBJECTIVE)).toFixed(6));
    const over = (window: Window) => `farm:sipfleet_${errors}:ratio_rate${window} > ${limit}`;
    const enough = `sum by (site, farm) (increase(${requests}[${long}])) > ${ENOUGH}`;
    const expr = `${over(long)} and ${over(short)} and ${enough}`;
    const summary = `{{ $value | humanizePercentage }} of ${what} of farm {{ $labels.farm }} in {{ $labels.site }} failed in ${long}: ${factor} times what its objective allows`;
    return alert({ name: `${name}${suffix}`, severity, expr, summary, window: long, dashboard });
  });
}

const objectives: AlertRule[] = [
  ...burnRate(
    'SipfleetRegistrationErrors',
    'registration_errors',
    'sipfleet_registration_requests_total',
    'registrations',
    FARM,
  ),
  ...burnRate(
    'SipfleetCallSetupErrors',
    'call_setup_errors',
    'sipfleet_session_requests_total',
    'call attempts',
    CALLS,
  ),
];

const backends: Alert[] = [
  {
    name: 'SipfleetFarmDown',
    severity: 'critical',
    expr: 'sum by (site, farm, agent) (sipfleet_backend_state{state=~"up|unknown"}) == 0',
    holds: '30s',
    summary: 'No backend of farm {{ $labels.farm }} in {{ $labels.site }} serves, as agent {{ $labels.agent }} sees it',
    dashboard: FARM,
  },
  {
    name: 'SipfleetBackendDown',
    severity: 'warning',
    expr: 'max by (site, farm, backend) (sipfleet_backend_state{state="down"}) == 1',
    holds: '2m',
    summary: 'Backend {{ $labels.backend }} of farm {{ $labels.farm }} in {{ $labels.site }} is down',
    dashboard: BACKEND,
  },
  {
    name: 'SipfleetCheckFailing',
    severity: 'warning',
    expr: 'sum by (site, farm, backend, check, phase) (increase(sipfleet_check_failures_total[10m])) >= 2',
    holds: '1m',
    summary:
      'Check {{ $labels.check }} of {{ $labels.farm }} {{ $labels.backend }} in {{ $labels.site }} fails in phase {{ $labels.phase }}',
    dashboard: BACKEND,
  },
  {
    name: 'SipfleetAgentsDisagree',
    severity: 'warning',
    expr: 'max by (site, farm, backend) (sipfleet_backend_disagreeing_agents) > 0',
    holds: '5m',
    summary: 'Agents in {{ $labels.site }} disagree whether {{ $labels.farm }} {{ $labels.backend }} is down',
    dashboard: BACKEND,
  },
  {
    name: 'SipfleetFailovers',
    severity: 'warning',
    expr: 'sum by (site, farm, backend) (rate(sipfleet_failovers_total[5m])) / (sum by (site, farm, backend) (rate(sipfleet_backend_requests_sent_total[5m])) > 0) > 0.05',
    holds: '5m',
    summary:
      '{{ $value | humanizePercentage }} of the requests to {{ $labels.farm }} {{ $labels.backend }} in {{ $labels.site }} are given up for another backend',
    dashboard: BACKEND,
  },
  {
    name: 'SipfleetShortCalls',
    severity: 'warning',
    expr:
      'sum by (site, farm) (rate(sipfleet_session_duration_seconds_bucket{le="10"}[15m])) / (sum by (site, farm) (rate(sipfleet_session_duration_seconds_count[15m])) > 0) > 0.5' +
      ' and sum by (site, farm) (increase(sipfleet_session_duration_seconds_count[15m])) > 20',
    holds: '5m',
    summary:
      '{{ $value | humanizePercentage }} of the calls of farm {{ $labels.farm }} in {{ $labels.site }} end within ten seconds: people hang up on what they cannot hear',
    dashboard: CALLS,
  },
  {
    name: 'SipfleetCertificateExpires',
    severity: 'warning',
    expr: 'min by (site, farm, listener) (sipfleet_certificate_expiry_timestamp_seconds) - time() < 14 * 86400',
    summary:
      'The certificate of {{ $labels.farm }} on {{ $labels.listener }} in {{ $labels.site }} expires in {{ $value | humanizeDuration }}',
    dashboard: FARM,
  },
];

const agents: Alert[] = [
  {
    name: 'SipfleetAgentSilent',
    severity: 'critical',
    expr: 'time() - sipfleet_control_plane_agent_last_report_timestamp_seconds > 300',
    summary: 'Agent {{ $labels.agent }} in {{ $labels.site }} has not reported for {{ $value | humanizeDuration }}',
    dashboard: AGENT,
  },
  {
    name: 'SipfleetAgentDrifts',
    severity: 'warning',
    expr: 'sipfleet_control_plane_agent_current == 0',
    holds: '10m',
    summary: 'Agent {{ $labels.agent }} in {{ $labels.site }} does not run the configuration that it should',
    dashboard: CONTROL_PLANE,
  },
  {
    name: 'SipfleetAgentRefuses',
    severity: 'critical',
    expr: 'sipfleet_control_plane_agent_refuses == 1',
    holds: '1m',
    summary: 'Agent {{ $labels.agent }} in {{ $labels.site }} refused the newest configuration and runs an older one',
    dashboard: CONTROL_PLANE,
  },
  {
    name: 'SipfleetAgentOffline',
    severity: 'warning',
    expr: 'sipfleet_link_connected == 0',
    holds: '10m',
    summary:
      'Agent {{ $labels.agent }} in {{ $labels.site }} has no push connection: it goes on, and hears of changes late',
    dashboard: AGENT,
  },
  {
    name: 'SipfleetSnapshotUnsaved',
    severity: 'warning',
    expr: 'sipfleet_snapshot_unsaved == 1',
    holds: '5m',
    summary:
      'Agent {{ $labels.agent }} in {{ $labels.site }} cannot write its configuration to disk: a restart would begin with an older one',
    dashboard: AGENT,
  },
  {
    name: 'SipfleetWorkerRestarts',
    severity: 'critical',
    expr: 'increase(sipfleet_worker_restarts_total[15m]) > 0',
    summary: 'A data thread of agent {{ $labels.agent }} in {{ $labels.site }} ended and was started again',
    dashboard: AGENT,
  },
  {
    name: 'SipfleetControlThreadBusy',
    severity: 'warning',
    expr: 'max_over_time(nodejs_eventloop_lag_p99_seconds{agent!=""}[5m]) > 0.25',
    holds: '5m',
    summary:
      'The control thread of agent {{ $labels.agent }} in {{ $labels.site }} is late by {{ $value | humanizeDuration }}: checks and reports suffer',
    dashboard: AGENT,
  },
  {
    name: 'SipfleetFileDescriptors',
    severity: 'warning',
    expr: 'process_open_fds{agent!=""} / process_max_fds > 0.8',
    holds: '5m',
    summary:
      'Agent {{ $labels.agent }} in {{ $labels.site }} uses {{ $value | humanizePercentage }} of its file descriptors',
    dashboard: AGENT,
  },
  {
    name: 'SipfleetDrops',
    severity: 'warning',
    expr: 'sum by (site, agent, reason) (rate(sipfleet_dropped_messages_total{reason=~"internal|no_backend|send_failed|mailbox_full|transaction_limit"}[5m])) > 1',
    holds: '5m',
    summary:
      'Agent {{ $labels.agent }} in {{ $labels.site }} drops {{ $value | humanize }} messages a second: {{ $labels.reason }}',
    dashboard: AGENT,
  },
  {
    name: 'SipfleetEventsLost',
    severity: 'warning',
    expr: 'increase(sipfleet_events_lost_total[15m]) > 0',
    summary:
      'Agent {{ $labels.agent }} in {{ $labels.site }} lost events: its calls and registrations are counted too low',
    dashboard: AGENT,
  },
  {
    name: 'SipfleetMetricsNotPushed',
    severity: 'warning',
    expr: 'sipfleet_push_spool_bytes > 0 or increase(sipfleet_push_dropped_samples_total[15m]) > 0',
    holds: '10m',
    summary: 'Agent {{ $labels.agent }} in {{ $labels.site }} cannot deliver its metrics by {{ $labels.exporter }}',
    dashboard: AGENT,
  },
  {
    name: 'SipfleetHepLost',
    severity: 'warning',
    // A tape holds messages back for seconds to hours: what is lost for so long was not for a moment's want of CPU.
    expr:
      'sum by (site, agent) (rate(sipfleet_hep_messages_lost_total[5m])) / (sum by (site, agent) (rate(sipfleet_hep_messages_sent_total[5m]))' +
      ' + sum by (site, agent) (rate(sipfleet_hep_messages_lost_total[5m])) > 0) > 0.01',
    holds: '10m',
    summary:
      '{{ $value | humanizePercentage }} of the messages of agent {{ $labels.agent }} in {{ $labels.site }} do not reach the HEP server: ladders there have holes',
    dashboard: AGENT,
  },
];

const others: Alert[] = [
  {
    name: 'SipfleetForgedTokens',
    severity: 'warning',
    expr: 'sum by (site, reason) (rate(sipfleet_dropped_messages_total{reason=~"forged_token|forged_branch"}[10m])) > 1',
    holds: '10m',
    summary:
      'Somebody sends {{ $value | humanize }} messages a second with forged routes to {{ $labels.site }} ({{ $labels.reason }})',
    dashboard: SECURITY,
  },
  {
    name: 'SipfleetControlPlaneErrors',
    severity: 'warning',
    expr: `${answered('{code=~"5.."}')} / (${answered('')} > 0) > 0.05`,
    holds: '5m',
    summary: '{{ $value | humanizePercentage }} of the requests to the control plane fail: calls go on, changes do not',
    dashboard: CONTROL_PLANE,
  },
  {
    name: 'SipfleetChangesNotPushed',
    severity: 'warning',
    expr: 'sipfleet_control_plane_pending_hints > 0',
    holds: '5m',
    summary: '{{ $value }} changes wait for their push: agents learn of them by their reports, within a minute or so',
    dashboard: CONTROL_PLANE,
  },
];

export const ALERTS: readonly RuleGroup<AlertRule>[] = [
  { name: 'sipfleet-objectives', rules: objectives },
  { name: 'sipfleet-backends', rules: backends.map(alert) },
  { name: 'sipfleet-agents', rules: agents.map(alert) },
  { name: 'sipfleet-others', rules: others.map(alert) },
];
