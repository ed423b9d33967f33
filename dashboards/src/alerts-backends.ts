import { type Alert, BACKEND, CALLS, FARM } from './alert.ts';
import { BURN, burning, CALL_SETUPS, REGISTRATIONS } from './burn-rate.ts';

/** Fewer failures than this at one backend in ten minutes may be a single phone. */
const SEVERAL = 10;

/**
 * True of a backend that is bad while others are well. Where more than half of the farm's backends are, it is the farm's matter, if the farm's
 * own alert (true of `site`, `farm`) tells of it.
 * @param ratio of each backend; those without requests have none
 */
const alone = (ratio: string, bad: string, several: string, farm: string): string =>
  `${ratio} ${bad} and ${several} unless on (site, farm)` +
  ` (count by (site, farm) (${ratio} ${bad} and ${several}) > 0.5 * count by (site, farm) (${ratio}) and on (site, farm) (${farm}))`;

const increase = (metric: string, window: string): string =>
  `sum by (site, farm, backend) (increase(${metric}[${window}]))`;

const FARM_SERVES_NOBODY = 'sum by (site, farm, agent) (sipfleet_backend_state{state=~"up|unknown"}) == 0';
const FARM_SHORT_CALLS =
  'sum by (site, farm) (rate(sipfleet_session_duration_seconds_bucket{le="10"}[15m])) / (sum by (site, farm) (rate(sipfleet_session_duration_seconds_count[15m])) > 0) > 0.5' +
  ' and sum by (site, farm) (increase(sipfleet_session_duration_seconds_count[15m])) > 20';

/** Farms, backends, and what phones get of them. */
export const BACKENDS: readonly Alert[] = [
  {
    name: 'SipfleetFarmDown',
    severity: 'critical',
    expr: FARM_SERVES_NOBODY,
    holds: '30s',
    summary: 'No backend of farm {{ $labels.farm }} in {{ $labels.site }} serves, as agent {{ $labels.agent }} sees it',
    dashboard: FARM,
  },
  {
    name: 'SipfleetBackendDown',
    severity: 'warning',
    // For whom all are down, SipfleetFarmDown speaks.
    expr: `max by (site, farm, backend) (sipfleet_backend_state{state="down"} == 1 unless on (site, farm, agent) (${FARM_SERVES_NOBODY}))`,
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
    name: 'SipfleetBackendRegistrationsFail',
    severity: 'warning',
    expr: alone(
      'backend:sipfleet_ineffective_registration_attempts_adjusted:ratio_rate5m{backend!="none"}',
      '>= 0.5',
      `${increase('sipfleet_registration_failures_total', '10m')} > ${SEVERAL}`,
      burning(REGISTRATIONS, BURN[0]),
    ),
    // The farm's alert, which needs 7 % of an hour, comes first.
    holds: '3m',
    summary:
      '{{ $value | humanizePercentage }} of the registrations at {{ $labels.farm }} {{ $labels.backend }} in {{ $labels.site }} fail',
    dashboard: BACKEND,
  },
  {
    name: 'SipfleetBackendCallsFail',
    severity: 'warning',
    expr: alone(
      'backend:sipfleet_call_setup_errors:ratio_rate5m{backend!="none"}',
      '>= 0.5',
      `${increase('sipfleet_session_ineffective_total', '10m')} > ${SEVERAL}`,
      burning(CALL_SETUPS, BURN[0]),
    ),
    holds: '3m',
    summary:
      '{{ $value | humanizePercentage }} of the call attempts at {{ $labels.farm }} {{ $labels.backend }} in {{ $labels.site }} fail',
    dashboard: BACKEND,
  },
  {
    name: 'SipfleetRegistrationsVanished',
    severity: 'warning',
    // An hour evens out storms after an outage: what follows them is no silence.
    expr:
      'sum by (site, farm) (rate(sipfleet_registration_requests_total[10m])) < 0.1 * sum by (site, farm) (rate(sipfleet_registration_requests_total[1h] offset 10m))' +
      ' and sum by (site, farm) (increase(sipfleet_registration_requests_total[1h] offset 10m)) > 100',
    holds: '5m',
    summary:
      'Phones of farm {{ $labels.farm }} in {{ $labels.site }} have ceased to register: less than a tenth of the hour before',
    dashboard: FARM,
  },
  {
    name: 'SipfleetHandshakesFail',
    severity: 'warning',
    expr:
      'sum by (site, farm, listener) (rate(sipfleet_handshakes_failed_total[10m])) / (sum by (site, farm, listener) (rate(sipfleet_connections_accepted_total[10m])) > 0) > 0.5' +
      ' and sum by (site, farm, listener) (increase(sipfleet_handshakes_failed_total[10m])) > 60',
    holds: '5m',
    summary:
      '{{ $value | humanizePercentage }} of the connections to {{ $labels.farm }} on {{ $labels.listener }} in {{ $labels.site }} fail before SIP begins',
    dashboard: FARM,
  },
  {
    name: 'SipfleetBackendShortCalls',
    severity: 'warning',
    expr: alone(
      'backend:sipfleet_short_sessions:ratio_rate15m',
      '> 0.5',
      `${increase('sipfleet_sessions_completed_total', '15m')} > 20`,
      FARM_SHORT_CALLS,
    ),
    holds: '2m',
    summary:
      '{{ $value | humanizePercentage }} of the calls through {{ $labels.farm }} {{ $labels.backend }} in {{ $labels.site }} end within ten seconds: people hang up on what they cannot hear',
    dashboard: BACKEND,
  },
  {
    name: 'SipfleetShortCalls',
    severity: 'warning',
    expr: FARM_SHORT_CALLS,
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
