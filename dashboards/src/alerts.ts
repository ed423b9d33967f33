import {
  AGENT,
  type Alert,
  type AlertRule,
  alert,
  CALLS,
  CONTROL_PLANE,
  FARM,
  type Places,
  SECURITY,
} from './alert.ts';
import { BACKENDS } from './alerts-backends.ts';
import { BURN, burning, CALL_SETUPS, type Objective, REGISTRATIONS } from './burn-rate.ts';
import type { RuleGroup } from './recording.ts';

/** Of the control plane: requests and exchanges over push connections a second; either may not have come yet. */
const answered = (which: string): string =>
  `(${['http_requests', 'exchanges']
    .map((what) => `(sum(rate(sipfleet_control_plane_${what}_total${which}[5m])) or vector(0))`)
    .join(' + ')})`;

function burnRate(name: string, objective: Objective, what: string, dashboard: string): AlertRule[] {
  return BURN.map((burn) => {
    const { factor, long, severity, suffix } = burn;
    const summary = `{{ $value | humanizePercentage }} of ${what} of farm {{ $labels.farm }} in {{ $labels.site }} failed in ${long}: ${factor} times what its objective allows`;
    return alert({
      name: `${name}${suffix}`,
      severity,
      expr: burning(objective, burn),
      summary,
      window: long,
      dashboard,
    });
  });
}

const objectives: AlertRule[] = [
  ...burnRate('SipfleetRegistrationErrors', REGISTRATIONS, 'registrations', FARM),
  ...burnRate('SipfleetCallSetupErrors', CALL_SETUPS, 'call attempts', CALLS),
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
    expr: 'sum by (site, agent, reason) (rate(sipfleet_dropped_messages_total{reason=~"internal|no_backend|send_failed|mailbox_full|overload|receive_buffer|queue_budget"}[5m])) > 1',
    holds: '5m',
    summary:
      'Agent {{ $labels.agent }} in {{ $labels.site }} drops {{ $value | humanize }} messages a second: {{ $labels.reason }}',
    dashboard: AGENT,
  },
  {
    name: 'SipfleetOverloaded',
    severity: 'critical',
    expr: 'sum by (site, agent, reason) (rate(sipfleet_refused_requests_total[5m])) > 0.1',
    holds: '1m',
    summary:
      'Agent {{ $labels.agent }} in {{ $labels.site }} refuses {{ $value | humanize }} new requests a second to protect established calls: {{ $labels.reason }}',
    dashboard: AGENT,
  },
  {
    name: 'SipfleetAgentMissing',
    severity: 'warning',
    // An agent that cannot deliver its metrics cannot deliver an alert about it either: who was there within the last hour must be there now.
    expr: 'max by (site, agent) (max_over_time(sipfleet_build_info[1h])) unless max by (site, agent) (sipfleet_build_info)',
    holds: '5m',
    summary:
      'Nothing has come from agent {{ $labels.agent }} in {{ $labels.site }} for minutes, and it was there within the last hour',
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
  { name: 'sipfleet-backends', rules: BACKENDS.map(alert) },
  { name: 'sipfleet-agents', rules: agents.map(alert) },
  { name: 'sipfleet-others', rules: others.map(alert) },
];

/** The rules with links to where runbooks and Grafana are. */
export const alertsAt = ({ runbooks, grafana }: Places): RuleGroup<AlertRule>[] =>
  ALERTS.map((group) => ({
    ...group,
    rules: group.rules.map((rule) => ({
      ...rule,
      annotations: {
        ...rule.annotations,
        runbook_url: `${runbooks}/${rule.labels.runbook}.md`,
        dashboard_url: `${grafana}${rule.labels.dashboard}`,
      },
    })),
  }));
