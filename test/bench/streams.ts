import { type Bed, idle } from './load.ts';
import { type Effort, good, secondChance } from './measure.ts';
import type { Address, Peer } from './peers.ts';
import { text } from './peers.ts';
import { coreBusySeconds, cpuSeconds, type Running, run, start } from './processes.ts';
import { highestRate } from './search.ts';
import { validate } from './validate.ts';

/** Messages go over as many connections, in turn. */
const CONNECTIONS = 200;
/** Where the search for the highest rate begins, per second. */
const FIRST_RATE = { messages: 6000, connections: 1000 };

const LEAST_RATE = 200;

/** One run of stream-blast. */
export interface StreamRun {
  transport: 'tcp' | 'tls';
  what: 'messages' | 'connections';
  rate: number;
  sent: number;
  replies: number;
  loss: number;
  paced: boolean;
  p50: number;
  p99: number;
  /** CPU µs of the proxy for each answered request. */
  cpuMicros: number | undefined;
  disturbance: number;
}

/** The highest rates over streams; 0 where none passed. */
export interface StreamResult {
  peer: string;
  title: string;
  version: string;
  configuration: string;
  tcp: { messages: number; connections: number };
  tls: { messages: number; connections: number };
  runs: StreamRun[];
}

/** A bed for streams: where the proxy listens for them, and the load generator. */
export interface StreamBed {
  bed: Bed;
  program: string;
  tcp: Address;
  tls: Address;
}

/** Starts a peer with TCP and TLS listeners and looks for its highest rates of messages and of new connections. */
export async function measureStreams(
  streams: StreamBed,
  effort: Effort,
  peer: Peer,
  command: string[],
  proxy: Address,
  directory: string,
): Promise<StreamResult> {
  const process = start([streams.bed.cores.proxy], command, directory);
  const runs: StreamRun[] = [];
  try {
    await Promise.race([validate(proxy, streams.bed.client, peer.proxies), process.failed]);
    const highest = (transport: 'tcp' | 'tls', what: StreamRun['what']): Promise<number> =>
      highestRate(
        async (rate) => {
          const passed = good(
            await secondChance(async () => {
              const one = await load(streams, process, transport, what, rate, effort.probeSeconds);
              runs.push(one);
              return one;
            }),
          );
          if (!passed) await idle(process);
          return passed;
        },
        FIRST_RATE[what],
        Infinity,
        Math.max(effort.tolerance, 0.05),
        LEAST_RATE,
      );
    const both = async (transport: 'tcp' | 'tls') => {
      await load(streams, process, transport, 'messages', FIRST_RATE.messages, 2); // warms up; not counted
      return { messages: await highest(transport, 'messages'), connections: await highest(transport, 'connections') };
    };
    const { name, title, configuration } = peer;
    const [tcp, tls] = [await both('tcp'), await both('tls')];
    return { peer: name, title, version: peer.version() ?? '', configuration, tcp, tls, runs };
  } catch (cause) {
    throw new Error(`${peer.title}: ${(cause as Error).message}`, { cause });
  } finally {
    await process.stop();
  }
}

async function load(
  { bed, program, ...addresses }: StreamBed,
  proxy: Running,
  transport: 'tcp' | 'tls',
  what: StreamRun['what'],
  rate: number,
  seconds: number,
): Promise<StreamRun> {
  const connections = what === 'messages' ? CONNECTIONS : 0;
  const command = [program, '--to', text(addresses[transport]), ...(transport === 'tls' ? ['--tls'] : [])];
  const options = ['--connections', String(connections), '--rate', String(rate), '--seconds', String(seconds)];
  const before = { cpu: cpuSeconds(proxy.pid), busy: coreBusySeconds(bed.cores.proxy), at: performance.now() };
  const output = await Promise.race([run(bed.cores.load, [...command, ...options]), proxy.failed]);
  const wall = (performance.now() - before.at) / 1000;
  const cpu = cpuSeconds(proxy.pid) - before.cpu;
  const busy = coreBusySeconds(bed.cores.proxy) - before.busy;
  const {
    sent,
    replies,
    seconds: took,
    p50,
    p99,
  } = JSON.parse(output) as Record<string, number> & Pick<StreamRun, 'sent'>;
  return {
    ...{ transport, what, rate, sent, replies: replies!, p50: p50!, p99: p99! },
    loss: 1 - replies! / sent,
    paced: sent / took! > rate * 0.98,
    cpuMicros: replies! > 0 ? (cpu / replies!) * 1e6 : undefined,
    disturbance: Math.max(0, busy - cpu) / wall,
  };
}
