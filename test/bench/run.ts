import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { createAuthority } from '../../edge-agent/src/transport/certificates.fixture.ts';
import { build, type Program } from './build.ts';
import type { ChecksResult } from './checks.ts';
import { measureImpaired } from './impaired.ts';
import { type Bed, blast } from './load.ts';
import { busyShare, divideCores, machine } from './machine.ts';
import { type Baseline, directoryOf, measure, measureBaseline, QUICK, type Result, THOROUGH } from './measure.ts';
import { measureMemory } from './memory.ts';
import { chosen, count, listed, options, type Settings, USAGE } from './options.ts';
import { measureOverload } from './overload.ts';
import { type Address, type Peer, SECTIONS, type Section, type Site, text } from './peers.ts';
import { start, stopAll } from './processes.ts';
import { describeProfiles } from './profile.ts';
import { markdown, type Report, record } from './report.ts';
import { measureStreams } from './streams.ts';
import type { SinkCounts } from './telemetry-sink.ts';
import { validate } from './validate.ts';

const PROFILED_RATE = 30_000;
/** Above these shares of foreign CPU use, figures say more about the neighbours than about the proxy. */
const QUIET_BEFORE = 0.03;
const QUIET_DURING = 0.05;

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
  streams: { tcp: Address; tls: Address; certificate: string; privateKey: string };
  directory: string;
  /** Peers that could not be measured, each with the section and why: others, and other sections, are. */
  failures: string[];
}

async function prepare(settings: Settings, directory: string): Promise<Bench> {
  const programs = build();
  const core = settings['proxy-core'];
  const cores = divideCores(core === undefined ? undefined : Number(core));
  const hosts = ['127.0.0.1', '127.0.0.1', '127.0.0.1', '127.0.0.1', '127.0.0.2', '127.0.0.3'] as const;
  const [proxy, client, tcp, tls, ...sinks] = await freeAddresses(...hosts);
  for (const sink of sinks) start(cores.load, [programs.sink, '--listen', text(sink)]);
  const bed = { blast: programs.blast, cores, client, sinks, mix: settings.mix };
  const streams = { tcp, tls, ...certify(directory) };
  return { settings, programs, bed, proxy, streams, directory, failures: [] };
}

/** A certificate for the run, in files: Kamailio reads nothing else. */
function certify(directory: string): { certificate: string; privateKey: string } {
  const pair = createAuthority('Bench CA').issue('bench.invalid', '127.0.0.1');
  const paths = { certificate: join(directory, 'certificate.pem'), privateKey: join(directory, 'key.pem') };
  for (const name of ['certificate', 'privateKey'] as const) writeFileSync(paths[name], pair[name], { mode: 0o600 });
  return paths;
}

function commandOf(
  bench: Bench,
  peer: Peer,
  directory: string,
  extra: Pick<Site, 'profiles' | 'streams' | 'telemetry'> = {},
) {
  const { bed, proxy, programs } = bench;
  return peer.command({ proxy, client: bed.client, sinks: bed.sinks, cfwd: programs.cfwd, directory, ...extra });
}

/** Why the figures of these runs should not be published. */
function doubts(busyBefore: number, results: readonly { title: string; runs: { disturbance: number }[] }[]): string[] {
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
  const busyBefore = await busyShare(1);
  const peers = chosen(settings);
  const there = peers.filter((peer) => peer.version() !== undefined);
  const wanted = listed('--sections', settings.sections, SECTIONS) ?? SECTIONS;
  const measured: Pick<Report, Section> = {};
  for (const section of SECTIONS) {
    const those = there.filter((peer) => peer.sections.includes(section));
    if (wanted.includes(section) && those.length > 0) Object.assign(measured, await MEASURES[section](bench, those));
  }
  const { pairs, calls = [], impaired = [], streams = [], telemetry } = measured;
  return {
    date: new Date().toISOString(),
    machine: machine(),
    proxyCore: bed.cores.proxy,
    mix: settings.mix,
    quick: settings.quick,
    doubts: doubts(busyBefore, [
      ...(pairs?.results ?? []),
      ...calls,
      ...impaired,
      ...streams,
      ...(telemetry?.pairs ?? []),
    ]),
    skipped: [...new Set(peers.filter((peer) => !there.includes(peer)).map((peer) => peer.missing)), ...bench.failures],
    ...measured,
  };
}

const effortOf = ({ settings }: Bench) => (settings.quick ? QUICK : THOROUGH);

/** How each section is measured. */
const MEASURES: Record<Section, (bench: Bench, peers: Peer[]) => Promise<Pick<Report, Section>>> = {
  async pairs(bench, peers) {
    console.error('Measuring generator and sinks alone …');
    const baseline = await measureBaseline(bench.bed, effortOf(bench));
    const results = await each(bench, peers, 'pairs', (peer) =>
      measureRates(bench, bench.bed, baseline, peer, 'pairs'),
    );
    return { pairs: { baseline, results } };
  },
  async calls(bench, peers) {
    const bed = { ...bench.bed, calls: true };
    const baseline = await measureBaseline(bed, effortOf(bench));
    return { calls: await each(bench, peers, 'calls', (peer) => measureRates(bench, bed, baseline, peer, 'calls')) };
  },
  async overload(bench, peers) {
    const bed = { ...bench.bed, calls: true };
    const results = await each(bench, peers, 'overload', (peer) => {
      const directory = directoryOf(bench.directory, peer, 'overload');
      return measureOverload(bed, peer, commandOf(bench, peer, directory), bench.proxy, directory);
    });
    return { overload: results };
  },
  async impaired({ settings, bed }, peers) {
    console.error('Measuring calls on a bad network …');
    const results = await measureImpaired({
      peers: peers.map(({ name }) => name),
      seconds: count('--seconds', settings.seconds) ?? 30,
      rate: count('--rate', settings.rate),
      proxyCore: bed.cores.proxy,
    });
    return { impaired: results };
  },
  async streams(bench, peers) {
    const results = await each(bench, peers, 'TCP and TLS', (peer) => {
      const { directory, command } = withStreams(bench, peer, 'streams');
      return measureStreams(streamBed(bench), effortOf(bench), peer, command, bench.proxy, directory);
    });
    return { streams: results };
  },
  async memory(bench, peers) {
    const results = await each(bench, peers, 'memory', (peer) => {
      const { directory, command } = withStreams(bench, peer, 'memory');
      return measureMemory(streamBed(bench), peer, command, bench.proxy, directory);
    });
    return { memory: results };
  },
  async telemetry(bench, peers) {
    const baseline = await measureBaseline(bench.bed, effortOf(bench));
    const sink = await startTelemetrySink(bench);
    const pairs = await each(bench, peers, 'telemetry, pairs', (peer) =>
      measureRates(bench, bench.bed, baseline, peer, 'telemetry', sink.addresses),
    );
    await sink.stop();
    return { telemetry: { pairs, sink: sink.counts() } };
  },
  async checks(bench) {
    // Calls are made once a minute: the starts of two lie between.
    return { checks: await measureChecks(bench.settings.quick ? 70 : 190) };
  },
};

/** Beside the load: what an agent tells must not cost the core that is measured more than the telling. */
async function startTelemetrySink({ bed, directory }: Bench) {
  const [hep, http] = await freeAddresses('127.0.0.1', '127.0.0.1');
  const file = join(directory, 'telemetry.json');
  const script = join(import.meta.dirname, 'telemetry-sink.ts');
  const command = [process.execPath, script, hep.address, String(hep.port), String(http.port), file];
  const running = start(bed.cores.load, command);
  return {
    addresses: { telemetry: { hep, http } },
    stop: () => running.stop(),
    counts: () => JSON.parse(readFileSync(file, 'utf8')) as SinkCounts,
  };
}

/** As a process of its own, so that its CPU time is of the checks alone. */
async function measureChecks(seconds: number): Promise<ChecksResult> {
  console.error(`Measuring health checks: ${seconds} s …`);
  const script = join(import.meta.dirname, 'checks.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [script, '--json', '--seconds', String(seconds)]);
  return JSON.parse(stdout) as ChecksResult;
}

async function each<R>(
  { failures }: Bench,
  peers: Peer[],
  what: string,
  measure: (peer: Peer) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  for (const peer of peers) {
    console.error(`Measuring ${peer.title}: ${what} …`);
    try {
      results.push(await measure(peer));
    } catch (error) {
      // Kamailio has been seen to crash under the load of streams: what was measured before is not lost for it. A failure of ours is one.
      if (peer.ours) throw error;
      const [why] = (error as Error).message.split('\n') as [string];
      console.error(`  ${why}`);
      failures.push(`${what}: ${why}`);
    }
  }
  return results;
}

function measureRates(
  bench: Bench,
  bed: Bed,
  baseline: Baseline,
  peer: Peer,
  section: Section,
  extra: Pick<Site, 'telemetry'> = {},
): Promise<Result> {
  const directory = directoryOf(bench.directory, peer, section);
  return measure(
    bed,
    baseline,
    effortOf(bench),
    peer,
    commandOf(bench, peer, directory, extra),
    bench.proxy,
    directory,
  );
}

const streamBed = ({ bed, programs, streams: { tcp, tls } }: Bench) => ({
  bed,
  program: programs['stream-blast'],
  tcp,
  tls,
});

function withStreams(bench: Bench, peer: Peer, section: Section): { directory: string; command: string[] } {
  const directory = directoryOf(bench.directory, peer, section);
  return { directory, command: commandOf(bench, peer, directory, { streams: bench.streams }) };
}

/** Loads one agent at a steady rate under V8's profiler, and prints where its threads spent their time. */
async function profile(bench: Bench): Promise<void> {
  const rate = count('--rate', bench.settings.rate) ?? PROFILED_RATE;
  for (const peer of chosen(bench.settings)) {
    const directory = directoryOf(bench.directory, peer, 'profile');
    const profiles = mkdtempSync(join(tmpdir(), 'sipfleet-profile-'));
    const agent = start([bench.bed.cores.proxy], commandOf(bench, peer, directory, { profiles }), directory);
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
