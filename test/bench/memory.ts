import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Address, Peer } from './peers.ts';
import { text } from './peers.ts';
import { family, run, start } from './processes.ts';
import type { StreamBed } from './streams.ts';
import { validate } from './validate.ts';

const IDLE_CONNECTIONS = 5000;
/** Length of the INVITE that stands for all: with SDP, as blast.c sends it. */
const REQUEST_BYTES = 600;

/** Bytes of memory that one of each takes. */
export interface MemoryResult {
  peer: string;
  title: string;
  /** An open INVITE transaction with its request, in heap and buffers; null: the peer's cannot be seen from outside. */
  transaction: number | null;
  requestBytes: number;
  /** Idle connections, by the proportional set size of all processes. */
  tcp: number;
  tls: number;
}

/** Σ Pss of /proc/PID/smaps_rollup over a process and its children, bytes. */
export function memoryOf(pid: number): number {
  let kilobytes = 0;
  for (const one of family(pid)) {
    const rollup = readFileSync(`/proc/${one}/smaps_rollup`, 'utf8');
    kilobytes += Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0);
  }
  return kilobytes * 1024;
}

/** What open INVITE transactions and idle connections cost. */
export async function measureMemory(
  streams: StreamBed,
  peer: Peer,
  command: string[],
  proxy: Address,
  directory: string,
): Promise<MemoryResult> {
  const { bed, program } = streams;
  const process = start([bed.cores.proxy], command, directory);
  const connect = (transport: 'tcp' | 'tls', connections: number, rate: number, seconds: number) => {
    const load = ['--connections', String(connections), '--rate', String(rate), '--seconds', String(seconds)];
    const flags = transport === 'tls' ? ['--tls'] : [];
    return run(bed.cores.load, [program, '--to', text(streams[transport]), ...flags, ...load]);
  };
  const idleCost = async (transport: 'tcp' | 'tls'): Promise<number> => {
    await connect(transport, 500, 1000, 1); // code and tables that come with the first
    const before = memoryOf(process.pid);
    let most = before;
    const watch = setInterval(() => {
      most = Math.max(most, memoryOf(process.pid));
    }, 200);
    const done = connect(transport, IDLE_CONNECTIONS, 1, 4);
    await Promise.race([done, process.failed]).finally(() => clearInterval(watch));
    return (most - before) / IDLE_CONNECTIONS;
  };
  try {
    await Promise.race([validate(proxy, bed.client, peer.proxies), process.failed]);
    const { name, title } = peer;
    const [tcp, tls] = [await idleCost('tcp'), await idleCost('tls')];
    return {
      peer: name,
      title,
      tcp,
      tls,
      transaction: await transactionCost(streams, peer),
      requestBytes: REQUEST_BYTES,
    };
  } catch (cause) {
    throw new Error(`${peer.title}: ${(cause as Error).message}`, { cause });
  } finally {
    await process.stop();
  }
}

async function transactionCost({ bed }: StreamBed, peer: Peer): Promise<number | null> {
  if (peer.preallocates) return null;
  const script = join(import.meta.dirname, 'transaction-memory.ts');
  const output = await run(bed.cores.load, [globalThis.process.execPath, '--expose-gc', script, String(REQUEST_BYTES)]);
  return (JSON.parse(output) as { bytes: number }).bytes;
}
