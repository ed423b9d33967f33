import type { MetricEntry } from './catalogue.ts';

/** The part of the catalogue that is about what leaves the agent: pushed metrics and spans, and messages to a HEP server. */
export const DELIVERY_METRICS = {
  pushRequests: {
    name: 'sipfleet_push_requests_total',
    type: 'counter',
    help: 'Requests with metrics or spans, by exporter (otlp, otlp-traces, remote-write) and result: taken, later (sent again), or refused for good.',
    labels: ['exporter', 'result'],
    unit: '1',
  },
  pushDropped: {
    name: 'sipfleet_push_dropped_samples_total',
    type: 'counter',
    help: 'Samples, of otlp-traces spans, that were not delivered: given up because the spool was full or the disk failed (spool), or refused by the receiver.',
    labels: ['exporter', 'reason'],
    unit: '1',
  },
  pushSpool: {
    name: 'sipfleet_push_spool_bytes',
    type: 'gauge',
    help: 'Bytes of metrics or spans that wait on disk for a receiver that does not answer.',
    labels: ['exporter'],
    unit: 'bytes',
  },
  pushLastTaken: {
    name: 'sipfleet_push_last_taken_timestamp_seconds',
    type: 'gauge',
    help: 'When a receiver last took what was pushed, Unix time. Absent before the first time.',
    labels: ['exporter'],
    unit: 'seconds',
  },
  hepSent: {
    name: 'sipfleet_hep_messages_sent_total',
    type: 'counter',
    help: 'SIP messages handed to the network on their way to the HEP server. 0 where there is none.',
    labels: [],
    unit: '1',
  },
  hepLost: {
    name: 'sipfleet_hep_messages_lost_total',
    type: 'counter',
    help: 'SIP messages that the HEP server does not have: overwritten on the tape before they could be sent, too long for HEP, send_failed (the network refused them), or busy (a probe, while nothing could be sent).',
    labels: ['reason'],
    unit: '1',
  },
  hepOpen: {
    name: 'sipfleet_hep_connected',
    type: 'gauge',
    help: '1 while there is a way to the HEP server: a connection, or with UDP nothing that speaks against one. Absent where there is none.',
    labels: [],
    unit: '1',
  },
  spans: {
    name: 'sipfleet_trace_spans_total',
    type: 'counter',
    help: 'Spans of kept calls and checks that were handed to the exporter. 0 where no traces are pushed.',
    labels: [],
    unit: '1',
  },
  spansDropped: {
    name: 'sipfleet_trace_spans_dropped_total',
    type: 'counter',
    help: 'Spans that were left out, whole traces at a time: over the budget of spans per second (budget), or because too many waited (queue).',
    labels: ['reason'],
    unit: '1',
  },
} as const satisfies Record<string, MetricEntry>;
