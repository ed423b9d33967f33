import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { DRIFTS, driftOf } from '../domain/drift.ts';
import type { AgentRecord } from '../domain/identity.ts';
import { CATALOGUE, type MetricEntry } from './catalogue.ts';

/** What is asked at every scrape. */
export interface FleetSource {
  revision(): Promise<number>;
  /** Every agent, in pages. */
  agents(): AsyncIterable<AgentRecord>;
  /** What the agents of a site should run; during a rollout, those that it has moved. */
  target(site: string): Promise<{ generation: number }>;
  /** What each of these should run, in their order. */
  wanted(agents: readonly AgentRecord[]): Promise<{ etag: string }[]>;
  connected(agent: AgentRecord): boolean | Promise<boolean>;
  pendingHints(): Promise<number>;
}

interface Fleet {
  agents: (AgentRecord & { connected: boolean })[];
  /** By site. */
  targets: Map<string, { generation: number }>;
  /** In the order of `agents`. */
  wanted: { etag: string }[];
}

const REASONS = DRIFTS.filter((drift) => drift !== 'none');

type MetricKey = keyof typeof CATALOGUE;

/** The control plane's metrics: requests as they are answered, the fleet as it is at each scrape. */
export class ControlPlaneMetrics {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #registry = new Registry();
  readonly #source: FleetSource;

  constructor(source: FleetSource, version: string) {
    this.#source = source;
    for (const entry of Object.values<MetricEntry>(CATALOGUE)) this.#register(entry);
    collectDefaultMetrics({ register: this.#registry });
    this.#gauge('buildInfo').set({ version, node: process.version }, 1);
  }

  /** `route` as it is declared, `/v1/farms/{name}`. */
  answered(request: { method: string; route: string; code: number; ms: number }): void {
    const { method, route, code, ms } = request;
    this.#metric<Counter>('requests').inc({ method, route, code: String(code) });
    this.#metric<Histogram>('requestDuration').observe({ method, route }, ms / 1000);
  }

  /** Over a push connection. */
  exchanged({ type, code, ms }: { type: string; code: number; ms: number }): void {
    this.#metric<Counter>('exchanges').inc({ type, code: String(code) });
    this.#metric<Histogram>('exchangeDuration').observe({ type }, ms / 1000);
  }

  /** The text that a scrape is answered with. Rejects where the store does. */
  async render(): Promise<string> {
    const [revision, pending, fleet] = await Promise.all([
      this.#source.revision(),
      this.#source.pendingHints(),
      this.#readFleet(),
    ]);
    // Nothing is awaited from here until the values are taken: scrapes at the same time do not mix.
    this.#gauge('revision').set(revision);
    this.#gauge('pendingHints').set(pending);
    this.#showFleet(fleet);
    return this.#registry.metrics();
  }

  async #readFleet(): Promise<Fleet> {
    const agents: Fleet['agents'] = [];
    for await (const agent of this.#source.agents())
      agents.push({ ...agent, connected: await this.#source.connected(agent) });
    const targets: Fleet['targets'] = new Map();
    for (const site of new Set(agents.map((agent) => agent.site))) targets.set(site, await this.#source.target(site));
    return { agents, targets, wanted: await this.#source.wanted(agents) };
  }

  #showFleet({ agents, targets, wanted }: Fleet): void {
    for (const key of [
      'targetGeneration',
      'agentConnected',
      'agentCurrent',
      'agentRefuses',
      'agentsDrifting',
      'agentLastReport',
    ] as const)
      this.#gauge(key).reset();
    for (const [site, { generation }] of targets) {
      this.#gauge('targetGeneration').set({ site }, generation);
      // Zeros too: an alert on a reason ends when it is nobody's.
      for (const reason of REASONS) this.#gauge('agentsDrifting').set({ site, reason }, 0);
    }
    for (const [i, agent] of agents.entries()) {
      const { connected, name, site, report, lastReportAt } = agent;
      const labels = { site, agent: name };
      const { etag } = wanted[i] as { etag: string };
      const snapshot = report?.snapshot;
      this.#gauge('agentConnected').set(labels, Number(connected));
      this.#gauge('agentCurrent').set(labels, Number(snapshot?.running === etag));
      this.#gauge('agentRefuses').set(labels, Number(snapshot?.status === 'FAILED' && snapshot.etag === etag));
      const reason = driftOf(agent, { etag }, Date.now());
      if (reason !== 'none') this.#gauge('agentsDrifting').inc({ site, reason });
      if (lastReportAt !== null) this.#gauge('agentLastReport').set(labels, Date.parse(lastReportAt) / 1000);
    }
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
  #gauge(key: MetricKey): Gauge {
    return this.#metric<Gauge>(key);
  }
}
