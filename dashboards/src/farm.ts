import { LINKS, type Page, UID, where } from './page.ts';
import { series, statistic } from './panels.ts';

const here = (...more: string[]) => where(['site', 'farm'], ...more);

/** One farm: how its load is spread, what its clients are told. */
export const farm: Page = {
  uid: UID.farm,
  title: 'Farm',
  description: 'One farm: how its load is spread over the backends, and what clients are told.',
  variables: ['site', 'farm'],
  rows: [
    {
      title: 'Balance',
      panels: [
        series({
          title: 'Requests to backends',
          description: 'All methods. The shares follow the weights; a hash by user follows the users.',
          width: 12,
          unit: 'reqps',
          stacked: true,
          link: LINKS.backend,
          queries: [
            [
              `sum by (site, farm, backend) (rate(sipfleet_backend_requests_sent_total${here()}[5m]))`,
              '{{farm}} {{backend}}',
            ],
          ],
        }),
        series({
          title: 'Backends that serve',
          description: '1: up, 0: down or not known yet; the worst opinion of all agents.',
          width: 12,
          max: 1,
          link: LINKS.backend,
          queries: [
            [`min by (site, farm, backend) (sipfleet_backend_state${here('state="up"')})`, '{{farm}} {{backend}}'],
          ],
        }),
        series({
          title: 'Registrations held',
          description:
            'By backend, as the agents saw them. A backend that lost its location database falls to 0 and comes back with the next round of REGISTER.',
          width: 12,
          stacked: true,
          link: LINKS.backend,
          queries: [[`sum by (site, farm, backend) (sipfleet_active_registrations${here()})`, '{{farm}} {{backend}}']],
        }),
        series({
          title: 'Calls up',
          description: 'By backend, as the agents saw them.',
          width: 12,
          stacked: true,
          link: LINKS.backend,
          queries: [[`sum by (site, farm, backend) (sipfleet_active_sessions${here()})`, '{{farm}} {{backend}}']],
        }),
      ],
    },
    {
      title: 'What clients get',
      panels: [
        series({
          title: 'Call attempts by final status',
          description: 'none: no answer at all. 503 from here and not from a backend: nobody serves.',
          width: 12,
          unit: 'cps',
          stacked: true,
          link: LINKS.siteFarm,
          queries: [
            [`sum by (site, farm, code) (rate(sipfleet_session_results_total${here()}[5m])) > 0`, '{{farm}} {{code}}'],
          ],
        }),
        series({
          title: 'Registrations by final status and backend',
          description:
            '403: wrong passwords or blocked; 404: users unknown there; 5xx, none: the PBX is in trouble. Challenges (401, 407) are part of every registration.',
          width: 12,
          unit: 'reqps',
          stacked: true,
          link: LINKS.backend,
          queries: [
            [
              `sum by (site, farm, backend, code) (rate(sipfleet_registration_results_total${here()}[5m])) > 0`,
              '{{farm}} {{backend}} {{code}}',
            ],
          ],
        }),
        series({
          title: 'Registrations that fail, by backend',
          description: 'RFC 6076 IRA without challenges.',
          width: 12,
          unit: 'percentunit',
          link: LINKS.backend,
          queries: [
            [
              `backend:sipfleet_ineffective_registration_attempts_adjusted:ratio_rate5m${here()}`,
              '{{farm}} {{backend}}',
            ],
          ],
        }),
        series({
          title: 'Failovers',
          description:
            'Attempts at a backend that were given up for another one: silence, a failover code, or it went down.',
          width: 12,
          unit: 'reqps',
          link: LINKS.backend,
          traces: {
            title: 'Traces: attempts that were given up',
            attributes: { 'resource.sipfleet.site': 'site', 'sip.farm': 'farm', 'sip.backend': 'backend' },
            more: 'span.sip.failover.cause != nil',
          },
          queries: [
            [
              `sum by (site, farm, backend) (rate(sipfleet_failovers_total${here()}[5m]))`,
              'away from {{farm}} {{backend}}',
            ],
          ],
        }),
      ],
    },
    {
      title: 'Listeners',
      panels: [
        series({
          title: 'Messages received, by listener',
          description: 'A listener that falls silent: a firewall, a certificate, an address that moved.',
          width: 12,
          unit: 'pps',
          link: LINKS.siteFarm,
          queries: [
            [
              `sum by (site, farm, listener, transport) (rate(sipfleet_messages_received_total${here()}[5m]))`,
              '{{farm}} {{transport}} {{listener}}',
            ],
          ],
        }),
        series({
          title: 'Connections',
          description: 'Open TCP, TLS and WebSocket connections.',
          width: 12,
          link: LINKS.siteFarm,
          queries: [
            [
              `sum by (site, farm, listener, transport) (sipfleet_connections${here()})`,
              '{{farm}} {{transport}} {{listener}}',
            ],
          ],
        }),
        series({
          title: 'Connections that did not come about',
          description:
            'Refused: too many in all or from one source. Failed: bad TLS handshake, WebSocket upgrade or PROXY header.',
          width: 12,
          unit: 'cps',
          link: LINKS.siteFarm,
          queries: [
            [
              `sum by (site, farm, listener) (rate(sipfleet_connections_refused_total${here()}[5m]))`,
              'refused {{farm}} {{listener}}',
            ],
            [
              `sum by (site, farm, listener) (rate(sipfleet_handshakes_failed_total${here()}[5m]))`,
              'failed {{farm}} {{listener}}',
            ],
          ],
        }),
        series({
          title: 'Messages above 1,300 bytes',
          description:
            'Sent, by listener. By UDP such a message may travel in fragments, which firewalls and phones like to lose: calls with much SDP fail and others do not. Backends have tcpAbove against it.',
          width: 12,
          unit: 'pps',
          link: LINKS.siteFarm,
          queries: [
            [
              `sum by (site, farm, listener, transport) (rate(sipfleet_large_messages_sent_total${here()}[5m]))`,
              '{{farm}} {{transport}} {{listener}}',
            ],
          ],
        }),
        statistic({
          title: 'First certificate to expire',
          description: 'Time until the first certificate of a TLS or WSS listener expires. None: no such listener.',
          width: 12,
          unit: 's',
          below: [14 * 86_400, 2 * 86_400],
          none: 'no certificates',
          queries: [[`min(sipfleet_certificate_expiry_timestamp_seconds${here()}) - time()`, 'left']],
        }),
      ],
    },
  ],
};
