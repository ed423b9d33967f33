import { LINKS, type Page, UID, where } from './page.ts';
import { series, statistic, tabular } from './panels.ts';

const here = (...more: string[]) => where(['site', 'agent'], ...more);

/** Agents from the inside. */
export const agent: Page = {
  uid: UID.agent,
  title: 'Agent internals',
  description: 'Agents from the inside: threads, memory, drops, the link to the control plane, delivery of metrics.',
  variables: ['site', 'agent'],
  rows: [
    {
      title: 'State',
      panels: [
        tabular({
          title: 'Agents',
          description: 'What runs where.',
          width: 12,
          link: LINKS.agent,
          columns: [
            { title: 'Build', expr: `sum by (site, agent, version, node) (sipfleet_build_info${here()})` },
            { title: 'Data threads', expr: `sum by (site, agent) (sipfleet_workers${here()})` },
            { title: 'Configuration', expr: `sum by (site, agent) (sipfleet_snapshot_generation${here()})` },
          ],
        }),
        statistic({
          title: 'Not up to date',
          description: 'Agents that run another configuration than the control plane last told them.',
          width: 4,
          warn: [1, 1],
          none: 'no control plane',
          queries: [
            [
              `sum(sipfleet_snapshot_target_generation${here()} != bool sipfleet_snapshot_generation${here()})`,
              'behind',
            ],
          ],
        }),
        statistic({
          title: 'Restarts of data threads',
          description: 'In an hour. Each one is a fault of ours: report it.',
          width: 4,
          warn: [1, 1],
          queries: [[`round(sum(increase(sipfleet_worker_restarts_total${here()}[1h])))`, 'restarts']],
        }),
        statistic({
          title: 'Push connection',
          description:
            'Agents without a push connection to the control plane: they go on, and hear of changes with their next report.',
          width: 4,
          warn: [1, 1],
          none: 'no control plane',
          queries: [[`sum(sipfleet_link_connected${here()} == bool 0)`, 'without']],
        }),
      ],
    },
    {
      title: 'Work',
      panels: [
        series({
          title: 'Messages',
          description: 'In and out.',
          width: 12,
          unit: 'pps',
          queries: [
            [`sum by (agent) (rate(sipfleet_messages_received_total${here()}[5m]))`, '{{agent}} in'],
            [`sum by (agent) (rate(sipfleet_messages_sent_total${here()}[5m]))`, '{{agent}} out'],
          ],
        }),
        series({
          title: 'Bytes',
          description: 'Of SIP, without IP, UDP and TCP headers.',
          width: 12,
          unit: 'Bps',
          queries: [
            [`sum by (agent) (rate(sipfleet_received_bytes_total${here()}[5m]))`, '{{agent}} in'],
            [`sum by (agent) (rate(sipfleet_sent_bytes_total${here()}[5m]))`, '{{agent}} out'],
          ],
        }),
        series({
          title: 'Dropped, by reason',
          description:
            'Neither forwarded nor answered. overload, receive_buffer, queue_budget, mailbox_full, send_failed: too much to do; internal: a fault of ours.',
          width: 12,
          unit: 'pps',
          queries: [
            [`sum by (agent, reason) (rate(sipfleet_dropped_messages_total${here()}[5m])) > 0`, '{{agent}} {{reason}}'],
          ],
        }),
        series({
          title: 'Own responses, by status',
          description:
            '503: no backend, or refused to protect established calls (the next panel); 483, 482: loops; 400: malformed.',
          width: 12,
          unit: 'reqps',
          queries: [
            [`sum by (agent, code) (rate(sipfleet_local_responses_total${here()}[5m])) > 0`, '{{agent}} {{code}}'],
          ],
        }),
        series({
          title: 'New requests refused, by reason',
          description:
            '503 with Retry-After, so that established calls do not suffer. overload: data threads are behind; transaction_limit: too many requests wait for an answer, as when PBXs are silent.',
          width: 12,
          unit: 'reqps',
          link: LINKS.agent,
          queries: [
            [
              `sum by (site, agent, reason) (rate(sipfleet_refused_requests_total${here()}[5m]))`,
              '{{agent}} {{reason}}',
            ],
          ],
        }),
        series({
          title: 'Data threads in overload',
          description: 'They are behind and refuse a part of the new requests, until no queue stands.',
          width: 12,
          link: LINKS.agent,
          queries: [[`sum by (site, agent) (sipfleet_workers_overloaded${here()})`, '{{agent}}']],
        }),
        series({
          title: 'Utilisation of data threads',
          description:
            'Share of their time that they did not wait, mean over the threads. Near 100 % they refuse new work.',
          width: 8,
          unit: 'percentunit',
          queries: [[`rate(sipfleet_worker_busy_seconds_total${here()}[5m]) / sipfleet_workers${here()}`, '{{agent}}']],
        }),
        series({
          title: 'Datagrams per batch',
          description:
            'Taken from a socket at once: grows with the load, at most 64. With the dgram datapath always 1.',
          width: 8,
          queries: [
            [
              `sum by (agent) (rate(sipfleet_messages_received_total${here('transport="udp"')}[5m])) / sum by (agent) (rate(sipfleet_udp_batches_total${here()}[5m]))`,
              '{{agent}}',
            ],
          ],
        }),
        series({
          title: 'Under way and waiting',
          description: 'Transactions (at most 50,000 per data thread), and KiB that wait for peers that read slowly.',
          width: 8,
          queries: [
            [`sipfleet_transactions${here()}`, '{{agent}} transactions'],
            [`sipfleet_stream_queued_bytes${here()} / 1024`, '{{agent}} KiB queued'],
          ],
        }),
        series({
          title: 'CPU',
          description: 'Cores used, all threads.',
          width: 8,
          queries: [[`rate(process_cpu_seconds_total${here()}[5m])`, '{{agent}}']],
        }),
        series({
          title: 'Memory',
          description: 'Resident, and what of it is JavaScript heap and buffers.',
          width: 8,
          unit: 'bytes',
          queries: [
            [`process_resident_memory_bytes${here()}`, '{{agent}} resident'],
            [`nodejs_heap_size_used_bytes${here()}`, '{{agent}} heap'],
            [`nodejs_external_memory_bytes${here()}`, '{{agent}} buffers'],
          ],
        }),
        series({
          title: 'Control thread late by',
          description: '99th percentile. Data threads are others: calls do not wait for it.',
          width: 8,
          unit: 's',
          queries: [[`nodejs_eventloop_lag_p99_seconds${here()}`, '{{agent}}']],
        }),
      ],
    },
    {
      title: 'Configuration and telemetry',
      panels: [
        series({
          title: 'Configuration',
          description: 'Generation that runs, and the one that the control plane last told.',
          width: 8,
          queries: [
            [`sipfleet_snapshot_generation${here()}`, '{{agent}} runs'],
            [`sipfleet_snapshot_target_generation${here()}`, '{{agent}} should run'],
          ],
        }),
        statistic({
          title: 'Configurations refused',
          description: 'In a day. The agent log and sipfleet status say why.',
          width: 4,
          warn: [1, 1],
          queries: [[`round(sum(increase(sipfleet_snapshot_apply_failures_total${here()}[1d])))`, 'refused']],
        }),
        statistic({
          title: 'Configurations not on disk',
          description:
            'Agents whose newest configuration a restart would not find: the disk did not take it, and is tried again.',
          width: 4,
          warn: [1, 1],
          queries: [[`sum(sipfleet_snapshot_unsaved${here()})`, 'agents']],
        }),
        statistic({
          title: 'Events lost',
          description: 'In an hour. Calls and registrations are counted too low by about as much.',
          width: 4,
          warn: [1, 1000],
          queries: [[`round(sum(increase(sipfleet_events_lost_total${here()}[1h])))`, 'lost']],
        }),
        statistic({
          title: 'Open files',
          description: 'Share of what the process may open.',
          width: 4,
          unit: 'percentunit',
          warn: [0.6, 0.8],
          queries: [[`max(process_open_fds${here()} / process_max_fds${here()})`, 'used']],
        }),
        series({
          title: 'Metrics and spans that wait',
          description: 'On disk, for a receiver that does not answer. Empty where nothing is pushed.',
          width: 12,
          unit: 'bytes',
          queries: [[`sipfleet_push_spool_bytes${here()}`, '{{agent}} {{exporter}}']],
        }),
        series({
          title: 'Pushes, by result',
          description: 'later: sent again; refused: too old or out of order. Empty where nothing is pushed.',
          width: 12,
          unit: 'reqps',
          queries: [
            [
              `sum by (agent, exporter, result) (rate(sipfleet_push_requests_total${here()}[5m]))`,
              '{{agent}} {{exporter}} {{result}}',
            ],
          ],
        }),
        series({
          title: 'Spans of traces',
          description:
            'Of kept calls and checks, and those that were left out. budget: more than --trace-budget; queue: too many waited. Empty where no traces are pushed.',
          width: 12,
          queries: [
            [`sum by (agent) (rate(sipfleet_trace_spans_total${here()}[5m]))`, '{{agent}} sent'],
            [
              `sum by (agent, reason) (rate(sipfleet_trace_spans_dropped_total${here()}[5m]))`,
              '{{agent}} left out: {{reason}}',
            ],
          ],
        }),
        series({
          title: 'HEP',
          description:
            'Messages on their way to the HEP server, and those that it does not have: overwritten: it or the network is too slow, or away. Empty where there is none.',
          width: 12,
          unit: 'pps',
          queries: [
            [`sum by (agent) (rate(sipfleet_hep_messages_sent_total${here()}[5m]))`, '{{agent}} sent'],
            [
              `sum by (agent, reason) (rate(sipfleet_hep_messages_lost_total${here()}[5m]))`,
              '{{agent}} lost: {{reason}}',
            ],
          ],
        }),
        statistic({
          title: 'HEP server',
          description: 'Agents that do not reach theirs.',
          width: 4,
          warn: [1, 1],
          none: 'no HEP server',
          queries: [[`sum(sipfleet_hep_connected${here()} == bool 0)`, 'without']],
        }),
      ],
    },
  ],
};
