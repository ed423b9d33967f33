import { LINKS, type Page, UID, where } from './page.ts';
import { failedAt, series, statistic, tabular } from './panels.ts';

const here = (...more: string[]) => where(['site', 'farm', 'backend'], ...more);
const farms = (...more: string[]) => where(['site', 'farm'], ...more);

/** One backend: is it the PBX, and what about it. */
export const backend: Page = {
  uid: UID.backend,
  title: 'Backend and health',
  description: 'One backend: is the PBX the cause, and what about it is broken.',
  variables: ['site', 'farm', 'backend'],
  rows: [
    {
      title: 'Health',
      panels: [
        tabular({
          title: 'State, as each agent sees it',
          description: 'Agents that disagree: the network between one of them and the PBX.',
          width: 8,
          link: LINKS.agent,
          columns: [
            { title: 'Is', expr: `max by (site, farm, backend, agent, state) (sipfleet_backend_state${here()}) == 1` },
          ],
        }),
        statistic({
          title: 'Agents that disagree',
          description: 'Agents that hold it for down while others hold it for up. None: all agree.',
          width: 4,
          warn: [1, 1],
          none: 'all agree',
          queries: [[`max(sipfleet_backend_disagreeing_agents${here()})`, 'disagree']],
        }),
        series({
          title: 'Failed checks, by phase',
          description:
            'Which step of the probe fails. register: credentials or registrar; invite, ring, answer: call processing; media: calls are set up and nothing is heard (RTP path, codecs, NAT, transcoding); bye: hang-ups get lost.',
          width: 12,
          traces: failedAt('Traces: probes that failed', ['farm', 'backend', 'check']),
          queries: [
            [
              `sum by (site, farm, backend, check, phase) (increase(sipfleet_check_failures_total${here()}[10m])) > 0`,
              '{{farm}} {{backend}}: {{check}} in {{phase}}',
            ],
          ],
        }),
        series({
          title: 'Check results',
          description: 'Inconclusive: nothing was learnt about the backend.',
          width: 12,
          unit: 'cps',
          traces: failedAt('Traces: what failed there', ['farm', 'backend']),
          queries: [
            [
              `sum by (site, farm, backend, check, result) (rate(sipfleet_check_results_total${here()}[5m]))`,
              '{{farm}} {{backend}} {{check}} {{result}}',
            ],
          ],
        }),
        series({
          title: 'Time of checks, 95th percentile',
          description: 'By check, over all backends of the farm. Slower and slower: overload that has not failed yet.',
          width: 12,
          unit: 's',
          link: LINKS.siteFarm,
          queries: [
            [
              `histogram_quantile(0.95, sum by (site, farm, check, le) (rate(sipfleet_check_duration_seconds_bucket${farms()}[10m])))`,
              '{{farm}} {{check}}',
            ],
          ],
        }),
        series({
          title: 'Phases that fail',
          description:
            'Of register and call checks, over all backends of the farm: share of the probes that reached a phase and failed in it.',
          width: 12,
          unit: 'percentunit',
          link: LINKS.siteFarm,
          queries: [
            [
              `sum by (site, farm, check, phase) (rate(sipfleet_check_phase_results_total${farms('result="failure"')}[10m])) / (sum by (site, farm, check, phase) (rate(sipfleet_check_phase_results_total${farms()}[10m])) > 0)`,
              '{{farm}} {{check}} {{phase}}',
            ],
          ],
        }),
        series({
          title: 'Time of phases, 95th percentile',
          description: 'Of register and call checks, over all backends of the farm.',
          width: 12,
          unit: 's',
          link: LINKS.siteFarm,
          queries: [
            [
              `histogram_quantile(0.95, sum by (site, farm, check, phase, le) (rate(sipfleet_check_phase_duration_seconds_bucket${farms()}[10m])))`,
              '{{farm}} {{check}} {{phase}}',
            ],
          ],
        }),
      ],
    },
    {
      title: 'Traffic',
      panels: [
        series({
          title: 'Requests sent, by method',
          description: 'What it gets to do.',
          width: 12,
          unit: 'reqps',
          traces: failedAt('Traces: what failed there', ['farm', 'backend']),
          queries: [
            [
              `sum by (site, farm, backend, method) (rate(sipfleet_backend_requests_sent_total${here()}[5m]))`,
              '{{farm}} {{backend}} {{method}}',
            ],
          ],
        }),
        series({
          title: 'Requests received, by method',
          description: 'What it begins itself: calls to phones, notifications.',
          width: 12,
          unit: 'reqps',
          traces: failedAt('Traces: what failed there', ['farm', 'backend']),
          queries: [
            [
              `sum by (site, farm, backend, method) (rate(sipfleet_backend_requests_received_total${here()}[5m])) > 0`,
              '{{farm}} {{backend}} {{method}}',
            ],
          ],
        }),
        series({
          title: 'Responses, by class',
          description: '4xx are mostly challenges and busy phones; 5xx are the PBX itself.',
          width: 12,
          unit: 'reqps',
          traces: failedAt('Traces: what failed there', ['farm', 'backend']),
          queries: [
            [
              `sum by (site, farm, backend, code_class) (rate(sipfleet_backend_responses_total${here()}[5m])) > 0`,
              '{{farm}} {{backend}} {{code_class}}',
            ],
          ],
        }),
        series({
          title: 'Registrations, by final status',
          description: '403, 404: users or passwords; 5xx, none: the registrar or its database.',
          width: 12,
          unit: 'reqps',
          traces: failedAt('Traces: what failed there', ['farm', 'backend']),
          queries: [
            [
              `sum by (site, farm, backend, code) (rate(sipfleet_registration_results_total${here()}[5m])) > 0`,
              '{{farm}} {{backend}} {{code}}',
            ],
          ],
        }),
        series({
          title: 'Retransmissions and failovers',
          description: 'Requests sent again for want of an answer, and attempts given up: a slow PBX shows here first.',
          width: 12,
          unit: 'reqps',
          traces: failedAt('Traces: what failed there', ['farm', 'backend']),
          queries: [
            [
              `sum by (site, farm, backend) (rate(sipfleet_retransmissions_total${here()}[5m]))`,
              'retransmissions {{farm}} {{backend}}',
            ],
            [
              `sum by (site, farm, backend) (rate(sipfleet_failovers_total${here()}[5m]))`,
              'failovers {{farm}} {{backend}}',
            ],
          ],
        }),
        series({
          title: 'What traffic tells against it',
          description:
            'timeout: requests given up after silence; refused: ICMP, or a connection refused; 503. Enough of them take it down before a check does.',
          width: 12,
          unit: 'reqps',
          traces: failedAt('Traces: what failed there', ['farm', 'backend']),
          queries: [
            [
              `sum by (site, farm, backend, signal) (rate(sipfleet_backend_signals_total${here()}[5m]))`,
              '{{farm}} {{backend}} {{signal}}',
            ],
          ],
        }),
        series({
          title: 'Requests too large for a datagram',
          description:
            'Above tcpAbove, by how they went: tcp, or udp because the PBX refused TCP within the last minute. Empty where no backend has tcpAbove or none was so large.',
          width: 12,
          unit: 'reqps',
          traces: failedAt('Traces: what failed there', ['farm', 'backend']),
          queries: [
            [
              `sum by (site, farm, backend, transport) (rate(sipfleet_large_requests_total${here()}[5m]))`,
              '{{farm}} {{backend}} over {{transport}}',
            ],
          ],
        }),
        series({
          title: 'Calls up and registrations',
          description: 'As the agents saw them.',
          width: 12,
          traces: failedAt('Traces: what failed there', ['farm', 'backend']),
          queries: [
            [`sum by (site, farm, backend) (sipfleet_active_sessions${here()})`, 'calls {{farm}} {{backend}}'],
            [
              `sum by (site, farm, backend) (sipfleet_active_registrations${here()})`,
              'registrations {{farm}} {{backend}}',
            ],
          ],
        }),
      ],
    },
  ],
};
