import { execFileSync, spawnSync } from 'node:child_process';
import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { type Cores, coreBusySeconds } from './processes.ts';

/** What the figures were measured on. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  kernel: string;
  node: string;
  compiler: string;
  revision: string;
}

/** First line of what a program prints; empty where it is missing. */
const firstLine = (program: string, ...args: string[]): string =>
  (spawnSync(program, args, { encoding: 'utf8' }).stdout ?? '').split('\n')[0] as string;

export function machine(): Machine {
  const changed = spawnSync('git', ['status', '--porcelain'], { encoding: 'utf8' }).stdout !== '';
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `${type()} ${release()}`,
    node: process.version,
    compiler: firstLine('cc', '--version'),
    revision: firstLine('git', 'rev-parse', '--short', 'HEAD') + (changed ? ' with changes' : ''),
  };
}

/** The proxy gets one core, the load all others. Throws where there is only one. */
export function divideCores(proxyCore: number | undefined): Cores {
  const count = cpus().length;
  const proxy = proxyCore ?? count - 1;
  if (availableParallelism() < 2)
    throw new Error('the bench needs two cores, one for the proxy and one for the load; found 1');
  if (proxy < 0 || proxy >= count)
    throw new Error(`--proxy-core: found ${proxy}, allowed is a core from 0 to ${count - 1}`);
  execFileSync('taskset', ['-c', String(proxy), 'true'], { stdio: 'ignore' });
  return { proxy, load: [...Array(count).keys()].filter((core) => core !== proxy) };
}

/** Share of all cores that is busy before the bench has started anything. */
export async function busyShare(seconds: number): Promise<number> {
  const all = [...cpus().keys()];
  const busy = () => all.reduce((sum, core) => sum + coreBusySeconds(core), 0);
  const before = busy();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  return (busy() - before) / seconds / all.length;
}
