import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { stringify } from 'yaml';
import { ALERTS } from '../../dashboards/src/alerts.ts';
import { missingPeers } from '../setup/peers.ts';

/** Rules as committed, judged by Prometheus's own tool. */

const RULES = ['recording', 'alerts'].map((name) =>
  join(import.meta.dirname, '../../dashboards/rules', `${name}.yaml`),
);
const here = test.skipIf(missingPeers().includes('prometheus'));

function promtool(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8' });
  expect(status, `${stdout}${stderr}`).toBe(0);
  return stdout;
}

/** `x{a="b"}` → its values, in promtool's notation: `0+6x60` is 0, 6, 12, … 60 times more, one a minute. */
type Input = Record<string, string>;

/** Runs promtool's unit tests of rules; every one at the same minute of its input. */
function check(tests: readonly object[]): void {
  const directory = mkdtempSync(join(tmpdir(), 'sipfleet-rules-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'test.yaml');
  writeFileSync(file, stringify({ rule_files: RULES, evaluation_interval: '30s', tests }, { lineWidth: 0 }));
  promtool('test', 'rules', file);
}
const series = (input: Input) => Object.entries(input).map(([key, values]) => ({ series: key, values }));

here('promtool check rules', () => {
  for (const file of RULES) expect(promtool('check', 'rules', file)).toMatch(/SUCCESS: \d+ rules found/);
});

const SESSION = 'site="milan",farm="pbx",backend="pbx1",origin="client",agent="a"';
const REGISTER = 'site="milan",farm="pbx",backend="pbx1",agent="a"';

/** Ten minutes of traffic at so many a minute. */
const sessions = (perMinute: Record<string, number>): Input =>
  Object.fromEntries(
    Object.entries({ ...perMinute }).map(([name, n]) => [`sipfleet_${name}_total{${SESSION}}`, `0+${n}x100`]),
  );

/** What a query gives after 100 minutes; values as text, so that floats are compared to a fraction of a percent. */
const gives = (input: Input, queries: Record<string, [labels: string, value: number][]>) => ({
  interval: '1m',
  input_series: series(input),
  promql_expr_test: Object.entries(queries).map(([expr, samples]) => ({
    expr: `round(${expr}, 0.0001)`,
    eval_time: '100m',
    exp_samples: samples.map(([labels, value]) => ({ labels, value })),
  })),
});

here('RFC 6076: strict and adjusted ratios of a known mix; what nobody attempted has no ratio', () => {
  const client = '{farm="pbx",origin="client",site="milan"}';
  const farm = '{farm="pbx",site="milan"}';
  const backend = '{backend="pbx1",farm="pbx",site="milan"}';
  // Of 100 a minute: 40 challenged, 10 redirected, 30 answered, 10 busy, 5 × 503, 5 × 404; 24 completed.
  const mix = sessions({
    session_requests: 100,
    session_challenges: 40,
    session_redirects: 10,
    sessions_established: 30,
    session_effective: 40,
    session_ineffective: 5,
    sessions_completed: 24,
    sessions_short: 6,
  });
  const registrations = {
    [`sipfleet_registration_requests_total{${REGISTER}}`]: '0+100x100',
    [`sipfleet_registration_challenges_total{${REGISTER}}`]: '0+50x100',
    [`sipfleet_registration_failures_total{${REGISTER}}`]: '0+2x100',
  };
  const quiet = Object.fromEntries(Object.keys({ ...mix, ...registrations }).map((key) => [key, '7x100']));
  const ratio = (name: string, window = '5m') => `farm_origin:sipfleet_${name}:ratio_rate${window}`;
  check([
    gives(
      { ...mix, ...registrations },
      {
        [ratio('session_establishment')]: [[client, 0.3333]],
        [ratio('session_establishment_adjusted')]: [[client, 0.6]],
        [ratio('session_effectiveness')]: [[client, 0.4444]],
        [ratio('session_effectiveness_adjusted')]: [[client, 0.8]],
        [ratio('ineffective_session_attempts')]: [[client, 0.05]],
        [ratio('session_completion', '1h')]: [[client, 0.24]],
        'farm:sipfleet_call_setup_errors:ratio_rate1h': [[farm, 0.1]],
        'farm:sipfleet_ineffective_registration_attempts:ratio_rate5m': [[farm, 0.02]],
        'farm:sipfleet_registration_errors:ratio_rate1h': [[farm, 0.04]],
        'backend:sipfleet_ineffective_registration_attempts_adjusted:ratio_rate5m': [[backend, 0.04]],
        'backend:sipfleet_call_setup_errors:ratio_rate5m': [[backend, 0.1]],
        'backend:sipfleet_short_sessions:ratio_rate15m': [[backend, 0.25]],
      },
    ),
    gives(quiet, { '{__name__=~".+:.+:ratio_rate.+"}': [] }),
  ]);
});

interface Case {
  alert: string;
  input: Input;
  /** The minute that is looked at, if not 20. */
  at?: number;
  /** Labels that the alert has beside its severity and window. */
  labels: Record<string, string>;
  summary: string;
}
const FARM = { site: 'milan', farm: 'pbx' };
const BACKEND = { ...FARM, backend: 'pbx1' };
const AGENT = { site: 'milan', agent: 'a' };

/** Call attempts at a backend, 20 a minute, and those that fail. */
const calls = (backend: string, failed: string, attempts = '0+20x20'): Input => {
  const labels = `site="milan",farm="pbx",backend="${backend}",origin="client",agent="a"`;
  return {
    [`sipfleet_session_requests_total{${labels}}`]: attempts,
    [`sipfleet_session_challenges_total{${labels}}`]: '0x20',
    [`sipfleet_session_redirects_total{${labels}}`]: '0x20',
    [`sipfleet_session_ineffective_total{${labels}}`]: failed,
  };
};
/** Registrations at a backend, ten a minute and each challenged first, and those that fail. */
const registrations = (backend: string, failed: string): Input => {
  const labels = `site="milan",farm="pbx",backend="${backend}",agent="a"`;
  return {
    [`sipfleet_registration_requests_total{${labels}}`]: '0+20x20',
    [`sipfleet_registration_challenges_total{${labels}}`]: '0+10x20',
    [`sipfleet_registration_failures_total{${labels}}`]: failed,
  };
};
/** Calls that end at a backend, ten a minute, and those of them that were short. */
const ended = (backend: string, short: string): Input => {
  const labels = `site="milan",farm="pbx",backend="${backend}",origin="client",agent="a"`;
  return {
    [`sipfleet_sessions_completed_total{${labels}}`]: '0+10x20',
    [`sipfleet_sessions_short_total{${labels}}`]: short,
  };
};
/** Durations of a farm's calls, of which so many are short. */
const durations = (calls: string, short: string): Input => ({
  'sipfleet_session_duration_seconds_bucket{site="milan",farm="pbx",origin="client",agent="a",le="10"}': short,
  'sipfleet_session_duration_seconds_count{site="milan",farm="pbx",origin="client",agent="a"}': calls,
});
/** States of a backend, as an agent sees it. */
const down = (backend: string, agent: string, value: 0 | 1): Input => {
  const labels = `site="milan",farm="pbx",backend="${backend}",agent="${agent}"`;
  return {
    [`sipfleet_backend_state{${labels},state="down"}`]: `${value}x20`,
    [`sipfleet_backend_state{${labels},state="up"}`]: `${1 - value}x20`,
    [`sipfleet_backend_state{${labels},state="unknown"}`]: '0x20',
  };
};

/** One situation for each alert. Three days where burn rates look back so far would cost minutes: hours of traffic show the same. */
const CASES: Case[] = [
  {
    alert: 'SipfleetFarmDown',
    input: {
      'sipfleet_backend_state{site="milan",farm="pbx",backend="pbx1",agent="a",state="up"}': '0x20',
      'sipfleet_backend_state{site="milan",farm="pbx",backend="pbx1",agent="a",state="unknown"}': '0x20',
    },
    labels: { ...FARM, agent: 'a' },
    summary: 'No backend of farm pbx in milan serves, as agent a sees it',
  },
  {
    alert: 'SipfleetBackendDown',
    // Agent b sees nobody at all: that is its own matter, or the network's.
    input: { ...down('pbx1', 'a', 1), ...down('pbx2', 'a', 0), ...down('pbx1', 'b', 1), ...down('pbx2', 'b', 1) },
    labels: BACKEND,
    summary: 'Backend pbx1 of farm pbx in milan is down',
  },
  {
    alert: 'SipfleetCheckFailing',
    input: { [`sipfleet_check_failures_total{${REGISTER},check="dummy",phase="media"}`]: '0+1x20' },
    labels: { ...BACKEND, check: 'dummy', phase: 'media' },
    summary: 'Check dummy of pbx pbx1 in milan fails in phase media',
  },
  {
    alert: 'SipfleetAgentsDisagree',
    input: { [`sipfleet_backend_disagreeing_agents{${REGISTER}}`]: '1x20' },
    labels: BACKEND,
    summary: 'Agents in milan disagree whether pbx pbx1 is down',
  },
  {
    alert: 'SipfleetFailovers',
    input: {
      [`sipfleet_failovers_total{${REGISTER}}`]: '0+10x20',
      [`sipfleet_backend_requests_sent_total{${REGISTER},method="INVITE"}`]: '0+100x20',
    },
    labels: BACKEND,
    summary: '10% of the requests to pbx pbx1 in milan are given up for another backend',
  },
  {
    // One of six lets nobody register, since ten minutes.
    alert: 'SipfleetBackendRegistrationsFail',
    input: {
      ...Object.fromEntries(
        [1, 2, 3, 4, 5, 6].flatMap((n) => Object.entries(registrations(`pbx${n}`, n === 1 ? '0x10 10+10x10' : '0x20'))),
      ),
      // Too few to say; and what reached no backend is no backend's fault.
      'sipfleet_registration_requests_total{site="milan",farm="small",backend="pbx1",agent="a"}': '0+0.5x20',
      'sipfleet_registration_challenges_total{site="milan",farm="small",backend="pbx1",agent="a"}': '0x20',
      'sipfleet_registration_failures_total{site="milan",farm="small",backend="pbx1",agent="a"}': '0+0.5x20',
      'sipfleet_registration_requests_total{site="milan",farm="pbx",backend="none",agent="a"}': '0+50x20',
      'sipfleet_registration_challenges_total{site="milan",farm="pbx",backend="none",agent="a"}': '0x20',
      'sipfleet_registration_failures_total{site="milan",farm="pbx",backend="none",agent="a"}': '0+50x20',
    },
    labels: BACKEND,
    summary: '100% of the registrations at pbx pbx1 in milan fail',
  },
  {
    // One of two; of a backend that gets no calls there is nothing to say.
    alert: 'SipfleetBackendCallsFail',
    input: { ...calls('pbx1', '0x10 15+15x10'), ...calls('pbx2', '0x20'), ...calls('spare', '0x20', '0x20') },
    labels: BACKEND,
    summary: '75% of the call attempts at pbx pbx1 in milan fail',
  },
  {
    alert: 'SipfleetBackendShortCalls',
    // Most of the farm's calls are short, and it is one backend's fault.
    input: { ...ended('pbx1', '0+8x20'), ...ended('pbx2', '0+1x20'), ...durations('0+20x20', '0+12x20') },
    labels: BACKEND,
    summary:
      '80% of the calls through pbx pbx1 in milan end within ten seconds: people hang up on what they cannot hear',
  },
  {
    alert: 'SipfleetHandshakesFail',
    input: {
      'sipfleet_connections_accepted_total{site="milan",farm="pbx",listener="192.0.2.1:5061",transport="tls",agent="a"}':
        '0+20x20',
      'sipfleet_handshakes_failed_total{site="milan",farm="pbx",listener="192.0.2.1:5061",transport="tls",agent="a"}':
        '0+18x20',
    },
    labels: { ...FARM, listener: '192.0.2.1:5061' },
    summary: '90% of the connections to pbx on 192.0.2.1:5061 in milan fail before SIP begins',
  },
  {
    alert: 'SipfleetRegistrationsVanished',
    at: 90,
    input: {
      [`sipfleet_registration_requests_total{${REGISTER}}`]: '0+50x70 3500x30',
      // A storm after an outage, an hour ago, and the ordinary since.
      'sipfleet_registration_requests_total{site="milan",farm="storm",backend="pbx1",agent="a"}':
        '0+20x25 500+200x5 1520+20x70',
    },
    labels: FARM,
    summary: 'Phones of farm pbx in milan have ceased to register: less than a tenth of the hour before',
  },
  {
    alert: 'SipfleetOverloaded',
    input: {
      'sipfleet_refused_requests_total{site="milan",agent="a",reason="overload"}': '0+120x20',
      'sipfleet_refused_requests_total{site="milan",agent="a",reason="transaction_limit"}': '0x20',
    },
    labels: { ...AGENT, reason: 'overload' },
    summary: 'Agent a in milan refuses 2 new requests a second to protect established calls: overload',
  },
  {
    alert: 'SipfleetAgentMissing',
    input: {
      // Pushed: it ends without a mark that says so.
      'sipfleet_build_info{site="milan",agent="a",version="1"}': '1x7',
      'sipfleet_build_info{site="milan",agent="b",version="1"}': '1x20',
    },
    labels: AGENT,
    summary: 'Nothing has come from agent a in milan for minutes, and it was there within the last hour',
  },
  {
    alert: 'SipfleetShortCalls',
    input: {
      'sipfleet_session_duration_seconds_bucket{site="milan",farm="pbx",origin="client",agent="a",le="10"}': '0+60x20',
      'sipfleet_session_duration_seconds_count{site="milan",farm="pbx",origin="client",agent="a"}': '0+100x20',
    },
    labels: FARM,
    summary: '60% of the calls of farm pbx in milan end within ten seconds: people hang up on what they cannot hear',
  },
  {
    alert: 'SipfleetCertificateExpires',
    // promtool's clock begins at 0: 20 minutes in, this is an hour ahead.
    input: {
      'sipfleet_certificate_expiry_timestamp_seconds{site="milan",farm="pbx",listener="192.0.2.1:5061"}': '4800x20',
    },
    labels: { ...FARM, listener: '192.0.2.1:5061' },
    summary: 'The certificate of pbx on 192.0.2.1:5061 in milan expires in 1h 0m 0s',
  },
  {
    alert: 'SipfleetAgentSilent',
    input: { 'sipfleet_control_plane_agent_last_report_timestamp_seconds{site="milan",agent="a"}': '600x20' },
    labels: AGENT,
    summary: 'Agent a in milan has not reported for 10m 0s',
  },
  {
    alert: 'SipfleetAgentDrifts',
    input: { 'sipfleet_control_plane_agent_current{site="milan",agent="a"}': '0x20' },
    labels: AGENT,
    summary: 'Agent a in milan does not run the configuration that it should',
  },
  {
    alert: 'SipfleetAgentRefuses',
    input: { 'sipfleet_control_plane_agent_refuses{site="milan",agent="a"}': '1x20' },
    labels: AGENT,
    summary: 'Agent a in milan refused the newest configuration and runs an older one',
  },
  {
    alert: 'SipfleetAgentOffline',
    input: { 'sipfleet_link_connected{site="milan",agent="a"}': '0x20' },
    labels: AGENT,
    summary: 'Agent a in milan has no push connection: it goes on, and hears of changes late',
  },
  {
    alert: 'SipfleetSnapshotUnsaved',
    input: { 'sipfleet_snapshot_unsaved{site="milan",agent="a"}': '1x20' },
    labels: AGENT,
    summary: 'Agent a in milan cannot write its configuration to disk: a restart would begin with an older one',
  },
  {
    alert: 'SipfleetWorkerRestarts',
    input: { 'sipfleet_worker_restarts_total{site="milan",agent="a"}': '0x10 1x10' },
    labels: AGENT,
    summary: 'A data thread of agent a in milan ended and was started again',
  },
  {
    alert: 'SipfleetControlThreadBusy',
    input: {
      'nodejs_eventloop_lag_p99_seconds{site="milan",agent="a"}': '0.5x20',
      'nodejs_eventloop_lag_p99_seconds{job="other"}': '9x20',
    },
    labels: AGENT,
    summary: 'The control thread of agent a in milan is late by 500ms: checks and reports suffer',
  },
  {
    alert: 'SipfleetFileDescriptors',
    input: {
      'process_open_fds{site="milan",agent="a"}': '900x20',
      'process_max_fds{site="milan",agent="a"}': '1000x20',
    },
    labels: AGENT,
    summary: 'Agent a in milan uses 90% of its file descriptors',
  },
  {
    alert: 'SipfleetDrops',
    input: {
      'sipfleet_dropped_messages_total{site="milan",agent="a",reason="no_backend"}': '0+600x20',
      'sipfleet_dropped_messages_total{site="milan",agent="a",reason="keepalive"}': '0+60000x20',
    },
    labels: { ...AGENT, reason: 'no_backend' },
    summary: 'Agent a in milan drops 10 messages a second: no_backend',
  },
  {
    alert: 'SipfleetEventsLost',
    input: { 'sipfleet_events_lost_total{site="milan",agent="a"}': '0x10 5x10' },
    labels: AGENT,
    summary: 'Agent a in milan lost events: its calls and registrations are counted too low',
  },
  {
    alert: 'SipfleetMetricsNotPushed',
    input: { 'sipfleet_push_spool_bytes{site="milan",agent="a",exporter="otlp"}': '1000x20' },
    labels: { ...AGENT, exporter: 'otlp' },
    summary: 'Agent a in milan cannot deliver its metrics by otlp',
  },
  {
    alert: 'SipfleetHepLost',
    input: {
      'sipfleet_hep_messages_sent_total{site="milan",agent="a"}': '0+900x20',
      'sipfleet_hep_messages_lost_total{site="milan",agent="a",reason="overwritten"}': '0+80x20',
      'sipfleet_hep_messages_lost_total{site="milan",agent="a",reason="busy"}': '0+20x20',
      // Nothing to send, nothing lost; and next to nothing lost.
      'sipfleet_hep_messages_sent_total{site="milan",agent="b"}': '7x20',
      'sipfleet_hep_messages_lost_total{site="milan",agent="b",reason="overwritten"}': '7x20',
      'sipfleet_hep_messages_sent_total{site="milan",agent="c"}': '0+900x20',
      'sipfleet_hep_messages_lost_total{site="milan",agent="c",reason="overwritten"}': '0+1x20',
    },
    labels: AGENT,
    summary: '10% of the messages of agent a in milan do not reach the HEP server: ladders there have holes',
  },
  {
    alert: 'SipfleetForgedTokens',
    input: { 'sipfleet_dropped_messages_total{site="milan",agent="a",reason="forged_token"}': '0+600x20' },
    labels: { site: 'milan', reason: 'forged_token' },
    summary: 'Somebody sends 10 messages a second with forged routes to milan (forged_token)',
  },
  {
    alert: 'SipfleetControlPlaneErrors',
    input: {
      'sipfleet_control_plane_http_requests_total{method="PUT",route="/v1/farms/{name}",code="500"}': '0+10x20',
      'sipfleet_control_plane_http_requests_total{method="PUT",route="/v1/farms/{name}",code="200"}': '0+40x20',
      'sipfleet_control_plane_exchanges_total{type="report",code="200"}': '0+50x20',
    },
    labels: {},
    summary: '10% of the requests to the control plane fail: calls go on, changes do not',
  },
  {
    alert: 'SipfleetChangesNotPushed',
    input: { sipfleet_control_plane_pending_hints: '3x20' },
    labels: {},
    summary: '3 changes wait for their push: agents learn of them by their reports, within a minute or so',
  },
];

/** Farms' objectives: alerts of several windows. */
const BURNING = new Set(ALERTS.find(({ name }) => name === 'sipfleet-objectives')?.rules.map(({ alert }) => alert));
const ruleOf = (name: string) => ALERTS.flatMap(({ rules }) => rules).find(({ alert }) => alert === name);

/** The alert as it should look, its links filled from its labels. */
function firing(name: string, labels: Record<string, string>, summary: string, window?: string) {
  const rule = ALERTS.flatMap(({ rules }) => rules).find((r) => r.alert === name && r.labels.window === window);
  const dashboard = rule?.labels.dashboard.replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, (_, label) => labels[label] ?? '');
  return {
    exp_labels: { ...rule?.labels, dashboard, ...labels },
    exp_annotations: { summary, runbook_url: rule?.annotations.runbook_url, dashboard_url: dashboard },
  };
}

here('every alert fires where it should, and says what is wrong', () => {
  const others = ALERTS.flatMap(({ rules }) => rules.map(({ alert }) => alert)).filter((name) => !BURNING.has(name));
  expect(CASES.map(({ alert }) => alert).toSorted()).toEqual(others.toSorted());
  check(
    CASES.map(({ alert, input, at = 20, labels, summary }) => ({
      interval: '1m',
      input_series: series(input),
      alert_rule_test: [{ alertname: alert, eval_time: `${at}m`, exp_alerts: [firing(alert, labels, summary)] }],
    })),
  );
});

here('what is wrong with a whole farm is said once, of the farm, and not of each of its backends', () => {
  const all = (of: (backend: string) => Input): Input => ({ ...of('pbx1'), ...of('pbx2'), ...of('pbx3') });
  const farmWide: { input: Input; farm: string; backend: string }[] = [
    {
      input: all((backend) => calls(backend, '0x10 15+15x10')),
      farm: 'SipfleetCallSetupErrorsFast',
      backend: 'SipfleetBackendCallsFail',
    },
    {
      input: all((backend) => registrations(backend, '0x10 10+10x10')),
      farm: 'SipfleetRegistrationErrorsFast',
      backend: 'SipfleetBackendRegistrationsFail',
    },
    {
      input: { ...all((backend) => ended(backend, '0+8x20')), ...durations('0+30x20', '0+24x20') },
      farm: 'SipfleetShortCalls',
      backend: 'SipfleetBackendShortCalls',
    },
    { input: all((backend) => down(backend, 'a', 1)), farm: 'SipfleetFarmDown', backend: 'SipfleetBackendDown' },
  ];
  // Not at any minute: neither alert may come first and go again.
  const minutes = Array.from({ length: 41 }, (_, half) => `${half * 30}s`);
  check(
    farmWide.flatMap(({ input, farm, backend }) => [
      {
        interval: '1m',
        input_series: series(input),
        alert_rule_test: minutes.map((eval_time) => ({ alertname: backend, eval_time, exp_alerts: [] })),
        promql_expr_test: [
          {
            expr: `count by (alertname) (ALERTS{alertname=~"${farm}|${backend}",alertstate="firing"}) > 0`,
            eval_time: '20m',
            exp_samples: [{ labels: `{alertname="${farm}"}`, value: BURNING.has(farm) ? 2 : 1 }],
          },
        ],
      },
    ]),
  );
});

here('a farm of small numbers, whose own alert says nothing, still has its backends named', () => {
  // Eighteen in an hour, a dozen of them in ten minutes: the objective asks for more than twenty.
  const few = '0x5 1.2+1.2x15';
  check([
    {
      interval: '1m',
      input_series: series(calls('pbx1', few, few)),
      alert_rule_test: [
        {
          alertname: 'SipfleetBackendCallsFail',
          eval_time: '20m',
          exp_alerts: [
            firing('SipfleetBackendCallsFail', BACKEND, '100% of the call attempts at pbx pbx1 in milan fail'),
          ],
        },
      ],
    },
  ]);
});

here('no alert fires for a fleet that is well', () => {
  const healthy: Input = {
    'sipfleet_backend_state{site="milan",farm="pbx",backend="pbx1",agent="a",state="up"}': '1x200',
    'sipfleet_backend_state{site="milan",farm="pbx",backend="pbx1",agent="a",state="down"}': '0x200',
    'sipfleet_backend_state{site="milan",farm="pbx",backend="pbx1",agent="a",state="unknown"}': '0x200',
    'sipfleet_link_connected{site="milan",agent="a"}': '1x200',
    'sipfleet_control_plane_agent_current{site="milan",agent="a"}': '1x200',
    'sipfleet_control_plane_agent_refuses{site="milan",agent="a"}': '0x200',
    sipfleet_control_plane_pending_hints: '0x200',
    'sipfleet_build_info{site="milan",agent="a",version="1"}': '1x200',
    'sipfleet_refused_requests_total{site="milan",agent="a",reason="overload"}': '0x200',
    [`sipfleet_sessions_completed_total{${SESSION}}`]: '0+800x200',
    [`sipfleet_sessions_short_total{${SESSION}}`]: '0+80x200',
    'sipfleet_push_spool_bytes{site="milan",agent="a",exporter="otlp"}': '0x200',
    [`sipfleet_session_requests_total{${SESSION}}`]: '0+1000x200',
    [`sipfleet_session_challenges_total{${SESSION}}`]: '0+0x200',
    [`sipfleet_session_redirects_total{${SESSION}}`]: '0+0x200',
    [`sipfleet_session_ineffective_total{${SESSION}}`]: '0+2x200',
    [`sipfleet_registration_requests_total{${REGISTER}}`]: '0+1000x200',
    [`sipfleet_registration_challenges_total{${REGISTER}}`]: '0+500x200',
    [`sipfleet_registration_failures_total{${REGISTER}}`]: '0+1x200',
    [`sipfleet_failovers_total{${REGISTER}}`]: '0+1x200',
    [`sipfleet_backend_requests_sent_total{${REGISTER},method="INVITE"}`]: '0+1000x200',
  };
  const names = [...new Set(ALERTS.flatMap(({ rules }) => rules.map(({ alert }) => alert)))];
  const quiet = names.map((alertname) => ({ alertname, eval_time: '200m', exp_alerts: [] }));
  check([{ interval: '1m', input_series: series(healthy), alert_rule_test: quiet }]);
});

here('burn rates: an outage fires at once, a slow leak within hours, a handful of failures never', () => {
  expect(ruleOf('SipfleetRegistrationErrorsFast')?.labels.severity).toBe('critical');
  const registrations = (requests: string, failures: string): Input => ({
    [`sipfleet_registration_requests_total{${REGISTER}}`]: requests,
    [`sipfleet_registration_challenges_total{${REGISTER}}`]: '0x600',
    [`sipfleet_registration_failures_total{${REGISTER}}`]: failures,
  });
  const what = (share: string, long: string, factor: number) =>
    `${share} of registrations of farm pbx in milan failed in ${long}: ${factor} times what its objective allows`;
  const fast = 'SipfleetRegistrationErrorsFast';
  const slow = 'SipfleetRegistrationErrorsSlow';
  const tests = (input: Input, at: string, alerts: Record<string, object[]>) => ({
    interval: '1m',
    input_series: series(input),
    alert_rule_test: Object.entries(alerts).map(([alertname, exp_alerts]) => ({
      alertname,
      eval_time: at,
      exp_alerts,
    })),
  });
  check([
    // Everything fails, for ten minutes.
    tests(registrations('0+100x10', '0+100x10'), '10m', {
      [fast]: [firing(fast, FARM, what('100%', '1h', 14.4), '1h'), firing(fast, FARM, what('100%', '6h', 6), '6h')],
    }),
    // 2 % all day: below 14.4 × 0.5 % and 6 × 0.5 %, above 3 × and 1 ×.
    tests(registrations('0+100x600', '0+2x600'), '600m', {
      [fast]: [],
      [slow]: [firing(slow, FARM, what('2%', '1d', 3), '1d'), firing(slow, FARM, what('2%', '3d', 1), '3d')],
    }),
    // One phone with a wrong password, and nobody else.
    tests(registrations('0+1x15', '0+1x15'), '15m', { [fast]: [], [slow]: [] }),
  ]);
});
