import { LINKS, type Page, UID, where } from './page.ts';
import { series, statistic, tabular } from './panels.ts';

const here = (...more: string[]) => where(['site'], ...more);

/** Does every agent run what it should, and does the control plane answer. */
export const controlPlane: Page = {
  uid: UID.controlPlane,
  title: 'Control plane and rollouts',
  description:
    'Does every agent run what it should, how far is a change, does the control plane answer. Calls need none of it.',
  variables: ['site'],
  rows: [
    {
      title: 'Rollout',
      panels: [
        statistic({
          title: 'Revision',
          description: 'Of the configuration.',
          width: 4,
          queries: [['max(sipfleet_control_plane_revision)', 'revision']],
        }),
        statistic({
          title: 'Agents',
          description: 'That have joined.',
          width: 4,
          queries: [[`count(sipfleet_control_plane_agent_connected${here()})`, 'agents']],
        }),
        statistic({
          title: 'Connected',
          description: 'Share of agents with a push connection.',
          width: 4,
          unit: 'percentunit',
          below: [1, 0.9],
          none: 'no agents',
          queries: [[`avg(sipfleet_control_plane_agent_connected${here()})`, 'connected']],
        }),
        statistic({
          title: 'Up to date',
          description: 'Share of agents that run what they should. During a rollout it climbs.',
          width: 4,
          unit: 'percentunit',
          below: [1, 0.9],
          none: 'no agents',
          queries: [[`avg(sipfleet_control_plane_agent_current${here()})`, 'current']],
        }),
        statistic({
          title: 'Refuse',
          description: 'Agents that refused the newest configuration: the table says which, sipfleet status why.',
          width: 4,
          warn: [1, 1],
          queries: [[`sum(sipfleet_control_plane_agent_refuses${here()})`, 'refuse']],
        }),
        statistic({
          title: 'Hints that wait',
          description: 'Changes whose push is not known to be out.',
          width: 4,
          warn: [1, 10],
          queries: [['max(sipfleet_control_plane_pending_hints)', 'wait']],
        }),
        tabular({
          title: 'Agents',
          description: 'Click one for its inside.',
          width: 12,
          link: LINKS.agent,
          columns: [
            { title: 'Connected', expr: `sum by (site, agent) (sipfleet_control_plane_agent_connected${here()})` },
            { title: 'Up to date', expr: `sum by (site, agent) (sipfleet_control_plane_agent_current${here()})` },
            { title: 'Refuses', expr: `sum by (site, agent) (sipfleet_control_plane_agent_refuses${here()})` },
            {
              title: 'Last heard',
              expr: `time() - max by (site, agent) (sipfleet_control_plane_agent_last_report_timestamp_seconds${here()})`,
              unit: 's',
            },
          ],
        }),
        series({
          title: 'Up to date, by site',
          description: 'Share of agents that run what they should.',
          width: 12,
          unit: 'percentunit',
          max: 1,
          queries: [[`avg by (site) (sipfleet_control_plane_agent_current${here()})`, '{{site}}']],
        }),
        series({
          title: 'Generation: should run and runs',
          description: 'By site; agents tell what they run.',
          width: 12,
          queries: [
            [`sipfleet_control_plane_target_generation${here()}`, '{{site}} should run'],
            [`min by (site) (sipfleet_snapshot_generation${here()})`, '{{site}} slowest agent'],
          ],
        }),
        series({
          title: 'Reconnects of agents',
          description: 'Push sockets that were lost and opened again. All at once: the control plane or the way to it.',
          width: 12,
          unit: 'cps',
          queries: [[`sum by (site) (rate(sipfleet_link_reconnects_total${here()}[5m]))`, '{{site}}']],
        }),
      ],
    },
    {
      title: 'Exchanges with agents, and HTTP',
      panels: [
        series({
          title: 'Exchanges over push connections, by kind and status',
          description:
            'Reports and snapshots of agents that ask over their push connection; all of them, but where API Gateway holds it.',
          width: 12,
          unit: 'reqps',
          queries: [
            ['sum by (type, code) (rate(sipfleet_control_plane_exchanges_total[5m])) > 0', '{{type}} {{code}}'],
          ],
        }),
        series({
          title: 'Time to answer over push connections, 95th percentile',
          description: 'By kind.',
          width: 12,
          unit: 's',
          queries: [
            [
              'histogram_quantile(0.95, sum by (type, le) (rate(sipfleet_control_plane_exchange_duration_seconds_bucket[5m])))',
              '{{type}}',
            ],
          ],
        }),
        series({
          title: 'Requests, by route and status',
          description: 'On AWS reports of agents (POST /v1/agent/report) are most of it.',
          width: 12,
          unit: 'reqps',
          queries: [
            [
              'sum by (method, route, code) (rate(sipfleet_control_plane_http_requests_total[5m])) > 0',
              '{{method}} {{route}} {{code}}',
            ],
          ],
        }),
        series({
          title: 'Time to answer, 95th percentile',
          description: 'By route.',
          width: 12,
          unit: 's',
          queries: [
            [
              'histogram_quantile(0.95, sum by (route, le) (rate(sipfleet_control_plane_http_request_duration_seconds_bucket[5m])))',
              '{{route}}',
            ],
          ],
        }),
      ],
    },
  ],
};
