import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Address, Peer } from './peers.ts';
import { text } from './peers.ts';
import { family, run, start } from './processes.ts';
import type { StreamBed } from './streams.ts';
import { validate } from './validate.ts';

const OPEN_TRANSACTIONS = 20_000;
const IDLE_CONNECTIONS = 5000;
/** Request and 100 that are kept for each transaction are the sender's choice: told apart from what the proxy adds. */
const SETTLE_MS = 500;

/** Bytes of memory (proportional set size of all processes) that one of each takes. */
export interface MemoryResult {
  peer: string;
  title: string;
  /** Null: the peer's memory is allocated beforehand, so that nothing can be seen from outside. */
  transaction: number | null;
  /** Of which the request as received. */
  requestBytes: number;
  tcp: number;
  tls: number;
}

/** Σ Pss of /proc/PID/smaps_rollup over a process and its children, bytes. */
function memoryOf(pid: number): number {
  let kilobytes = 0;
  for (const one of family(pid)) {
    const rollup = readFileSync(`/proc/${one}/smaps_rollup`, 'utf8');
    kilobytes += Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0);
  }
  return kilobytes * 1024;
}

/**
 * What open INVITE transactions and idle connections cost. `silent` are the addresses of the backends: they answer one request, so that the
 * proxy is seen to work, and are then ended by `silence`.
 */
export async function measureMemory(
  streams: StreamBed,
  peer: Peer,
  command: string[],
  proxy: Address,
  directory: string,
  silence: () => Promise<void>,
): Promise<MemoryResult> {
  const { bed } = streams;
  const process = start([bed.cores.proxy], command, directory);
  try {
    const { request, addedBytes } = await Promise.race([validate(proxy, bed.client, peer.proxies), process.failed]);
    const idleCost = async (transport: 'tcp' | 'tls'): Promise<number> => {
      const options = ['--connections', String(IDLE_CONNECTIONS), '--rate', '1', '--seconds', '4'];
      const flags = transport === 'tls' ? ['--tls'] : [];
      const once = (n: string[]) =>
        run(bed.cores.load, [streams.program, '--to', text(streams[transport]), ...flags, ...n]);
      await once(['--connections', '500', '--rate', '1000', '--seconds', '1']); // code and tables that come with the first
      const before = memoryOf(process.pid);
      const done = once(options);
      let most = before;
      const watch = setInterval(() => {
        most = Math.max(most, memoryOf(process.pid));
      }, 200);
      await Promise.race([done, process.failed]).finally(() => clearInterval(watch));
      return (most - before) / IDLE_CONNECTIONS;
    };
    const tcp = await idleCost('tcp');
    const tls = await idleCost('tls');
    await silence();
    const holders = await Promise.all(bed.sinks.map(silentSocket));
    const before = memoryOf(process.pid);
    const load = ['--rate', String(OPEN_TRANSACTIONS), '--seconds', '1', '--mix', 'invite=1'];
    const output = await run(bed.cores.load, [bed.blast, '--from', text(bed.client), '--to', text(proxy), ...load]);
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    // Each 100 is a transaction that was begun; what got lost on the way costs nothing.
    const { provisional } = JSON.parse(output) as { provisional: number };
    if (provisional < OPEN_TRANSACTIONS / 2)
      throw new Error(`only ${provisional} of ${OPEN_TRANSACTIONS} INVITEs got a 100`);
    const transaction = (memoryOf(process.pid) - before) / provisional;
    for (const holder of holders) holder.close();
    const { name, title } = peer;
    return {
      ...{ peer: name, title, tcp, tls },
      transaction: peer.preallocates ? null : transaction,
      requestBytes: request.length - addedBytes,
    };
  } catch (cause) {
    throw new Error(`${peer.title}: ${(cause as Error).message}`, { cause });
  } finally {
    await process.stop();
  }
}

/** Takes what comes and says nothing. */
async function silentSocket({ address, port }: Address) {
  const socket = createSocket('udp4')
    .on('message', () => {})
    .bind(port, address);
  await once(socket, 'listening');
  return socket;
}
