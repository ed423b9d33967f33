import { LINKS, type Page, UID, where } from './page.ts';
import { series, statistic, tabular } from './panels.ts';

const here = (...more: string[]) => where(['site'], ...more);

/** What stands in a column of the row that was clicked, as it is. */
const field = (name: string): string => `\${__data.fields.${name}:raw}`;

/** Where to begin: which site is in trouble, and with what. */
export const fleet: Page = {
  uid: UID.fleet,
  title: 'Fleet',
  description: 'All sites: which one is in trouble, and with what. A click leads to the site.',
  variables: ['site'],
  rows: [
    {
      title: 'Now',
      panels: [
        statistic({
          title: 'Calls up',
          description: 'Dialogs that go on, as the agents saw them. Soft state: approximate.',
          width: 4,
          queries: [[`sum(sipfleet_active_sessions${here()})`, 'calls']],
        }),
        statistic({
          title: 'Registrations',
          description: 'Bindings that PBXs hold, as the agents saw them. Soft state: approximate.',
          width: 4,
          queries: [[`sum(sipfleet_active_registrations${here()})`, 'registrations']],
        }),
        statistic({
          title: 'Backends down',
          description: 'Backends that at least one agent holds for down.',
          width: 4,
          warn: [1, 1],
          queries: [[`sum(max by (site, farm, backend) (sipfleet_backend_state${here('state="down"')}))`, 'down']],
        }),
        statistic({
          title: 'Registrations that fail',
          description:
            'The worst farm: share of its REGISTER transactions that ended badly in five minutes; challenges are not counted. Click it.',
          width: 4,
          named: true,
          link: LINKS.farm,
          unit: 'percentunit',
          warn: [0.005, 0.05],
          none: 'no registrations',
          queries: [
            [
              `topk(1, max by (site, farm) (farm:sipfleet_registration_errors:ratio_rate5m${here()}))`,
              '{{farm}} in {{site}}',
            ],
          ],
        }),
        statistic({
          title: 'Calls that fail',
          description:
            'The worst farm: share of its call attempts that ended with 408, 500, 503, 504 or in silence in five minutes. Click it.',
          width: 4,
          named: true,
          link: LINKS.calls,
          unit: 'percentunit',
          warn: [0.005, 0.05],
          none: 'no calls',
          queries: [
            [
              `topk(1, max by (site, farm) (farm:sipfleet_call_setup_errors:ratio_rate5m${here()}))`,
              '{{farm}} in {{site}}',
            ],
          ],
        }),
        statistic({
          title: 'Agents silent',
          description:
            'Agents that the control plane has not heard of for five minutes. Their calls may go on all the same.',
          width: 4,
          warn: [1, 1],
          queries: [
            [`sum(time() - sipfleet_control_plane_agent_last_report_timestamp_seconds${here()} > bool 300)`, 'silent'],
          ],
        }),
      ],
    },
    {
      title: 'Which site',
      panels: [
        tabular({
          title: 'Alerts that fire',
          description:
            'Those of dashboards/rules. A click leads to the dashboard that shows it, or to its runbook (Runbooks, above, says where these are).',
          width: 24,
          worst: 'Since',
          hidden: ['dashboard', 'runbook'],
          urls: [
            { title: 'Dashboard', url: field('dashboard') },
            { title: 'Runbook', url: `\${runbooks:raw}/${field('runbook')}.md` },
          ],
          columns: [
            {
              title: 'Since',
              expr: `time() - max by (alertname, severity, site, farm, backend, agent, dashboard, runbook) (ALERTS_FOR_STATE${here('alertname=~"Sipfleet.*"')} and ignoring (alertstate) ALERTS{alertstate="firing"})`,
              unit: 's',
            },
          ],
        }),
        tabular({
          title: 'Farms by site',
          description: 'Most failing registrations first; a click on the head of a column sorts by it. Click a farm.',
          width: 12,
          worst: 'Registrations failing',
          link: LINKS.siteFarm,
          columns: [
            {
              title: 'Calls/s',
              expr: `sum by (site, farm) (rate(sipfleet_session_requests_total${here()}[5m]))`,
              unit: 'cps',
            },
            {
              title: 'Calls failing',
              expr: `max by (site, farm) (farm:sipfleet_call_setup_errors:ratio_rate5m${here()})`,
              unit: 'percentunit',
            },
            {
              title: 'Registrations failing',
              expr: `max by (site, farm) (farm:sipfleet_registration_errors:ratio_rate5m${here()})`,
              unit: 'percentunit',
            },
            {
              title: 'Backends up',
              expr: `sum by (site, farm) (max by (site, farm, backend) (sipfleet_backend_state${here('state="up"')}))`,
            },
          ],
        }),
        tabular({
          title: 'Checks that fail',
          description:
            'Failed probes in ten minutes by backend and phase. Phase media: calls are set up and nothing is heard.',
          width: 12,
          worst: 'Failures',
          link: LINKS.backend,
          columns: [
            {
              title: 'Failures',
              expr: `round(sum by (site, farm, backend, check, phase) (increase(sipfleet_check_failures_total${here()}[10m]))) > 0`,
            },
          ],
        }),
        series({
          title: 'Registrations that fail, by site and farm',
          description: 'Above 0.5 % the objective of 99.5 % is being missed.',
          width: 12,
          unit: 'percentunit',
          link: LINKS.siteFarm,
          queries: [[`farm:sipfleet_registration_errors:ratio_rate5m${here()}`, '{{site}} {{farm}}']],
        }),
        series({
          title: 'Calls that fail, by site and farm',
          description: 'Above 0.5 % the objective of 99.5 % is being missed.',
          width: 12,
          unit: 'percentunit',
          link: LINKS.siteFarm,
          queries: [[`farm:sipfleet_call_setup_errors:ratio_rate5m${here()}`, '{{site}} {{farm}}']],
        }),
        series({
          title: 'New requests refused, by site',
          description:
            '503 with Retry-After to protect established calls: agents in overload, or too many requests that wait for PBXs. 0 on a good day.',
          width: 12,
          unit: 'reqps',
          link: LINKS.site,
          queries: [
            [`sum by (site, reason) (rate(sipfleet_refused_requests_total${here()}[5m]))`, '{{site}} {{reason}}'],
          ],
        }),
        series({
          title: 'Data threads in overload',
          description: 'By agent: they are behind and refuse a part of the new requests.',
          width: 12,
          link: LINKS.agent,
          queries: [[`sum by (site, agent) (sipfleet_workers_overloaded${here()})`, '{{site}} {{agent}}']],
        }),
        series({
          title: 'Call attempts',
          description: 'By site.',
          width: 12,
          unit: 'cps',
          link: LINKS.site,
          queries: [[`sum by (site) (rate(sipfleet_session_requests_total${here()}[5m]))`, '{{site}}']],
        }),
        series({
          title: 'Messages',
          description: 'SIP messages received by all agents of a site.',
          width: 12,
          unit: 'pps',
          link: LINKS.site,
          queries: [[`sum by (site) (rate(sipfleet_messages_received_total${here()}[5m]))`, '{{site}}']],
        }),
      ],
    },
  ],
};
