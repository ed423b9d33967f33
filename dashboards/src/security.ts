import { LINKS, type Page, UID, where } from './page.ts';
import { series, statistic } from './panels.ts';

const site = (...more: string[]) => where(['site'], ...more);
const here = (...more: string[]) => where(['site', 'farm'], ...more);

/** Who knocks, and what they get. */
export const security: Page = {
  uid: UID.security,
  title: 'Security',
  description: 'Scanners, password guessing, forged routes, floods: who knocks, and what they get.',
  variables: ['site', 'farm'],
  rows: [
    {
      title: 'Attacks',
      panels: [
        statistic({
          title: 'Forged routes',
          description:
            'Messages per second with tokens or branches that are not ours: somebody tries to ring past the PBX.',
          width: 8,
          unit: 'pps',
          warn: [0.1, 1],
          queries: [
            [`sum(rate(sipfleet_dropped_messages_total${site('reason=~"forged_token|forged_branch"')}[5m]))`, 'forged'],
          ],
        }),
        statistic({
          title: 'Malformed',
          description: 'Messages per second that are no SIP.',
          width: 8,
          unit: 'pps',
          warn: [10, 100],
          queries: [
            [`sum(rate(sipfleet_dropped_messages_total${site('reason=~"malformed|oversized"')}[5m]))`, 'malformed'],
          ],
        }),
        statistic({
          title: 'Registrations refused',
          description: 'REGISTER that PBXs refuse with 403 or 404, per second: password and user guessing.',
          width: 8,
          unit: 'reqps',
          warn: [1, 10],
          queries: [[`sum(rate(sipfleet_registration_results_total${here('code=~"403|404"')}[5m]))`, 'refused']],
        }),
        series({
          title: 'Dropped, by reason',
          description: 'All that was neither forwarded nor answered.',
          width: 12,
          unit: 'pps',
          link: LINKS.site,
          queries: [
            [`sum by (site, reason) (rate(sipfleet_dropped_messages_total${site()}[5m])) > 0`, '{{site}} {{reason}}'],
          ],
        }),
        series({
          title: 'Registrations refused, by farm and status',
          description: 'Password guessing runs at tens of tries per second; a mistyped password at one per minute.',
          width: 12,
          unit: 'reqps',
          link: LINKS.farm,
          queries: [
            [
              `sum by (site, farm, code) (rate(sipfleet_registration_results_total${here('code=~"4..",code!~"401|407"')}[5m])) > 0`,
              '{{site}} {{farm}} {{code}}',
            ],
          ],
        }),
        series({
          title: 'Challenges and successes',
          description:
            'An ordinary registration is one of each. Many more challenges than successes: somebody who has no password.',
          width: 12,
          unit: 'reqps',
          link: LINKS.farm,
          queries: [
            [
              `sum by (site, farm) (rate(sipfleet_registration_challenges_total${here()}[5m]))`,
              '{{site}} {{farm}} challenged',
            ],
            [
              `sum by (site, farm) (rate(sipfleet_registration_successes_total${here()}[5m]))`,
              '{{site}} {{farm}} registered',
            ],
          ],
        }),
        series({
          title: 'Calls refused, by status',
          description: '403, 404, 603 in numbers: somebody dials through a list, looking for a way to dial out.',
          width: 12,
          unit: 'cps',
          link: LINKS.farm,
          queries: [
            [
              `sum by (site, farm, code) (rate(sipfleet_session_results_total${here('code=~"403|404|484|603"')}[5m])) > 0`,
              '{{site}} {{farm}} {{code}}',
            ],
          ],
        }),
      ],
    },
    {
      title: 'Connections',
      panels: [
        series({
          title: 'Refused and failed',
          description:
            'Too many connections from one source, bad TLS handshakes, WebSocket upgrades and PROXY headers.',
          width: 12,
          unit: 'cps',
          link: LINKS.farm,
          queries: [
            [
              `sum by (site, farm) (rate(sipfleet_connections_refused_total${here()}[5m]))`,
              '{{site}} {{farm}} refused',
            ],
            [
              `sum by (site, farm) (rate(sipfleet_handshakes_failed_total${here()}[5m]))`,
              '{{site}} {{farm}} handshake failed',
            ],
          ],
        }),
        series({
          title: 'Closed for silence',
          description: 'Connections on which nothing came, or a message did not end (slow senders).',
          width: 12,
          unit: 'cps',
          link: LINKS.farm,
          queries: [
            [`sum by (site, farm) (rate(sipfleet_connections_expired_total${here()}[5m]))`, '{{site}} {{farm}}'],
          ],
        }),
      ],
    },
  ],
};
