import { LINKS, type Page, UID, where } from './page.ts';
import { failedAt, type Query, series, statistic } from './panels.ts';

const here = (...more: string[]) => where(['site', 'farm'], ...more);

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
          link: LINKS.farm,
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
          link: LINKS.farm,
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
          link: LINKS.farm,
          queries: [[kpi('ineffective_session_attempts'), '{{site}} {{farm}} {{origin}}']],
        }),
        series({
          title: 'SCR: completed sessions',
          description: 'Ended with an answered BYE ÷ attempts, over an hour. Forgotten dialogs are not completed.',
          width: 12,
          unit: 'percentunit',
          link: LINKS.farm,
          queries: [[kpi('session_completion', '1h'), '{{site}} {{farm}} {{origin}}']],
        }),
        series({
          title: 'Answered, by backend',
          description:
            'SER (adjusted) of each backend: the one that stands out is the cause. none: reached no backend.',
          width: 12,
          unit: 'percentunit',
          max: 1,
          link: LINKS.backend,
          traces: failedAt('Traces: what failed there', ['farm', 'backend']),
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
          link: LINKS.farm,
          queries: [
            [
              `sum by (site, farm, origin, code) (rate(sipfleet_session_results_total${here()}[5m])) > 0`,
              '{{site}} {{farm}} {{origin}} {{code}}',
            ],
          ],
        }),
        series({
          title: 'Dialogs that nobody ended',
          description:
            'Forgotten, because nothing was heard of them for four hours: hang-ups that get lost, or agents that missed them.',
          width: 12,
          unit: 'cps',
          link: LINKS.farm,
          queries: [[`sum by (site, farm) (rate(sipfleet_sessions_expired_total${here()}[1h]))`, '{{site}} {{farm}}']],
        }),
        series({
          title: 'Ended within 10 seconds, by backend',
          description:
            'Share of the completed calls: people hang up on what they cannot hear. One that stands out has no audio.',
          width: 12,
          unit: 'percentunit',
          max: 1,
          link: LINKS.backend,
          traces: failedAt('Traces: what failed there', ['farm', 'backend']),
          queries: [
            [
              `max by (site, farm, backend) (backend:sipfleet_short_sessions:ratio_rate15m${here()})`,
              '{{farm}} {{backend}}',
            ],
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
            'Session Request Delay, post-dial delay: INVITE to the first sign of progress. The dots are traces of kept calls: click one. None at all: Prometheus runs without --enable-feature=exemplar-storage.',
          width: 12,
          unit: 's',
          exemplars: true,
          link: LINKS.farm,
          queries: quantiles(
            'sipfleet_session_request_delay_seconds',
            'site, farm, origin',
            '{{site}} {{farm}} {{origin}}',
            'result="success"',
          ),
        }),
        series({
          title: 'SRD: time to ring, calls that failed',
          description: 'Never combined with that of answered calls (RFC 6076 §4.3).',
          width: 12,
          unit: 's',
          exemplars: true,
          link: LINKS.farm,
          queries: quantiles(
            'sipfleet_session_request_delay_seconds',
            'site, farm, origin',
            '{{site}} {{farm}} {{origin}}',
            'result="failure"',
          ),
        }),
        series({
          title: 'SDD: time to hang up',
          description: 'Session Disconnect Delay: BYE to its 2xx.',
          width: 12,
          unit: 's',
          exemplars: true,
          link: LINKS.farm,
          queries: quantiles('sipfleet_session_disconnect_delay_seconds', 'site, farm', '{{site}} {{farm}}'),
        }),
        series({
          title: 'SDT: how long calls last',
          description: 'Session Duration Time. A median that falls to seconds: no audio.',
          width: 12,
          unit: 's',
          link: LINKS.farm,
          queries: quantiles('sipfleet_session_duration_seconds', 'site, farm, origin', '{{site}} {{farm}} {{origin}}'),
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
          link: LINKS.farm,
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
          link: LINKS.farm,
          queries: quantiles('sipfleet_registration_request_delay_seconds', 'site, farm', '{{site}} {{farm}}'),
        }),
      ],
    },
  ],
};
