import { mkdirSync } from 'node:fs';
import { type Bed, blast, idle, type Run } from './load.ts';
import type { Address, Peer } from './peers.ts';
import { type Running, start } from './processes.ts';
import { highestRate } from './search.ts';
import { type Forwarded, validate } from './validate.ts';

/** Requests lost at the highest rate, at most. */
const MAX_LOSS = 0.001;
/** A run that lost more than this failed for good; below, one hiccup of the machine may have been the cause. */
const HOPELESS_LOSS = 0.02;
/** Pairs, and calls, per second at which CPU is compared. */
export const FIXED_RATES = { pairs: [10_000, 20_000, 30_000], calls: [1000, 3000, 10_000] } as const;

/** Before the first run: programs that are compiled while they run are what they will be for days only after some seconds. The same for every peer. */
const WARM_UP = { pairs: 4000, calls: 1000, seconds: 3 } as const;

/** How long and how fine to measure. */
export interface Effort {
  probeSeconds: number;
  fixedSeconds: number;
  confirmSeconds: number;
  tolerance: number;
}
export const THOROUGH: Effort = { probeSeconds: 2, fixedSeconds: 3, confirmSeconds: 5, tolerance: 0.03 };
export const QUICK: Effort = { probeSeconds: 1, fixedSeconds: 1, confirmSeconds: 2, tolerance: 0.1 };

/** Latency through a proxy, without one at the same rate, and the difference of the quantiles; µs. */
export interface Latency {
  rate: number;
  through: { p50: number; p99: number };
  direct: { p50: number; p99: number };
  added: { p50: number; p99: number };
}

export interface Result {
  peer: string;
  title: string;
  version: string;
  configuration: string;
  /** Highest pairs, or calls, per second at < 0.1 % loss. */
  max: number;
  /** What stopped it there: the proxy, or a load that could do no more. */
  limit: 'proxy' | 'load';
  /** CPU µs per pair, or call, at {@link FIXED_RATES}; null where it lost more than 0.1 %. */
  cpuMicros: (number | null)[];
  /** Null where no rate passed. */
  halfLoad: Latency | null;
  addedBytes: number;
  runs: Run[];
}

export const good = (run: Pick<Run, 'loss' | 'paced'>): boolean => run.loss < MAX_LOSS && run.paced;

/** Repeats a near miss once, for every peer alike: one hiccup of a virtual machine in 2 s is more than 0.1 %. */
export async function secondChance<R extends Pick<Run, 'loss' | 'paced'>>(load: () => Promise<R>): Promise<R> {
  const run = await load();
  return good(run) || run.loss > HOPELESS_LOSS ? run : load();
}

/** The load alone, and how many pairs per second generator and sinks can do at all. */
export interface Baseline {
  max: number;
  runs: Run[];
}

/** Measures the load alone: generator straight to the sinks. */
export async function measureBaseline(bed: Bed, effort: Effort): Promise<Baseline> {
  const runs: Run[] = [];
  const load = async (rate: number) => {
    const run = await blast(bed, bed.sinks, rate, effort.probeSeconds);
    runs.push(run);
    return run;
  };
  const max = await highestRate(async (rate) => good(await secondChance(() => load(rate))), 60_000, Infinity, 0.05);
  return { max, runs };
}

/** Starts a peer, sees that it forwards rightly, measures it, stops it. */
export async function measure(
  bed: Bed,
  baseline: Baseline,
  effort: Effort,
  peer: Peer,
  command: string[],
  proxy: Address,
  directory: string,
): Promise<Result> {
  const begin = async () => {
    const process = start([bed.cores.proxy], command, directory);
    const forwarded = await Promise.race([validate(proxy, bed.client, peer.proxies), process.failed]);
    await blast(bed, [proxy], bed.calls ? WARM_UP.calls : WARM_UP.pairs, WARM_UP.seconds);
    return { process, forwarded };
  };
  let running: { process: Running } | undefined;
  try {
    const { process, forwarded } = await begin();
    running = { process };
    const afresh = async () => {
      await running?.process.stop();
      running = await begin();
      return running.process;
    };
    return await new Measurement(bed, baseline, effort, process, proxy, afresh).result(peer, forwarded);
  } catch (cause) {
    throw new Error(`${peer.title}: ${(cause as Error).message}`, { cause });
  } finally {
    await running?.process.stop();
  }
}

/** An empty directory for one peer. */
export function directoryOf(parent: string, peer: Peer, section: string): string {
  const directory = `${parent}/${peer.name}-${section}`;
  mkdirSync(directory);
  return directory;
}

class Measurement {
  readonly #bed: Bed;
  readonly #baseline: Baseline;
  readonly #effort: Effort;
  #process: Running;
  readonly #proxy: Address;
  /** Stops the proxy and starts another one. */
  readonly #afresh: () => Promise<Running>;
  readonly #runs: Run[] = [];

  constructor(
    bed: Bed,
    baseline: Baseline,
    effort: Effort,
    process: Running,
    proxy: Address,
    afresh: () => Promise<Running>,
  ) {
    this.#bed = bed;
    this.#baseline = baseline;
    this.#effort = effort;
    this.#process = process;
    this.#afresh = afresh;
    this.#proxy = proxy;
  }

  async result(peer: Peer, forwarded: Forwarded): Promise<Result> {
    const rates = FIXED_RATES[this.#bed.calls ? 'calls' : 'pairs'];
    for (const rate of rates) await this.#load(rate, 2); // warms compilers and caches; not counted
    await idle(this.#process);
    this.#runs.length = 0;
    const fixed: Run[] = [];
    for (const rate of rates) fixed.push(await secondChance(() => this.#load(rate, this.#effort.fixedSeconds)));
    // Kamailio's tm never gets well again after more than it can take; whoever had that starts anew before the search.
    if (!fixed.every(good)) {
      this.#process = await this.#afresh();
      await this.#load(rates[0], 2);
      this.#runs.pop();
    }
    const max = await this.#highest(rates[0], fixed);
    return {
      peer: peer.name,
      title: peer.title,
      version: peer.version() ?? '',
      configuration: peer.configuration,
      max,
      limit: this.#limit(max),
      cpuMicros: fixed.map((run) => (good(run) ? (run.cpuMicros ?? null) : null)),
      halfLoad: max > 0 ? await this.#latency(Math.round(max / 200) * 100) : null,
      addedBytes: forwarded.addedBytes,
      runs: this.#runs,
    };
  }

  async #load(rate: number, seconds: number): Promise<Run> {
    const run = await blast(this.#bed, [this.#proxy], rate, seconds, this.#process);
    this.#runs.push(run);
    if (!good(run)) await idle(this.#process);
    return run;
  }

  async #passes(rate: number, seconds: number): Promise<boolean> {
    return good(await secondChance(() => this.#load(rate, seconds)));
  }

  /** Short probes find the rate, a longer run has to confirm it; a refusal lowers it by 3 %, from the fifth on by 10 %. */
  async #highest(lowest: number, fixed: Run[]): Promise<number> {
    const passed = fixed.filter(good).map((run) => run.rate);
    const failed = fixed.filter((run) => !good(run)).map((run) => run.rate);
    const { probeSeconds, confirmSeconds, tolerance } = this.#effort;
    const low = Math.max(lowest, ...passed);
    const high = Math.min(Infinity, ...failed.filter((rate) => rate > low));
    let rate = await highestRate((r) => this.#passes(r, probeSeconds), low, high, tolerance);
    for (let refusals = 0; refusals < 16 && rate > 0; refusals++) {
      if (await this.#passes(rate, confirmSeconds)) return rate;
      rate = Math.floor((rate * (refusals < 4 ? 0.97 : 0.9)) / 100) * 100;
    }
    return 0;
  }

  /** The load's, where the lowest failed run above `max` lost datagrams or its pace there, or where the load alone gets hardly further. */
  #limit(max: number): 'proxy' | 'load' {
    if (max > this.#baseline.max * 0.95) return 'load';
    const failed = this.#runs.filter((run) => !good(run) && run.rate > max).sort((a, b) => a.rate - b.rate)[0];
    return failed && (!failed.paced || failed.loadDrops > failed.sent * MAX_LOSS) ? 'load' : 'proxy';
  }

  async #latency(rate: number): Promise<Latency> {
    const seconds = this.#effort.fixedSeconds;
    const direct = await blast(this.#bed, this.#bed.sinks, rate, seconds);
    const through = await this.#load(rate, seconds);
    return {
      rate,
      through: { p50: through.p50, p99: through.p99 },
      direct: { p50: direct.p50, p99: direct.p99 },
      added: { p50: through.p50 - direct.p50, p99: through.p99 - direct.p99 },
    };
  }
}
