import { readFileSync } from 'node:fs';
import type { Agent } from '../interop/agent.ts';
import { lossyAnswerScenario, lossyCallScenario } from '../interop/scenarios.ts';
import { row, type SippResult } from '../interop/sipp.ts';
import type { Namespace } from '../netns/namespace.ts';
import type { Stage } from './stage.ts';

/**
 * A bad link, made of what every kernel has (netem is missing in those of small virtual machines): of what arrives 2 % is lost (not of what leaves: the
 * sender would be told); 1 % of what leaves is doubled; a fifth waits in a slow class, where faster packets overtake it.
 */
const badLink = (neighbours: readonly string[]): string => `table ip impair {
  chain arriving {
    type filter hook input priority 0;
    iifname "eth0" ip protocol udp numgen random mod 100 < 2 counter drop
  }
  chain leaving {
    type filter hook output priority 0;
    oifname "eth0" ip protocol udp numgen random mod 100 < 20 counter meta priority set 1:20
${neighbours.map((ip) => `    ip daddr ${ip} ip protocol udp numgen random mod 100 < 1 counter dup to ${ip} device "eth0"`).join('\n')}
  }
}`;
const CLASSES = [
  'qdisc add dev eth0 root handle 1: htb default 10',
  'class add dev eth0 parent 1: classid 1:10 htb rate 1gbit',
  'class add dev eth0 parent 1: classid 1:20 htb rate 4mbit burst 2k cburst 2k',
];

async function spoil(host: Namespace, neighbours: readonly string[]): Promise<void> {
  for (const line of CLASSES) await host.run('tc', line.split(' '));
  await host.run('nft', [badLink(neighbours)]);
}

const CALLEES = Array.from({ length: 100 }, (_, i) => `callee${i}`);

export interface ImpairedRun {
  calls: SippResult;
  /** What the agent's link did to packets. */
  packets: { lost: number; doubled: number; delayed: number };
  /** Resident memory of the agent, bytes: the most in each quarter of the run. */
  memory: [number, number, number, number];
  /** It goes on until the stage is closed. */
  agent: Agent;
}

/**
 * Calls at `rate` per second through an agent whose network loses, doubles and reorders, in both directions; SIPp on both ends retransmits as
 * RFC 3261 says. `progress` is told the seconds that have passed.
 */
export async function callsOnBadNetwork(
  stage: Stage,
  options: {
    workers: number;
    rate: number;
    seconds: number;
    /** Further options of the agent. */
    more?: readonly string[];
    progress?: (seconds: number) => void;
  },
): Promise<ImpairedRun> {
  const { workers, rate, seconds, more = [] } = options;
  const { net } = stage;
  const calls = rate * seconds;
  const limits = { tolerant: true, limit: rate * 40, deadline: seconds * 1000 + 90_000 };
  for (const host of [net.pbx1, net.pbx2])
    stage.sipp('buck', host, { port: 5060, scenario: lossyAnswerScenario, calls: calls * 2, ...limits });
  const agent = await stage.startAgent({ workers, farm: stage.farm({ checks: [] }), more });
  const hosts = [net.agentA, net.pbx1, net.pbx2, net.client2];
  for (const host of hosts) await spoil(host, [net.vip.ipv4, ...hosts.map((other) => other.ipv4)]);
  const rows = CALLEES.map((callee) => row('bonnie', '', callee));
  const caller = stage.sipp('bonnie', net.client2, {
    port: 5080,
    scenario: lossyCallScenario,
    rows,
    calls,
    rate,
    ...limits,
  });
  const began = Date.now();
  const memory: ImpairedRun['memory'] = [0, 0, 0, 0];
  const watch = setInterval(() => {
    const passed = (Date.now() - began) / 1000;
    const quarter = Math.min(3, Math.floor((passed / seconds) * 4));
    memory[quarter] = Math.max(memory[quarter]!, residentOf(agent.process.pid));
    options.progress?.(passed);
  }, 500);
  try {
    return { calls: await caller.finished(), packets: await done(net.agentA), memory, agent };
  } finally {
    clearInterval(watch);
  }
}

/** What the rules' counters say. */
async function done(host: Namespace): Promise<ImpairedRun['packets']> {
  const rules = (await host.run('nft', ['list', 'table', 'ip', 'impair'])).split('\n');
  const sum = (action: string) =>
    rules
      .filter((rule) => rule.includes(action))
      .reduce((total, rule) => total + Number(/packets (\d+)/.exec(rule)?.[1]), 0);
  return { lost: sum('drop'), doubled: sum('dup to'), delayed: sum('meta priority') };
}

/** proc(5) VmRSS, bytes; 0 when the process has ended. */
function residentOf(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
