import { type Page, UID, where } from './page.ts';
import { type Query, series, statistic } from './panels.ts';

const here = (...more: string[]) => where(['site', 'farm'], ...more);
const toBackend = {
  title: 'This backend',
  uid: UID.backend,
  labels: { site: 'site', farm: 'farm', backend: 'backend' },
};

const quantiles = (metric: string, by: string, legend: string, ...more: string[]): Query[] =>
  [0.5, 0.95].map((q) => [
    `histogram_quantile(${q}, sum by (${by}, le) (rate(${metric}_bucket${here(...more)}[5m])))`,
    `${legend} p${q * 100}`,
  ]);

const kpi = (name: string, window = '5m') => `farm_origin:sipfleet_${name}:ratio_rate${window}${here()}`;

/** RFC 6076, as seen at the edge. */
export const calls: Page = {
  uid: UID.calls,
  title: 'Calls (RFC 6076)',
  description:
    'Key performance indicators of RFC 6076 as seen at the edge. Where nothing was attempted a ratio is undefined and has no value. Origin: who began the call, a client or a backend.',
  variables: ['site', 'farm'],
  rows: [
    {
      title: 'Calls',
      panels: [
        statistic({
          title: 'Calls up',
          description: 'Dialogs that go on, as the agents saw them.',
          width: 6,
          queries: [[`sum(sipfleet_active_sessions${here()})`, 'calls']],
        }),
        statistic({
          title: 'SER (adjusted)',
          description: 'Session Establishment Ratio: answered ÷ attempts, without redirections and challenges.',
          width: 6,
          unit: 'percentunit',
          none: 'no calls',
          queries: [[`avg(${kpi('session_establishment_adjusted')})`, 'SER']],
        }),
        statistic({
          title: 'SEER (adjusted)',
          description:
            'Session Establishment Effectiveness Ratio: answered, busy, declined or not there ÷ attempts: what the network could do.',
          width: 6,
          unit: 'percentunit',
          below: [0.98, 0.9],
          none: 'no calls',
          queries: [[`avg(${kpi('session_effectiveness_adjusted')})`, 'SEER']],
        }),
        statistic({
          title: 'Ended within 10 seconds',
          description:
            'Share of calls that ended at once: people hang up on what they cannot hear. Compare with an ordinary day.',
          width: 6,
          unit: 'percentunit',
          warn: [0.3, 0.5],
          none: 'no calls',
          queries: [
            [
              `sum(rate(sipfleet_session_duration_seconds_bucket${here('le="10"')}[15m])) / (sum(rate(sipfleet_session_duration_seconds_count${here()}[15m])) > 0)`,
              'short',
            ],
          ],
        }),
        series({
          title: 'SER: strict and adjusted',
          description: 'Strict is by the letter of the RFC, which counts challenged attempts as failed.',
          width: 12,
          unit: 'percentunit',
          max: 1,
          queries: [
            [kpi('session_establishment'), '{{site}} {{farm}} {{origin}} strict'],
            [kpi('session_establishment_adjusted'), '{{site}} {{farm}} {{origin}} adjusted'],
          ],
        }),
        series({
          title: 'SEER: strict and adjusted',
          description: 'Falls when the network fails, and not when people do not answer.',
          width: 12,
          unit: 'percentunit',
          max: 1,
          queries: [
            [kpi('session_effectiveness'), '{{site}} {{farm}} {{origin}} strict'],
            [kpi('session_effectiveness_adjusted'), '{{site}} {{farm}} {{origin}} adjusted'],
          ],
        }),
        series({
          title: 'ISA: ineffective attempts',
          description: '408, 500, 503, 504 or no answer ÷ attempts.',
          width: 12,
          unit: 'percentunit',
          queries: [[kpi('ineffective_session_attempts'), '{{site}} {{farm}} {{origin}}']],
        }),
        series({
          title: 'SCR: completed sessions',
          description: 'Ended with an answered BYE ÷ attempts, over an hour. Forgotten dialogs are not completed.',
          width: 12,
          unit: 'percentunit',
          queries: [[kpi('session_completion', '1h'), '{{site}} {{farm}} {{origin}}']],
        }),
        series({
          title: 'Answered, by backend',
          description:
            'SER (adjusted) of each backend: the one that stands out is the cause. none: reached no backend.',
          width: 12,
          unit: 'percentunit',
          max: 1,
          link: toBackend,
          traces: {
            title: 'Traces: what failed there',
            attributes: { 'sip.farm': 'farm', 'sip.backend': 'backend' },
            more: 'status = error',
          },
          queries: [
            [
              `backend_origin:sipfleet_session_establishment_adjusted:ratio_rate5m${here()}`,
              '{{farm}} {{backend}} {{origin}}',
            ],
          ],
        }),
        series({
          title: 'Attempts by final status',
          description: 'none: no answer at all.',
          width: 12,
          unit: 'cps',
          stacked: true,
          queries: [
            [`sum by (origin, code) (rate(sipfleet_session_results_total${here()}[5m])) > 0`, '{{origin}} {{code}}'],
          ],
        }),
      ],
    },
    {
      title: 'Delays',
      panels: [
        series({
          title: 'SRD: time to ring, calls that were answered',
          description:
            'Session Request Delay, post-dial delay: INVITE to the first sign of progress. The dots are traces: click one.',
          width: 12,
          unit: 's',
          exemplars: true,
          queries: quantiles('sipfleet_session_request_delay_seconds', 'origin', '{{origin}}', 'result="success"'),
        }),
        series({
          title: 'SRD: time to ring, calls that failed',
          description: 'Never combined with that of answered calls (RFC 6076 §4.3).',
          width: 12,
          unit: 's',
          exemplars: true,
          queries: quantiles('sipfleet_session_request_delay_seconds', 'origin', '{{origin}}', 'result="failure"'),
        }),
        series({
          title: 'SDD: time to hang up',
          description: 'Session Disconnect Delay: BYE to its 2xx.',
          width: 12,
          unit: 's',
          exemplars: true,
          queries: quantiles('sipfleet_session_disconnect_delay_seconds', 'farm', '{{farm}}'),
        }),
        series({
          title: 'SDT: how long calls last',
          description: 'Session Duration Time. A median that falls to seconds: no audio.',
          width: 12,
          unit: 's',
          queries: quantiles('sipfleet_session_duration_seconds', 'origin', '{{origin}}'),
        }),
      ],
    },
    {
      title: 'Registrations',
      panels: [
        series({
          title: 'IRA: ineffective registration attempts',
          description: 'Failed ÷ all REGISTER; adjusted: without those that were only challenged.',
          width: 12,
          unit: 'percentunit',
          queries: [
            [`farm:sipfleet_ineffective_registration_attempts:ratio_rate5m${here()}`, '{{site}} {{farm}} strict'],
            [
              `farm:sipfleet_ineffective_registration_attempts_adjusted:ratio_rate5m${here()}`,
              '{{site}} {{farm}} adjusted',
            ],
          ],
        }),
        series({
          title: 'RRD: time to register',
          description: 'Registration Request Delay: first REGISTER to its 200, the challenge included.',
          width: 12,
          unit: 's',
          exemplars: true,
          queries: quantiles('sipfleet_registration_request_delay_seconds', 'farm', '{{farm}}'),
        }),
      ],
    },
  ],
};
