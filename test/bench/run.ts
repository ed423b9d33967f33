import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build, type Program } from './build.ts';
import { type Bed, blast } from './load.ts';
import { busyShare, divideCores, machine } from './machine.ts';
import { type Baseline, directoryOf, measure, measureBaseline, QUICK, type Result, THOROUGH } from './measure.ts';
import { type Address, PEERS, type Peer, text } from './peers.ts';
import { start, stopAll } from './processes.ts';
import { describeProfiles } from './profile.ts';
import { markdown, type Report, record } from './report.ts';
import { validate } from './validate.ts';

const USAGE = `npm run bench -- [options]
  --quick            short runs, coarse results (about a minute)
  --only NAMES       only these peers, by commas: ${PEERS.map((p) => p.name).join(', ')}
  --mix SHARES       requests to send, default invite=1; for example invite=8,options=1,register=1
  --proxy-core N     core of the proxy under test, default the last; the load gets the others
  --json FILE        write all that was measured
  --record           put the tables into docs/performance.md; refused if the machine was not quiet
  --cpu-prof         profile the agent at --rate instead of measuring
  --rate N           pairs/s while profiling, default 30000
  --help`;

const options = {
  quick: { type: 'boolean', default: false },
  only: { type: 'string' },
  mix: { type: 'string', default: 'invite=1' },
  'proxy-core': { type: 'string' },
  json: { type: 'string' },
  record: { type: 'boolean', default: false },
  'cpu-prof': { type: 'boolean', default: false },
  rate: { type: 'string', default: '30000' },
  help: { type: 'boolean', default: false },
} as const;

/** Above these shares of foreign CPU use, figures say more about the neighbours than about the proxy. */
const QUIET_BEFORE = 0.03;
const QUIET_DURING = 0.05;

type Settings = ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];

function chosen(settings: Settings): readonly Peer[] {
  const wanted = settings.only?.split(',') ?? (settings['cpu-prof'] ? ['sipfleet'] : PEERS.map((peer) => peer.name));
  for (const name of wanted)
    if (!PEERS.some((peer) => peer.name === name))
      throw new Error(`--only: found "${name}", allowed are ${PEERS.map((peer) => peer.name).join(', ')}`);
  return PEERS.filter((peer) => wanted.includes(peer.name));
}

/** Addresses with ports that are free now. Sinks have addresses of their own: by its address a proxy tells a backend from a client. */
async function freeAddresses<const T extends readonly string[]>(...hosts: T): Promise<{ [K in keyof T]: Address }> {
  const sockets = hosts.map((host) => createSocket('udp4').bind(0, host));
  await Promise.all(sockets.map((socket) => once(socket, 'listening')));
  const addresses = sockets.map((socket) => ({ address: socket.address().address, port: socket.address().port }));
  await Promise.all(sockets.map((socket) => once(socket.close(), 'close')));
  return addresses as unknown as { [K in keyof T]: Address };
}

interface Bench {
  settings: Settings;
  programs: Record<Program, string>;
  bed: Bed;
  proxy: Address;
  directory: string;
}

async function prepare(settings: Settings, directory: string): Promise<Bench> {
  const programs = build();
  const core = settings['proxy-core'];
  const cores = divideCores(core === undefined ? undefined : Number(core));
  const [proxy, client, ...sinks] = await freeAddresses('127.0.0.1', '127.0.0.1', '127.0.0.2', '127.0.0.3');
  for (const sink of sinks) start(cores.load, [programs.sink, '--listen', text(sink)]);
  const bed = { blast: programs.blast, cores, client, sinks, mix: settings.mix };
  return { settings, programs, bed, proxy, directory };
}

function commandOf(bench: Bench, peer: Peer, directory: string, profiles?: string): string[] {
  const { bed, proxy, programs } = bench;
  const site = { proxy, client: bed.client, sinks: bed.sinks, cfwd: programs.cfwd, directory };
  return peer.command(profiles === undefined ? site : { ...site, profiles });
}

/** Why the figures of these runs should not be published. */
function doubts(busyBefore: number, results: Result[]): string[] {
  const percent = (share: number) => `${(share * 100).toFixed(0)} %`;
  const found: string[] = [];
  if (busyBefore > QUIET_BEFORE) found.push(`${percent(busyBefore)} of the machine was busy before the bench began`);
  for (const { title, runs } of results) {
    const disturbed = runs.filter((run) => run.disturbance > QUIET_DURING);
    if (disturbed.length > runs.length / 5)
      found.push(
        `others used more than ${percent(QUIET_DURING)} of the proxy's core during ${disturbed.length} of ${runs.length} runs of ${title}`,
      );
  }
  return found;
}

async function compare(bench: Bench): Promise<Report> {
  const { settings, bed } = bench;
  const effort = settings.quick ? QUICK : THOROUGH;
  const busyBefore = await busyShare(1);
  console.error('Measuring generator and sinks alone …');
  const baseline: Baseline = await measureBaseline(bed, effort);
  const results: Result[] = [];
  const skipped: string[] = [];
  for (const peer of chosen(settings)) {
    if (peer.version() === undefined) {
      skipped.push(peer.missing);
      continue;
    }
    console.error(`Measuring ${peer.title} …`);
    const directory = directoryOf(bench.directory, peer);
    const command = commandOf(bench, peer, directory);
    results.push(await measure(bed, baseline, effort, peer, command, bench.proxy, directory));
  }
  return {
    date: new Date().toISOString(),
    machine: machine(),
    proxyCore: bed.cores.proxy,
    mix: settings.mix,
    quick: settings.quick,
    doubts: doubts(busyBefore, results),
    loadMax: baseline.max,
    baseline,
    results,
    skipped: [...new Set(skipped)],
  };
}

/** Loads one agent at a steady rate under V8's profiler, and prints where its threads spent their time. */
async function profile(bench: Bench): Promise<void> {
  const rate = Number(bench.settings.rate);
  for (const peer of chosen(bench.settings)) {
    const directory = directoryOf(bench.directory, peer);
    const profiles = mkdtempSync(join(tmpdir(), 'sipfleet-profile-'));
    const agent = start([bench.bed.cores.proxy], commandOf(bench, peer, directory, profiles), directory);
    await Promise.race([validate(bench.proxy, bench.bed.client, peer.proxies), agent.failed]);
    const run = await blast(bench.bed, [bench.proxy], rate, 10, agent);
    await agent.stop();
    const cpu = run.cpuMicros?.toFixed(1) ?? '–';
    console.log(`${peer.title}: ${rate} pairs/s, loss ${(run.loss * 100).toFixed(2)} %, ${cpu} µs per pair (profiled)`);
    console.log(describeProfiles(profiles, 30));
  }
}

async function main(): Promise<void> {
  const { values: settings } = parseArgs({ options });
  if (settings.help) return console.log(USAGE);
  const directory = mkdtempSync(join(tmpdir(), 'sipfleet-bench-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  try {
    const bench = await prepare(settings, directory);
    if (settings['cpu-prof']) return await profile(bench);
    const report = await compare(bench);
    console.log(markdown(report));
    if (settings.json) writeFileSync(settings.json, `${JSON.stringify(report, null, 2)}\n`);
    if (settings.record) {
      if (report.doubts.length > 0) throw new Error(`not recorded: ${report.doubts.join('; ')}`);
      record(join(import.meta.dirname, '../../docs/performance.md'), report);
    }
  } finally {
    await stopAll();
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void stopAll().finally(() => process.exit(1)));

main().catch((error: Error) => {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
});
