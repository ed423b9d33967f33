import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { impair, repair } from './bad-network.ts';
import { build } from './build.ts';
import type { Answered, Called, ImpairedResult } from './impaired.ts';
import { type Bed, blast, idle } from './load.ts';
import { divideCores } from './machine.ts';
import { directoryOf, good, secondChance } from './measure.ts';
import { memoryOf } from './memory.ts';
import { PEERS, type Peer, text } from './peers.ts';
import { coreBusySeconds, cpuSeconds, type Running, run, socketDrops, start, stopAll } from './processes.ts';
import { highestRate } from './search.ts';
import { validate } from './validate.ts';

/** The inside of measureImpaired (impaired.ts): it owns the network namespace that it runs in. Prints the results as JSON. */
const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: '' },
    seconds: { type: 'string', default: '30' },
    rate: { type: 'string' },
    'proxy-core': { type: 'string' },
  },
});
const seconds = Number(values.seconds);

// Nobody else is here: any port is free. Not 5060, which Kamailio leaves out of what it writes.
const PROXY = { address: '127.0.0.1', port: 5070 };
const CLIENT = { address: '127.0.0.1', port: 5080 };
const SINKS = [
  { address: '127.0.0.2', port: 5090 },
  { address: '127.0.0.3', port: 5090 },
];
const LOWEST = 3000;
const WARM_UP_SECONDS = 5;

const programs = build();
const directory = mkdtempSync(join(tmpdir(), 'sipfleet-impaired-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
const cores = divideCores(values['proxy-core'] === undefined ? undefined : Number(values['proxy-core']));
const bed: Bed = { blast: programs.blast, cores, client: CLIENT, sinks: SINKS, mix: '', calls: true };

const countsOf = (peer: Peer, sink: number): string => join(directory, `${peer.name}-sink${sink}.json`);

/** `peer`: for its run the sinks send again what was not ACKed, and count. */
const startSinks = (peer?: Peer): Running[] =>
  SINKS.map((sink, i) =>
    start(cores.load, [programs.sink, '--listen', text(sink), ...(peer ? ['--reliable', countsOf(peer, i)] : [])]),
  );

const stopEach = (all: readonly Running[]) => Promise.all(all.map((one) => one.stop()));

async function startProxy(peer: Peer, purpose: string): Promise<Running> {
  const own = `${directory}/${purpose}`;
  execFileSync('mkdir', ['-p', own]);
  const place = directoryOf(own, peer, 'impaired');
  const command = peer.command({ proxy: PROXY, client: CLIENT, sinks: SINKS, cfwd: programs.cfwd, directory: place });
  const proxy = start([cores.proxy], command, place);
  await Promise.race([validate(PROXY, CLIENT, peer.proxies), proxy.failed]);
  return proxy;
}

/** As the section `overload` finds it: short runs, nothing lost by the network. */
async function highest(peer: Peer): Promise<number> {
  const proxy = await startProxy(peer, 'search');
  const load = async (rate: number) => {
    const result = await blast(bed, [PROXY], rate, 2, proxy);
    if (!good(result)) await idle(proxy);
    return result;
  };
  await load(LOWEST);
  const max = await highestRate(async (rate) => good(await secondChance(() => load(rate))), LOWEST, Infinity, 0.1);
  await proxy.stop();
  return max;
}

/** The most in each quarter of the run, until stopped. */
function watchMemory(pid: number): { quarters: ImpairedResult['memory']['quarters']; stop: () => void } {
  const began = performance.now();
  const quarters: ImpairedResult['memory']['quarters'] = [0, 0, 0, 0];
  const look = () => {
    const quarter = Math.min(3, Math.floor(((performance.now() - began) / 1000 / seconds) * 4));
    quarters[quarter] = Math.max(quarters[quarter]!, memoryOf(pid));
  };
  const timer = setInterval(look, Math.max(1000, seconds * 25));
  return { quarters, stop: () => clearInterval(timer) };
}

async function call(proxy: Running, rate: number) {
  const drops = socketDrops(PROXY.address, PROXY.port);
  const before = memoryOf(proxy.pid);
  impair([PROXY, CLIENT, ...SINKS], rate);
  const cpu = cpuSeconds(proxy.pid);
  const busy = coreBusySeconds(cores.proxy);
  const began = performance.now();
  const memory = watchMemory(proxy.pid);
  const options = ['--from', text(CLIENT), '--to', text(PROXY), '--rate', String(rate), '--seconds', String(seconds)];
  const output = await Promise.race([run(cores.load, [programs.caller, ...options]), proxy.failed]);
  memory.stop();
  const wall = (performance.now() - began) / 1000;
  const used = cpuSeconds(proxy.pid) - cpu;
  const called = JSON.parse(output) as Called;
  return {
    rate,
    called,
    network: repair(),
    proxyDrops: socketDrops(PROXY.address, PROXY.port) - drops,
    cpuMicros: (used / called.tried) * 1e6,
    cpuShare: used / called.seconds,
    memory: { before, quarters: memory.quarters },
    runs: [{ disturbance: Math.max(0, coreBusySeconds(cores.proxy) - busy - used) / wall }],
  };
}

function together(counts: readonly Answered[]): Answered {
  const sum = (key: keyof Answered) => counts.reduce((total, one) => total + one[key], 0);
  const [invites, invitesAgain, answersAgain] = [sum('invites'), sum('invitesAgain'), sum('answersAgain')];
  const [acked, byedFirst, gaveUp, dropped] = [sum('acked'), sum('byedFirst'), sum('gaveUp'), sum('dropped')];
  return { invites, invitesAgain, answersAgain, acked, byedFirst, gaveUp, dropped };
}

async function measure(peer: Peer): Promise<ImpairedResult> {
  let sinks = startSinks();
  const max = values.rate === undefined ? await highest(peer) : null;
  const rate = max === null ? Number(values.rate) : Math.round(max / 200) * 100;
  console.error(`${peer.title}: ${seconds} s of ${rate} calls/s on a bad network …`);
  const proxy = await startProxy(peer, 'run');
  await blast(bed, [PROXY], rate, WARM_UP_SECONDS, proxy); // warms compilers and caches; not counted
  await stopEach(sinks);
  sinks = startSinks(peer);
  await idle(proxy);
  const result = await call(proxy, rate);
  await stopEach([...sinks, proxy]);
  const counts = SINKS.map((_, i) => JSON.parse(readFileSync(countsOf(peer, i), 'utf8')) as Answered);
  return { peer: peer.name, title: peer.title, max, ...result, answered: together(counts) };
}

async function main(): Promise<void> {
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  const results: ImpairedResult[] = [];
  for (const name of values.peers.split(',')) {
    const peer = PEERS.find((one) => one.name === name);
    if (peer) results.push(await measure(peer));
  }
  console.log(JSON.stringify(results));
}

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void stopAll().finally(() => process.exit(1)));

main()
  .catch((error: Error) => {
    console.error(`impaired: ${error.message}`);
    process.exitCode = 1;
  })
  .finally(stopAll);
