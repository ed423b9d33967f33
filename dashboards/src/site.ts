import { LINKS, type Page, UID, where } from './page.ts';
import { series, statistic, tabular } from './panels.ts';

const here = (...more: string[]) => where(['site', 'farm'], ...more);
const site = (...more: string[]) => where(['site'], ...more);

/** One site: which farm, which backend, which agent. */
export const sitePage: Page = {
  uid: UID.site,
  title: 'Site',
  description: 'One site: which of its farms, backends and agents is in trouble.',
  variables: ['site', 'farm'],
  rows: [
    {
      title: 'Farms and backends',
      panels: [
        statistic({
          title: 'Calls up',
          description: 'Dialogs that go on, as the agents saw them.',
          width: 6,
          queries: [[`sum(sipfleet_active_sessions${here()})`, 'calls']],
        }),
        statistic({
          title: 'Registrations',
          description: 'Bindings that PBXs hold, as the agents saw them.',
          width: 6,
          queries: [[`sum(sipfleet_active_registrations${here()})`, 'registrations']],
        }),
        statistic({
          title: 'Backends up',
          description: 'Backends that at least one agent holds for up.',
          width: 6,
          below: [2, 1],
          queries: [[`sum(max by (farm, backend) (sipfleet_backend_state${here('state="up"')}))`, 'up']],
        }),
        statistic({
          title: 'Agents',
          description: 'Agents that deliver metrics.',
          width: 6,
          below: [2, 1],
          queries: [[`count(sipfleet_build_info${site()})`, 'agents']],
        }),
        tabular({
          title: 'Backends',
          description:
            'Each backend with what its clients see. One that stands out is the cause; if all stand out, look at the agents and the network.',
          width: 24,
          worst: 'Registrations failing',
          link: LINKS.backend,
          columns: [
            { title: 'Up', expr: `min by (site, farm, backend) (sipfleet_backend_state${here('state="up"')})` },
            { title: 'Calls up', expr: `sum by (site, farm, backend) (sipfleet_active_sessions${here()})` },
            { title: 'Registered', expr: `sum by (site, farm, backend) (sipfleet_active_registrations${here()})` },
            {
              title: 'Registrations failing',
              expr: `max by (site, farm, backend) (backend:sipfleet_ineffective_registration_attempts_adjusted:ratio_rate5m${here()})`,
              unit: 'percentunit',
            },
            {
              title: 'Calls answered',
              expr: `avg by (site, farm, backend) (backend_origin:sipfleet_session_establishment_adjusted:ratio_rate5m${here()})`,
              unit: 'percentunit',
            },
            {
              title: '5xx/s',
              expr: `sum by (site, farm, backend) (rate(sipfleet_backend_responses_total${here('code_class="5xx"')}[5m]))`,
              unit: 'reqps',
            },
            {
              title: 'Failovers/s',
              expr: `sum by (site, farm, backend) (rate(sipfleet_failovers_total${here()}[5m]))`,
              unit: 'reqps',
            },
            {
              title: 'Failed checks (10 min)',
              expr: `round(sum by (site, farm, backend) (increase(sipfleet_check_failures_total${here()}[10m])))`,
            },
          ],
        }),
        series({
          title: 'Registrations that fail, by backend',
          description: 'A single backend: the PBX. All at once: passwords, the network, an attack (see Security).',
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
          title: 'Failed checks, by backend and phase',
          description:
            'Phase media: the dummy call is set up and nothing is heard; register: the PBX refuses credentials or does not answer; invite, answer: calls do not come about.',
          width: 12,
          link: LINKS.backend,
          queries: [
            [
              `sum by (site, farm, backend, check, phase) (increase(sipfleet_check_failures_total${here()}[10m])) > 0`,
              '{{farm}} {{backend}}: {{check}} fails in {{phase}}',
            ],
          ],
        }),
        series({
          title: 'Calls, by farm',
          description: 'Attempts per second.',
          width: 12,
          unit: 'cps',
          link: LINKS.farm,
          queries: [[`sum by (site, farm) (rate(sipfleet_session_requests_total${here()}[5m]))`, '{{farm}}']],
        }),
        series({
          title: 'Registrations, by farm',
          description:
            'REGISTER transactions per second. A sudden rise: phones that come back after an outage, or an attack.',
          width: 12,
          unit: 'reqps',
          link: LINKS.farm,
          queries: [[`sum by (site, farm) (rate(sipfleet_registration_requests_total${here()}[5m]))`, '{{farm}}']],
        }),
      ],
    },
    {
      title: 'Agents',
      panels: [
        series({
          title: 'Messages, by agent',
          description: 'Who carries the traffic. An agent that suddenly carries nothing has lost the address.',
          width: 12,
          unit: 'pps',
          link: LINKS.agent,
          queries: [[`sum by (site, agent) (rate(sipfleet_messages_received_total${site()}[5m]))`, '{{agent}}']],
        }),
        series({
          title: 'Dropped, by agent and reason',
          description:
            'Messages that were neither forwarded nor answered. no_backend: nobody serves; malformed, forged_*: see Security.',
          width: 12,
          unit: 'pps',
          link: LINKS.agent,
          queries: [
            [
              `sum by (site, agent, reason) (rate(sipfleet_dropped_messages_total${site()}[5m])) > 0`,
              '{{agent}} {{reason}}',
            ],
          ],
        }),
      ],
    },
  ],
};
