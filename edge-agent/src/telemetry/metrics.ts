import { setImmediate as pause } from 'node:timers/promises';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { withinBudget } from './budgets.ts';
import { fillCalls } from './call-metrics.ts';
import type { FarmCalls } from './calls/farms.ts';
import { CATALOGUE, type MetricEntry } from './catalogue.ts';
import { DelayMetric } from './delay-metric.ts';
import { fillHep, fillPushes, fillTraces } from './delivery-metrics.ts';
import { type Exposition, expositionOf } from './exposition.ts';
import type { HepView } from './hep/hep.ts';
import type { ExporterView } from './push/exporter.ts';
import { type Family, familyOf, type GatheredMetric } from './push/family.ts';
import { DROP_REASONS, type LISTENER_FIELDS, LOCAL_STATUSES, METHODS, REFUSALS, WORK, WORKER_STATES } from './slab.ts';
import type { Totals } from './totals.ts';

/** Where the values come from that are asked for at every scrape. */
export interface MetricsSource {
  totals(): Totals;
  backends(): readonly { farm: string; backend: string; state: string }[];
  workers(): { running: number; restarts: number };
  /** `at` in milliseconds since the epoch. */
  snapshot(): { applied?: { generation: number; at: number }; target?: number; failures: number };
  /** Backends about which the agents of this site disagree. */
  disagreements(): readonly { farm: string; backend: string; down: number }[];
  /** What traffic told against backends. */
  signals(): readonly { farm: string; backend: string; signal: string; count: number }[];
  /** Undefined where there is no control plane. */
  link(): { connected: boolean; reconnects: number; disk: { failures: number; unsaved: boolean } } | undefined;
  calls(): { farms: readonly FarmCalls[]; eventsLost: number };
  /** None where nothing is pushed. */
  pushes(): readonly ExporterView[];
  /** Undefined where nothing is sent to a HEP server. */
  hep(): HepView | undefined;
  /** Undefined where no traces are pushed. */
  traces(): { sent: number; dropped: Readonly<Record<string, number>> } | undefined;
}

/** A health check's probe, with the phases that it went through. */
export interface FinishedProbe {
  farm: string;
  backend: string;
  check: string;
  result: string;
  seconds: number;
  /** Of a failure: where it was decided. */
  phase?: string | undefined;
  phases?: Readonly<Record<string, { ok: boolean; ms: number }>> | undefined;
}

export interface Build {
  version: string;
  node: string;
  datapath: string;
}

/** Labels on every series, so that scraped, pushed and written metrics of a fleet look alike. */
export interface Identity {
  agent: string;
  /** Undefined where there is no control plane. */
  site: string | undefined;
}

type Labels = Record<string, string>;
type MetricKey = keyof typeof CATALOGUE;
type ListenerField = (typeof LISTENER_FIELDS)[number];
const MESSAGE_METRICS: readonly [MetricKey, ListenerField][] = [
  ['messagesReceived', 'received'],
  ['messagesSent', 'sent'],
  ['receivedBytes', 'receivedBytes'],
  ['sentBytes', 'sentBytes'],
  ['largeMessagesSent', 'sentLarge'],
];
const CONNECTION_METRICS: readonly [MetricKey, ListenerField][] = [
  ['connections', 'connections'],
  ['connectionsAccepted', 'accepted'],
  ['connectionsRefused', 'refused'],
  ['handshakesFailed', 'handshakeFailed'],
  ['connectionsExpired', 'expired'],
];
const STATES = ['unknown', 'up', 'down'] as const;
const UNITS = new Map<string, MetricEntry['unit']>(Object.values(CATALOGUE).map(({ name, unit }) => [name, unit]));

/** By the labels as text. */
type Counts = Map<string, { labels: Labels; count: number }>;

function countOne(counts: Counts, labels: Labels): void {
  entryOf(counts, labels).count++;
}

/** With a count of 0 where it is new. */
function entryOf(counts: Counts, labels: Labels): { count: number } {
  const key = Object.values(labels).join('/');
  const entry = counts.get(key) ?? { labels, count: 0 };
  counts.set(key, entry);
  return entry;
}

const phasesOf = ({ phases = {} }: FinishedProbe): string[] => {
  const names = Object.keys(phases);
  return names.length > 0 ? names : ['probe'];
};

const labelsOf = (identity: Identity | undefined): Labels =>
  identity ? { agent: identity.agent, ...(identity.site === undefined ? {} : { site: identity.site }) } : {};

/**
 * The agent's metrics. All that can be read is read when somebody scrapes, in one pass, so the packet path and the
 * control thread do nothing for metrics in between; only health check results are handed in as they happen.
 */
export class AgentMetrics {
  readonly #registry = new Registry();
  readonly #source: MetricsSource;
  readonly #build: Build;
  readonly #identity: Labels;
  readonly #checks: Counts = new Map();
  readonly #checkFailures: Counts = new Map();
  readonly #expose: (accept: string) => Promise<Exposition>;

  constructor(source: MetricsSource, build: Build, identity?: Identity) {
    this.#source = source;
    this.#build = build;
    this.#identity = labelsOf(identity);
    this.#registry.setDefaultLabels(this.#identity);
    const delays = DelayMetric.all(() => source.calls().farms);
    // prom-client's type leaves out that a registry asks of a metric no more than its name and `get`.
    for (const metric of delays) this.#registry.registerMetric(metric as unknown as Gauge);
    const own = new Set(delays.map(({ name }) => name));
    for (const entry of Object.values<MetricEntry>(CATALOGUE)) if (!own.has(entry.name)) this.#register(entry);
    collectDefaultMetrics({ register: this.#registry });
    this.#expose = expositionOf(this.#registry, this.#identity);
  }

  /** Counts one finished probe. */
  probed(probe: FinishedProbe): void {
    const { farm, backend, check, result, seconds, phase = 'probe', phases = {} } = probe;
    countOne(this.#checks, { farm, backend, check, result });
    if (result === 'failure') countOne(this.#checkFailures, { farm, backend, check, phase });
    // A series that is born with its first failure shows no increase (PromQL): what went well stands at 0 from then on.
    else for (const went of phasesOf(probe)) entryOf(this.#checkFailures, { farm, backend, check, phase: went });
    this.#metric<Histogram>('checkDuration').observe({ farm, check }, seconds);
    for (const [name, { ok, ms }] of Object.entries(phases)) {
      this.#metric<Counter>('checkPhases').inc({ farm, check, phase: name, result: ok ? 'success' : 'failure' });
      this.#metric<Histogram>('checkPhaseDuration').observe({ farm, check, phase: name }, ms / 1000);
    }
  }

  /** What a scrape is answered with; OpenMetrics, with exemplars, for who accepts it. */
  render(accept = ''): Promise<Exposition> {
    for (const collect of this.#collectors()) collect();
    return this.#expose(accept);
  }

  /**
   * The same for a push, which has time: health checks and the link get their turn between any two metrics. A scrape in between
   * fills the metrics anew, which does no harm: each is read in one go.
   */
  async *families(): AsyncGenerator<Family> {
    for (const collect of this.#collectors()) {
      collect();
      await pause();
    }
    // prom-client's types leave out that every metric has `get`.
    for (const metric of this.#registry.getMetricsAsArray() as unknown as { get(): Promise<GatheredMetric> }[]) {
      const family = familyOf(await metric.get(), UNITS, this.#identity);
      if (family) yield family;
      await pause();
    }
  }

  /** What fills the metrics, in pieces. */
  #collectors(): (() => void)[] {
    const totals = this.#source.totals();
    const backends = this.#source.backends();
    return [
      () => this.#collectListeners(totals),
      () => this.#collectBackends(totals),
      () => this.#collectCalls(),
      () => this.#collectStates(backends),
      () => this.#collectChecks(backends),
      () => this.#collectDisagreements(),
      () => this.#collectSignals(),
      () => this.#collectAgent(totals),
      () => this.#collectDelivery(),
    ];
  }

  #register(entry: MetricEntry): void {
    const config = { name: entry.name, help: entry.help, labelNames: [...entry.labels], registers: [this.#registry] };
    if (entry.type === 'counter') new Counter(config);
    else if (entry.type === 'gauge') new Gauge(config);
    else new Histogram({ ...config, buckets: [...(entry.buckets ?? [])] });
  }

  #metric<T>(key: MetricKey): T {
    return this.#registry.getSingleMetric(CATALOGUE[key].name) as T;
  }

  /**
   * Metrics hold what was counted elsewhere: prom-client's Counter has no `set`, so they are emptied and filled with
   * the absolute values. Nothing is awaited in between, so no scrape sees it empty.
   */
  #fill(key: MetricKey, series: Iterable<[Labels, number]>): void {
    const metric = this.#metric<Counter>(key);
    metric.reset();
    const { budget }: MetricEntry = CATALOGUE[key];
    const told = budget?.backend === undefined ? series : withinBudget(series, budget.backend);
    for (const [labels, value] of told) metric.inc(labels, value);
  }

  /** A gauge without labels; undefined is absent, never 0. */
  #set(key: MetricKey, value: number | undefined): void {
    const gauge = this.#metric<Gauge>(key);
    if (value === undefined) gauge.remove();
    else gauge.set(value);
  }

  #collectListeners({ listeners }: Totals): void {
    type Listener = (typeof listeners)[number];
    const fill = (key: MetricKey, of: Listener[], value: (l: Listener) => number) =>
      this.#fill(
        key,
        of.map((l) => [{ farm: l.farm, listener: l.listener, transport: l.transport }, value(l)]),
      );
    for (const [key, field] of MESSAGE_METRICS) fill(key, listeners, (l) => l[field]);
    // Datagrams have no connections.
    const streams = listeners.filter((l) => l.transport !== 'udp');
    for (const [key, field] of CONNECTION_METRICS) fill(key, streams, (l) => l[field]);
    const certified = listeners.filter((l) => l.certificateExpires !== undefined);
    fill('certificateExpiry', certified, (l) => l.certificateExpires as number);
  }

  #collectBackends({ backends }: Totals): void {
    // Of 15 methods a backend sees five or so: only those get a series. Classes are few and alerts wait for their first 5xx.
    const byMethod = (key: 'requestsTo' | 'requestsFrom') =>
      backends.flatMap((b) =>
        METHODS.map((method, i): [Labels, number] => [
          { farm: b.farm, backend: b.backend, method },
          b[key][i] as number,
        ]).filter(([, count]) => count > 0),
      );
    this.#fill('backendRequestsSent', byMethod('requestsTo'));
    this.#collectTransactions(backends);
    this.#fill('backendRequestsReceived', byMethod('requestsFrom'));
    this.#fill(
      'backendResponses',
      backends.flatMap((b) =>
        [...b.responses].map((count, i): [Labels, number] => [
          { farm: b.farm, backend: b.backend, code_class: `${i + 1}xx` },
          count,
        ]),
      ),
    );
  }

  #collectTransactions(backends: Totals['backends']): void {
    const each = (count: (b: Totals['backends'][number]) => number) =>
      backends.map((b): [Labels, number] => [{ farm: b.farm, backend: b.backend }, count(b)]);
    this.#fill(
      'retransmissions',
      each((b) => b.retransmissions),
    );
    this.#fill(
      'failovers',
      each((b) => b.failovers),
    );
    this.#fill(
      'soughtElsewhere',
      each((b) => b.sought),
    );
    this.#fill(
      'largeRequests',
      backends.flatMap(({ farm, backend, largeByTcp, largeByUdp }) =>
        (
          [
            ['tcp', largeByTcp],
            ['udp', largeByUdp],
          ] as const
        )
          .filter(([, count]) => count > 0)
          .map(([transport, count]): [Labels, number] => [{ farm, backend, transport }, count]),
      ),
    );
  }

  #collectCalls(): void {
    const { farms, eventsLost } = this.#source.calls();
    fillCalls(farms, (key, series) => this.#fill(key, series));
    this.#fill('eventsLost', [[{}, eventsLost]]);
  }

  #collectStates(backends: ReturnType<MetricsSource['backends']>): void {
    const gauge = this.#metric<Gauge>('backendState');
    gauge.reset();
    for (const { farm, backend, state } of backends)
      for (const s of STATES) gauge.set({ farm, backend, state: s }, s === state ? 1 : 0);
  }

  #collectDisagreements(): void {
    const gauge = this.#metric<Gauge>('backendDisagreement');
    gauge.reset();
    for (const { farm, backend, down } of this.#source.disagreements()) gauge.set({ farm, backend }, down);
  }

  #collectSignals(): void {
    this.#fill(
      'backendSignals',
      this.#source.signals().map(({ farm, backend, signal, count }) => [{ farm, backend, signal }, count]),
    );
  }

  #collectChecks(backends: ReturnType<MetricsSource['backends']>): void {
    const watched = new Set(backends.map((b) => `${b.farm}/${b.backend}`));
    for (const [key, counts] of [
      ['checkResults', this.#checks],
      ['checkFailures', this.#checkFailures],
    ] as const) {
      for (const [series, { labels }] of counts)
        if (!watched.has(`${labels.farm}/${labels.backend}`)) counts.delete(series);
      this.#fill(
        key,
        [...counts.values()].map(({ labels, count }) => [labels, count]),
      );
    }
  }

  #collectDelivery(): void {
    const fill = (key: MetricKey, series: Iterable<[Labels, number]>) => this.#fill(key, series);
    const { pushes, hep, traces } = this.#source;
    fillPushes(pushes(), fill);
    const view = hep();
    fillHep(view, fill);
    this.#set('hepOpen', view && Number(view.open));
    fillTraces(traces(), fill);
  }

  #collectAgent({ drops, local, refused, work, states }: Totals): void {
    this.#fill(
      'dropped',
      DROP_REASONS.map((reason, i) => [{ reason }, drops[i] as number]),
    );
    this.#fill(
      'localResponses',
      LOCAL_STATUSES.map((code, i) => [{ code: String(code) }, local[i] as number]),
    );
    this.#fill(
      'refused',
      REFUSALS.map((reason, i) => [{ reason }, refused[i] as number]),
    );
    for (const [i, key] of WORK.entries()) this.#fill(key, [[{}, work[i] as number]]);
    for (const [i, key] of WORKER_STATES.entries()) this.#set(key, states[i]);
    const { running, restarts } = this.#source.workers();
    this.#set('workers', running);
    this.#fill('workerRestarts', [[{}, restarts]]);
    const { applied, target, failures } = this.#source.snapshot();
    this.#set('snapshotApplied', applied?.generation);
    this.#set('snapshotAppliedAt', applied && applied.at / 1000);
    this.#set('snapshotTarget', target);
    this.#fill('snapshotFailures', [[{}, failures]]);
    const link = this.#source.link();
    this.#set('linkConnected', link && Number(link.connected));
    this.#fill('linkReconnects', [[{}, link?.reconnects ?? 0]]);
    this.#set('snapshotUnsaved', link && Number(link.disk.unsaved));
    this.#fill('snapshotSaveFailures', [[{}, link?.disk.failures ?? 0]]);
    this.#metric<Gauge>('buildInfo').set({ ...this.#build }, 1);
  }
}
