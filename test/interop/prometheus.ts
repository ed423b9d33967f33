import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { Process, started } from '../netns/process.ts';

const RULES = join(import.meta.dirname, '../../dashboards/rules');

export interface PrometheusOptions {
  /** Of `scrape_configs`; targets are told to each by {@link Prometheus.watch}. */
  jobs?: readonly { name: string; more?: object }[];
  /** Further parts of its configuration, such as `storage`. */
  config?: object;
  /** Further arguments. */
  args?: readonly string[];
}

/** A series over time: seconds and values as Prometheus writes them. */
export interface RangeSeries {
  metric: Record<string, string>;
  values: [number, string][];
}

/** A real Prometheus with the committed rules, its own files in a directory of its own. Takes remote write. */
export class Prometheus {
  readonly #directory: string;
  readonly #args: readonly string[];
  #process: Process | undefined;
  #listen = '127.0.0.1:0';

  private constructor(directory: string, args: readonly string[]) {
    this.#directory = directory;
    this.#args = args;
  }

  /** Resolves once it serves. Rules and scrapes run each second: theirs are made for years, not for a test. */
  static async start({ jobs = [{ name: 'agent' }], config, args = [] }: PrometheusOptions = {}): Promise<Prometheus> {
    const directory = await mkdtemp(join(tmpdir(), 'sipfleet-prometheus-'));
    await copyRules(join(directory, 'rules'));
    await writeFile(
      join(directory, 'prometheus.yaml'),
      stringify({
        global: { scrape_interval: '1s', evaluation_interval: '1s' },
        rule_files: ['rules/*.yaml'],
        scrape_configs: jobs.map(({ name, more }) => ({
          job_name: name,
          file_sd_configs: [{ files: [`${name}.json`], refresh_interval: '1s' }],
          ...more,
        })),
        ...config,
      }),
    );
    const prometheus = new Prometheus(directory, args);
    return started(prometheus, prometheus.resume());
  }

  get url(): string {
    return `http://${this.#listen}`;
  }

  /** Starts it again after {@link stop}, on the same port and with what it has stored. */
  async resume(): Promise<void> {
    this.#process = new Process('prometheus', [
      ...['--config.file', join(this.#directory, 'prometheus.yaml'), '--storage.tsdb.path', this.#path('tsdb')],
      ...['--web.listen-address', this.#listen, '--web.enable-remote-write-receiver', ...this.#args],
    ]);
    this.#listen = (await this.#process.sees(/msg="Listening on" address=(\S+)/))[1] as string;
    await this.#process.sees(/Server is ready to receive web requests/);
  }

  async stop(): Promise<void> {
    await this.#process?.end('SIGTERM', 20_000);
  }

  /** Has a job scrape these and nothing else, within a second or so. */
  watch(job: string, ...targets: string[]): Promise<void> {
    return writeFile(this.#path(`${job}.json`), JSON.stringify([{ targets }]));
  }

  /** A document of its API, below `/api/v1/`; throws what it says where it refuses. */
  async get<T>(path: string, parameters: Record<string, string> = {}): Promise<T> {
    const response = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const body = (await response.json()) as { status: string; error?: string; data: T };
    if (body.status !== 'success') throw new Error(`${JSON.stringify(parameters)}: ${body.error}`);
    return body.data;
  }

  /** Series that a query finds at any second of the last minutes. */
  async series(query: string): Promise<RangeSeries[]> {
    const now = Date.now() / 1000;
    const range = { query, start: String(now - 240), end: String(now), step: '1' };
    return (await this.get<{ result: RangeSeries[] }>('query_range', range)).result;
  }

  /** What a query gives now. */
  async now(query: string): Promise<{ metric: Record<string, string>; value: number }[]> {
    const { result } = await this.get<{ result: { metric: Record<string, string>; value: [number, string] }[] }>(
      'query',
      { query },
    );
    return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  /** Exemplars of the last minutes; needs `--enable-feature=exemplar-storage`. */
  async exemplars(query: string): Promise<{ labels: Record<string, string>; value: string }[]> {
    const now = Date.now() / 1000;
    const range = { query, start: String(now - 240), end: String(now + 1) };
    const series = await this.get<{ exemplars: { labels: Record<string, string>; value: string }[] }[]>(
      'query_exemplars',
      range,
    );
    return series.flatMap(({ exemplars }) => exemplars);
  }

  /** Every sample of the last minutes, as stored: seconds and value. */
  async stored(selector: string): Promise<{ at: number; value: number }[]> {
    const query = { query: `${selector}[10m]` };
    const { result } = await this.get<{ result: RangeSeries[] }>('query', query);
    return result.flatMap(({ values }) => values.map(([at, value]) => ({ at, value: Number(value) })));
  }

  /** Ends it and takes its files away. Safe to call twice. */
  async close(): Promise<void> {
    await this.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }
}

async function copyRules(to: string): Promise<void> {
  await mkdir(to);
  for (const name of await readdir(RULES)) {
    const text = await readFile(join(RULES, name), 'utf8');
    await writeFile(join(to, name), text.replaceAll(/\b(interval|for): \S+/g, '$1: 1s'));
  }
}
