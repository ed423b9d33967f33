import { type Page, UID, where } from './page.ts';
import { series, statistic, tabular } from './panels.ts';

const here = (...more: string[]) => where(['site'], ...more);
const toSite = { title: 'This site', uid: UID.site, labels: { site: 'site' } };
const toBackend = {
  title: 'This backend',
  uid: UID.backend,
  labels: { site: 'site', farm: 'farm', backend: 'backend' },
};

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
          description: 'Share of REGISTER transactions that ended badly in five minutes; challenges are not counted.',
          width: 4,
          unit: 'percentunit',
          warn: [0.005, 0.05],
          none: 'no registrations',
          queries: [[`max(farm:sipfleet_registration_errors:ratio_rate5m${here()})`, 'worst farm']],
        }),
        statistic({
          title: 'Calls that fail',
          description: 'Share of call attempts that ended with 408, 500, 503, 504 or in silence in five minutes.',
          width: 4,
          unit: 'percentunit',
          warn: [0.005, 0.05],
          none: 'no calls',
          queries: [[`max(farm:sipfleet_call_setup_errors:ratio_rate5m${here()})`, 'worst farm']],
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
          title: 'Farms by site',
          description: 'Worst first in each column: click a site.',
          width: 12,
          link: toSite,
          columns: [
            {
              title: 'Calls/s',
              expr: `sum by (site, farm) (rate(sipfleet_session_requests_total${here()}[5m]))`,
              unit: 'cps',
            },
            {
              title: 'Calls failing',
              expr: `farm:sipfleet_call_setup_errors:ratio_rate5m${here()}`,
              unit: 'percentunit',
            },
            {
              title: 'Registrations failing',
              expr: `farm:sipfleet_registration_errors:ratio_rate5m${here()}`,
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
          link: toBackend,
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
          link: toSite,
          queries: [[`farm:sipfleet_registration_errors:ratio_rate5m${here()}`, '{{site}} {{farm}}']],
        }),
        series({
          title: 'Calls that fail, by site and farm',
          description: 'Above 0.5 % the objective of 99.5 % is being missed.',
          width: 12,
          unit: 'percentunit',
          link: toSite,
          queries: [[`farm:sipfleet_call_setup_errors:ratio_rate5m${here()}`, '{{site}} {{farm}}']],
        }),
        series({
          title: 'Call attempts',
          description: 'By site.',
          width: 12,
          unit: 'cps',
          link: toSite,
          queries: [[`sum by (site) (rate(sipfleet_session_requests_total${here()}[5m]))`, '{{site}}']],
        }),
        series({
          title: 'Messages',
          description: 'SIP messages received by all agents of a site.',
          width: 12,
          unit: 'pps',
          link: toSite,
          queries: [[`sum by (site) (rate(sipfleet_messages_received_total${here()}[5m]))`, '{{site}}']],
        }),
      ],
    },
  ],
};
