import { execFileSync } from 'node:child_process';
import type { Address } from './peers.ts';

/** Of 100 datagrams. */
const LOST = 2;
const DOUBLED = 1;
const DELAYED = 20;
/** A delayed datagram waits in one of so many slow classes, each by itself up to its ears in what a call brings it. */
const SLOW_CLASSES = 64;
const SLOW_CLASS_LOAD = 0.6;
/** Bits of all the datagrams of a call, both sides of the proxy: eleven of some 600 bytes. */
const CALL_BITS = 6500 * 8;

/** What became of the datagrams of a run. */
export interface Impairment {
  passed: number;
  lost: number;
  doubled: number;
  delayed: number;
}

const minor = (index: number): string => (0x20 + index).toString(16);

function rules(addresses: readonly string[]): string {
  const classes = Array.from({ length: SLOW_CLASSES }, (_, i) => `${i} : 1:${minor(i)}`).join(', ');
  const share = (percent: number): string => `numgen random mod 100 < ${percent}`;
  return `table ip impair {
  chain arriving {
    type filter hook input priority 0;
    meta l4proto udp counter
    meta l4proto udp ${share(LOST)} counter drop
  }
  chain leaving {
    type filter hook output priority 0;
    meta l4proto udp ${share(DELAYED)} counter meta priority set numgen random mod ${SLOW_CLASSES} map { ${classes} }
${addresses.map((ip) => `    meta l4proto udp ip daddr ${ip} ${share(DOUBLED)} counter dup to ${ip} device "lo"`).join('\n')}
  }
}`;
}

const tc = (line: string): void => void execFileSync('tc', line.split(' '));

/**
 * Makes the loopback of this network namespace a bad link for `rate` calls per second: every datagram may be lost, doubled, or overtaken by others. It is made of what
 * every kernel has, since netem is missing in those of small virtual machines: nftables loses and doubles, classes of HTB that are hardly fast enough delay.
 */
export function impair(endpoints: readonly Address[], rate: number): void {
  const slow = Math.ceil((rate * CALL_BITS * (DELAYED / 100)) / SLOW_CLASSES / SLOW_CLASS_LOAD);
  tc('qdisc add dev lo root handle 1: htb default 10');
  tc('class add dev lo parent 1: classid 1:10 htb rate 100gbit burst 1m cburst 1m quantum 60000');
  for (let i = 0; i < SLOW_CLASSES; i++)
    tc(`class add dev lo parent 1: classid 1:${minor(i)} htb rate ${slow}bit burst 600 cburst 600 quantum 1514`);
  execFileSync('nft', ['-f', '-'], { input: rules([...new Set(endpoints.map(({ address }) => address))]) });
}

/** Makes it good again; what it did. */
export function repair(): Impairment {
  const listing = execFileSync('nft', ['list', 'table', 'ip', 'impair'], { encoding: 'utf8' }).split('\n');
  const sum = (...words: string[]): number =>
    listing
      .filter((line) => words.every((word) => line.includes(word)))
      .reduce((total, line) => total + Number(/counter packets (\d+)/.exec(line)?.[1] ?? 0), 0);
  const lost = sum('drop');
  const arrived = sum('counter') - sum('numgen');
  execFileSync('nft', ['delete', 'table', 'ip', 'impair']);
  tc('qdisc del dev lo root');
  return { passed: arrived - lost, lost, doubled: sum('dup to'), delayed: sum('meta priority') };
}
