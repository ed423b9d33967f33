import type { Address } from './peers.ts';
import { text } from './peers.ts';
import { type Cores, coreBusySeconds, cpuSeconds, type Running, run, socketDrops } from './processes.ts';

/** What blast prints, see blast.c. Latencies in µs. */
interface Counted {
  sent: number;
  seconds: number;
  replies: number;
  provisional: number;
  duplicate: number;
  wrong: number;
  /** Requests that got a 2xx; of whole calls, those that were established. */
  answered: number;
  refused: number;
  dropped: number;
  p50: number;
  p99: number;
  max: number;
}

/** One run of the load generator. */
export interface Run extends Counted {
  rate: number;
  /** Share of the requests that got no right reply in time. */
  loss: number;
  /** CPU µs of the proxy for request and reply together; undefined without a proxy or without replies. */
  cpuMicros: number | undefined;
  /** Share of the proxy's core that others used meanwhile: a measure of how quiet the machine was. */
  disturbance: number;
  /** Datagrams that the generator or the sinks were too slow to take, and whether the generator kept its pace: the load's faults, not the proxy's. */
  loadDrops: number;
  paced: boolean;
}

/** Everything a run needs besides its rate. */
export interface Bed {
  blast: string;
  cores: Cores;
  client: Address;
  sinks: Address[];
  mix: string;
  /** Whole calls (INVITE, ACK, BYE) instead of requests of the mix. */
  calls?: boolean;
}

/** Sends `rate` requests/s for some seconds to `targets`, and accounts `proxy` for them. */
export async function blast(
  bed: Bed,
  targets: Address[],
  rate: number,
  seconds: number,
  proxy?: Running,
): Promise<Run> {
  const drops = () => bed.sinks.reduce((sum, sink) => sum + socketDrops(sink.address, sink.port), 0);
  const before = { drops: drops(), cpu: proxy ? cpuSeconds(proxy.pid) : 0, busy: coreBusySeconds(bed.cores.proxy) };
  const started = performance.now();
  const command = [bed.blast, '--from', text(bed.client), ...targets.flatMap((to) => ['--to', text(to)])];
  const what = bed.calls ? ['--calls'] : ['--mix', bed.mix];
  const options = ['--rate', String(rate), '--seconds', String(seconds), ...what];
  const work = run(bed.cores.load, [...command, ...options]);
  const output = await (proxy ? Promise.race([work, proxy.failed]) : work);
  const wall = (performance.now() - started) / 1000;
  const cpu = proxy ? cpuSeconds(proxy.pid) - before.cpu : 0;
  const busy = coreBusySeconds(bed.cores.proxy) - before.busy;
  const counted = JSON.parse(output) as Counted;
  return {
    ...counted,
    rate,
    loss: 1 - counted.replies / counted.sent,
    cpuMicros: proxy && counted.replies > 0 ? (cpu / counted.replies) * 1e6 : undefined,
    disturbance: Math.max(0, busy - cpu) / wall,
    loadDrops: counted.dropped + drops() - before.drops,
    paced: counted.sent / counted.seconds > rate * 0.98,
  };
}

/** What a proxy that refuses new work in overload needs to be sure that it is over; every peer gets it. */
const RECOVERY_MS = 4000;

/** Resolves once a proxy has worked off what an overload left behind (Kamailio's tm goes on resending), at the latest after 12 s. */
export async function idle(proxy: Running): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, RECOVERY_MS));
  for (let i = 0; i < 40; i++) {
    const before = cpuSeconds(proxy.pid);
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (cpuSeconds(proxy.pid) - before <= 0.01) return;
  }
}
