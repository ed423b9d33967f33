import { type Bed, blast, idle, type Run } from './load.ts';
import { good, secondChance } from './measure.ts';
import type { Address, Peer } from './peers.ts';
import { start } from './processes.ts';
import { highestRate } from './search.ts';
import { validate } from './validate.ts';

/** Times the highest rate of whole calls. */
export const FACTORS = [1.5, 2, 3] as const;
const SECONDS = 5;

/** What became of whole calls that a proxy was offered too many of. */
export interface OverloadResult {
  peer: string;
  title: string;
  /** Highest calls per second at < 0.1 % loss, found by short runs. */
  max: number;
  /** One at each of {@link FACTORS}. */
  runs: Run[];
}

/** Calls that were established and whose end the proxy did not bring about in time, as a share of those established. */
export const broken = ({ answered, replies }: Run): number => (answered > 0 ? (answered - replies) / answered : 0);

/** Starts a peer, finds what it can do, offers it more. `bed` makes whole calls. */
export async function measureOverload(
  bed: Bed,
  peer: Peer,
  command: string[],
  proxy: Address,
  directory: string,
): Promise<OverloadResult> {
  const process = start([bed.cores.proxy], command, directory);
  try {
    await Promise.race([validate(proxy, bed.client, peer.proxies), process.failed]);
    const load = async (rate: number, seconds: number) => {
      const run = await blast(bed, [proxy], rate, seconds, process);
      if (!good(run)) await idle(process);
      return run;
    };
    await load(3000, 3); // warms compilers and caches; not counted
    const passes = async (rate: number) => good(await secondChance(() => load(rate, 2)));
    const max = await highestRate(passes, 3000, Infinity, 0.1);
    const runs: Run[] = [];
    for (const factor of FACTORS) runs.push(await load(Math.round((max * factor) / 100) * 100, SECONDS));
    return { peer: peer.name, title: peer.title, max, runs };
  } finally {
    await process.stop();
  }
}
