import type { MetricEntry } from './catalogue.ts';

/** `backend`: that of the last attempt; `none` where none was reached, `_other` beyond 64 per farm. `origin`: who began, client or backend. */
const SESSION = ['farm', 'backend', 'origin'] as const;

/** The part of the catalogue that is about sessions and registrations. */
export const CALL_METRICS = {
  sessionRequests: {
    name: 'sipfleet_session_requests_total',
    type: 'counter',
    help: 'Session requests (INVITE outside of a dialog, retransmissions not counted) that have come to an end, challenged ones included. By who began: client or backend. RFC 6076: denominator of SER, SEER, ISA and SCR.',
    labels: SESSION,
    unit: '1',
  },
  sessionChallenges: {
    name: 'sipfleet_session_challenges_total',
    type: 'counter',
    help: 'Session requests that were answered with 401 or 407. Taken off the denominator they give authentication-adjusted ratios.',
    labels: SESSION,
    unit: '1',
  },
  sessionRedirects: {
    name: 'sipfleet_session_redirects_total',
    type: 'counter',
    help: 'Session requests that were answered with 3xx. RFC 6076: taken off the denominator of SER and SEER.',
    labels: SESSION,
    unit: '1',
  },
  sessionsEstablished: {
    name: 'sipfleet_sessions_established_total',
    type: 'counter',
    help: 'Session requests that were answered with 2xx. RFC 6076: numerator of SER.',
    labels: SESSION,
    unit: '1',
  },
  sessionsEffective: {
    name: 'sipfleet_session_effective_total',
    type: 'counter',
    help: 'Session requests that were answered with 2xx, 480, 486, 600 or 603. RFC 6076: numerator of SEER.',
    labels: SESSION,
    unit: '1',
  },
  sessionsIneffective: {
    name: 'sipfleet_session_ineffective_total',
    type: 'counter',
    help: 'Session requests that were answered with 408, 500, 503 or 504, or not at all. RFC 6076: numerator of ISA.',
    labels: SESSION,
    unit: '1',
  },
  sessionsCompleted: {
    name: 'sipfleet_sessions_completed_total',
    type: 'counter',
    help: 'Sessions that ended with an answered BYE. RFC 6076: numerator of SCR. Dialogs that were only forgotten are not among them.',
    labels: SESSION,
    unit: '1',
  },
  sessionsExpired: {
    name: 'sipfleet_sessions_expired_total',
    type: 'counter',
    help: 'Dialogs that were forgotten because nothing was heard of them for four hours.',
    labels: ['farm'],
    unit: '1',
  },
  sessionResults: {
    name: 'sipfleet_session_results_total',
    type: 'counter',
    help: 'Session requests by their final status; none where no answer came. Statuses beyond 40 per farm and origin count as _other.',
    labels: ['farm', 'origin', 'code'],
    unit: '1',
  },
  activeSessions: {
    name: 'sipfleet_active_sessions',
    type: 'gauge',
    help: 'Dialogs that go on, as far as this agent saw them. Soft state, approximate: an agent that takes over learns of a dialog from its next message.',
    labels: SESSION,
    unit: '1',
  },
  registrationRequests: {
    name: 'sipfleet_registration_requests_total',
    type: 'counter',
    help: 'REGISTER transactions that have come to an end, challenged ones included. RFC 6076: denominator of IRA.',
    labels: ['farm', 'backend'],
    unit: '1',
  },
  registrationChallenges: {
    name: 'sipfleet_registration_challenges_total',
    type: 'counter',
    help: 'REGISTER transactions that were answered with 401 or 407. Taken off the denominator they give the authentication-adjusted ratio.',
    labels: ['farm', 'backend'],
    unit: '1',
  },
  registrationSuccesses: {
    name: 'sipfleet_registration_successes_total',
    type: 'counter',
    help: 'REGISTER transactions that were answered with 2xx.',
    labels: ['farm', 'backend'],
    unit: '1',
  },
  registrationFailures: {
    name: 'sipfleet_registration_failures_total',
    type: 'counter',
    help: 'REGISTER transactions that were answered with 4xx (but 401, 402 and 407), 5xx or 6xx, or not at all. RFC 6076: numerator of IRA.',
    labels: ['farm', 'backend'],
    unit: '1',
  },
  registrationResults: {
    name: 'sipfleet_registration_results_total',
    type: 'counter',
    help: 'REGISTER transactions by their final status; none where no answer came. Statuses beyond 12 per backend count as _other.',
    labels: ['farm', 'backend', 'code'],
    unit: '1',
  },
  activeRegistrations: {
    name: 'sipfleet_active_registrations',
    type: 'gauge',
    help: 'Bindings that backends stored and that have not expired, as far as this agent saw them. Soft state, approximate.',
    labels: ['farm', 'backend'],
    unit: '1',
  },
  registrationDelay: {
    name: 'sipfleet_registration_request_delay_seconds',
    type: 'histogram',
    help: 'From the first REGISTER to its 2xx, the challenge included (RFC 6076 RRD). Successes only.',
    labels: ['farm'],
    unit: 'seconds',
    // T1 is 0.5 s: from there on the steps are those of retransmissions, so a lost packet shows as a bucket of its own.
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32],
  },
  sessionDelay: {
    name: 'sipfleet_session_request_delay_seconds',
    type: 'histogram',
    help: 'From INVITE to the first provisional response but 100, or else the final one (RFC 6076 SRD, post-dial delay), as seen at the edge. Results are never to be combined.',
    labels: ['farm', 'origin', 'result'],
    unit: 'seconds',
    // 3, 5 and 8 s are the mean post-selection delays of ITU-T E.721 for local, toll and international calls, 6, 8 and 11 s its 95th percentiles.
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 11, 16, 32],
  },
  disconnectDelay: {
    name: 'sipfleet_session_disconnect_delay_seconds',
    type: 'histogram',
    help: 'From BYE to its 2xx (RFC 6076 SDD).',
    labels: ['farm'],
    unit: 'seconds',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32],
  },
  sessionDuration: {
    name: 'sipfleet_session_duration_seconds',
    type: 'histogram',
    help: 'From the 2xx to INVITE to BYE (RFC 6076 SDT). Where another agent saw the beginning, from the second of the INVITE.',
    labels: ['farm', 'origin'],
    unit: 'seconds',
    // Calls of a few seconds are the sign of missing audio: they have buckets of their own.
    buckets: [1, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400],
  },
  eventsLost: {
    name: 'sipfleet_events_lost_total',
    type: 'counter',
    help: 'Events of calls that found no room on their way from the data threads: sessions and registrations are counted too low by about as much.',
    labels: [],
    unit: '1',
  },
} as const satisfies Record<string, MetricEntry>;
