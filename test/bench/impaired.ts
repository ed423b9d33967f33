import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import type { Impairment } from './bad-network.ts';

/** What caller prints, see caller.c. Times in µs. */
export interface Called {
  tried: number;
  seconds: number;
  established: number;
  ended: number;
  /** Answered by a failure: INVITEs, and BYEs. */
  refused: number;
  broken: number;
  /** Calls of which a request was never answered. */
  gaveUp: number;
  invitesAgain: number;
  byesAgain: number;
  /** ACKs because a 2xx came again. */
  acksAgain: number;
  repeated: number;
  /** 2xx of another callee than the first. */
  forked: number;
  wrong: number;
  dropped: number;
  p50: number;
  p99: number;
  max: number;
}

/** What a sink writes, see unacked.c. */
export interface Answered {
  invites: number;
  invitesAgain: number;
  /** 2xx sent again for want of an ACK. */
  answersAgain: number;
  acked: number;
  /** The BYE came before the ACK. */
  byedFirst: number;
  /** 2xx of which no ACK came in 32 s. */
  gaveUp: number;
  dropped: number;
}

/** Whole calls through one proxy over a network that loses, doubles and reorders. */
export interface ImpairedResult {
  peer: string;
  title: string;
  /** Highest calls per second without impairment; null where the rate was given. */
  max: number | null;
  rate: number;
  called: Called;
  /** Of all sinks together. */
  answered: Answered;
  network: Impairment;
  /** Datagrams that the kernel threw away because the proxy did not take them in time. */
  proxyDrops: number;
  /** CPU µs of the proxy per call, and its share of the core. */
  cpuMicros: number;
  cpuShare: number;
  /** Resident bytes of all processes of the proxy: before, and the most in each quarter of the run. */
  memory: { before: number; quarters: [number, number, number, number] };
  runs: { disturbance: number }[];
}

/** Calls that did not go their whole way from INVITE to the 200 of their BYE. */
export const lost = ({ called }: Pick<ImpairedResult, 'called'>): number => called.tried - called.ended;

export interface ImpairedSettings {
  peers: readonly string[];
  seconds: number;
  /** Calls per second; left out: half of the highest rate without impairment. */
  rate?: number | undefined;
  proxyCore?: number | undefined;
}

/** Measures in a network namespace of its own, whose loopback can be spoilt without harm to anybody. Needs root, or user namespaces. */
export async function measureImpaired({
  peers,
  seconds,
  rate,
  proxyCore,
}: ImpairedSettings): Promise<ImpairedResult[]> {
  const root = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  const script = join(import.meta.dirname, 'impaired-run.ts');
  const options = ['--peers', peers.join(','), '--seconds', String(seconds)];
  if (rate !== undefined) options.push('--rate', String(rate));
  if (proxyCore !== undefined) options.push('--proxy-core', String(proxyCore));
  const command = ['--net', ...root, 'setpriv', '--pdeathsig', 'TERM', process.execPath, script, ...options];
  const child = spawn('unshare', command, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [output, [code]] = await Promise.all([textOf(child.stdout), once(child, 'close')]);
  if (code !== 0)
    throw new Error(
      'impaired: the run in a network namespace of its own failed; it needs root or user namespaces, tc and nft',
    );
  return JSON.parse(output) as ImpairedResult[];
}
