/** A rule as Prometheus reads it. */
export interface RecordingRule {
  record: string;
  expr: string;
}
export interface RuleGroup<Rule> {
  name: string;
  interval?: string;
  rules: Rule[];
}

/** Windows of the burn-rate alerts (https://sre.google/workbook/alerting-on-slos/), longest last. */
export const WINDOWS = ['5m', '30m', '1h', '2h', '6h', '1d', '3d'] as const;
export type Window = (typeof WINDOWS)[number];

/** Labels that are kept; the level of a rule's name says which. */
const LEVELS = {
  farm: 'site, farm',
  backend: 'site, farm, backend',
  farm_origin: 'site, farm, origin',
  backend_origin: 'site, farm, backend, origin',
} as const;
type Level = keyof typeof LEVELS;

const rate = (level: Level, metric: string, window: string): string =>
  `sum by (${LEVELS[level]}) (rate(${metric}[${window}]))`;

/**
 * A ratio that is absent where it is undefined: `> 0` drops denominators of 0, which would give NaN, and nothing turns the absent
 * into 0. (RFC 6076 leaves them undefined too.)
 * @param less counters that are taken off the denominator
 */
function ratio(level: Level, part: string, whole: string, less: readonly string[], window: string): string {
  const off = less.map((metric) => ` - ${rate(level, metric, window)}`).join('');
  return `${rate(level, part, window)} / ((${rate(level, whole, window)}${off}) > 0)`;
}

const SESSION = 'sipfleet_session_requests_total';
const REDIRECTS = 'sipfleet_session_redirects_total';
const SESSION_CHALLENGES = 'sipfleet_session_challenges_total';
const REGISTRATION = 'sipfleet_registration_requests_total';
const REGISTRATION_CHALLENGES = 'sipfleet_registration_challenges_total';
const REGISTRATION_FAILURES = 'sipfleet_registration_failures_total';

/** RFC 6076 by the letter, and `_adjusted`: without the requests that were only challenged, which the RFC counts as failed sessions. */
function rfc6076(): RecordingRule[] {
  const sessions = (['farm_origin', 'backend_origin'] as const).flatMap((level) => [
    rule(level, 'session_establishment', 'sipfleet_sessions_established_total', SESSION, [REDIRECTS]),
    rule(level, 'session_establishment_adjusted', 'sipfleet_sessions_established_total', SESSION, [
      REDIRECTS,
      SESSION_CHALLENGES,
    ]),
    rule(level, 'session_effectiveness', 'sipfleet_session_effective_total', SESSION, [REDIRECTS]),
    rule(level, 'session_effectiveness_adjusted', 'sipfleet_session_effective_total', SESSION, [
      REDIRECTS,
      SESSION_CHALLENGES,
    ]),
    rule(level, 'ineffective_session_attempts', 'sipfleet_session_ineffective_total', SESSION, []),
    // Sessions outlast five minutes: an hour evens out what began and what ended.
    rule(level, 'session_completion', 'sipfleet_sessions_completed_total', SESSION, [], '1h'),
  ]);
  const registrations = (['farm', 'backend'] as const).flatMap((level) => [
    rule(level, 'ineffective_registration_attempts', REGISTRATION_FAILURES, REGISTRATION, []),
    rule(level, 'ineffective_registration_attempts_adjusted', REGISTRATION_FAILURES, REGISTRATION, [
      REGISTRATION_CHALLENGES,
    ]),
  ]);
  return [...sessions, ...registrations, ...backends()];
}

/** What tells one backend from the others. */
const backends = (): RecordingRule[] => [
  rule('backend', 'call_setup_errors', 'sipfleet_session_ineffective_total', SESSION, [REDIRECTS, SESSION_CHALLENGES]),
  rule('backend', 'short_sessions', 'sipfleet_sessions_short_total', 'sipfleet_sessions_completed_total', [], '15m'),
];

function rule(
  level: Level,
  name: string,
  part: string,
  whole: string,
  less: readonly string[],
  window = '5m',
): RecordingRule {
  return { record: `${level}:sipfleet_${name}:ratio_rate${window}`, expr: ratio(level, part, whole, less, window) };
}

/** Share of registrations and calls that failed through somebody's fault, over every window that an alert looks at. */
const objectives = (window: Window): RecordingRule[] => [
  rule('farm', 'registration_errors', REGISTRATION_FAILURES, REGISTRATION, [REGISTRATION_CHALLENGES], window),
  rule(
    'farm',
    'call_setup_errors',
    'sipfleet_session_ineffective_total',
    SESSION,
    [REDIRECTS, SESSION_CHALLENGES],
    window,
  ),
];

export const RECORDING: readonly RuleGroup<RecordingRule>[] = [
  { name: 'sipfleet-rfc6076', interval: '30s', rules: rfc6076() },
  ...WINDOWS.map((window) => ({
    name: `sipfleet-objectives-${window}`,
    // What looks back for hours need not be made twice a minute.
    interval: ['5m', '30m', '1h'].includes(window) ? '30s' : '5m',
    rules: objectives(window),
  })),
];
