import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { divideCores, machine } from '../bench/machine.ts';
import { cpuSeconds, type Running, start, stopAll } from '../bench/processes.ts';
import { Api } from './api.ts';
import { bytesOf } from './connection.ts';
import { measureCost } from './cost.ts';
import { farmOn } from './farm.ts';
import { Fleet, siteName } from './fleet.ts';
import { costSection, fleetSection, type IdleHour, recordTo, type ScaleResult } from './report.ts';

const USAGE = `npm run scale [-- options]
  Simulated agents over real HTTP and WebSocket against one control plane process on one core, without TLS; then the cost of each
  operation on DynamoDB Local, by the capacity that it says it used.

  --agents N    default 10000
  --sites N     default 500
  --changes N   changes to be followed to every agent, default 5
  --idle S      seconds without a change, for requests and bytes; default 120
  --http        reports and snapshots by HTTP, as against a control plane that takes none over push sockets
  --skip-cost   without DynamoDB Local
  --skip-fleet  only the cost
  --record      write docs/cost.md
  --profile DIR have the control plane write a CPU profile

  npm run scale -- --agents 500 --sites 25 --idle 60`;

const { values } = parseArgs({
  options: {
    agents: { type: 'string', default: '10000' },
    sites: { type: 'string', default: '500' },
    changes: { type: 'string', default: '5' },
    idle: { type: 'string', default: '120' },
    http: { type: 'boolean', default: false },
    'skip-cost': { type: 'boolean', default: false },
    'skip-fleet': { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const log = (text: string): void => void process.stderr.write(`${text}\n`);

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

async function answering(port: number, running: Running): Promise<void> {
  const health = async (): Promise<void> => {
    for (;;) {
      const answer = await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => undefined);
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await Promise.race([health(), running.failed]);
}

async function measureFleet(agents: number, siteCount: number, data: string): Promise<ScaleResult> {
  const { proxy: core, load } = divideCores(undefined);
  execFileSync('taskset', ['-cp', load.join(','), String(process.pid)], { stdio: 'ignore' });
  const port = await freePort();
  const profile = values.profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', values.profile];
  const command = [process.execPath, ...profile, 'control-plane/src/cli/main.ts', 'control-plane'];
  // One operator has ten thousand agents join as fast as they can.
  const options = ['--http', `127.0.0.1:${port}`, '--data', data, '--limit-operator', 'off'];
  const launch = () => start([core], [...command, ...options]);
  let plane = launch();
  await answering(port, plane);
  const api = new Api(port, (await readFile(join(data, 'token'), 'utf8')).trim());
  const sites = Array.from({ length: siteCount }, (_, i) => siteName(i));
  for (const name of sites) await api.put(`/v1/sites/${name}`, { kind: 'Site', name });
  let { revision } = await api.put<{ revision: number }>('/v1/farms/pbx', farmOn(sites, 1));
  const fleet = await Fleet.enrol(api, { count: agents, sites: siteCount, overSocket: !values.http }, log);
  try {
    const connect = await fleet.start(agents * 2);
    log(`all connected: ${JSON.stringify(connect)}`);

    const idle = await idleHour(fleet, agents, Number(values.idle), plane.pid);
    log(`idle: ${JSON.stringify(idle)}`);
    const changes: ScaleResult['changes'] = [];
    for (let i = 0; i < Number(values.changes); i++) {
      const [cpu, own] = [cpuSeconds(plane.pid), process.cpuUsage()];
      const followed = await fleet.follow(async () => {
        ({ revision } = await api.put<{ revision: number }>('/v1/farms/pbx', farmOn(sites, 2 + i), revision));
        return revision;
      });
      const { user, system } = process.cpuUsage(own);
      changes.push({
        ...followed,
        cpuSeconds: cpuSeconds(plane.pid) - cpu,
        agentsCpuSeconds: (user + system) / 1e6,
      });
      log(`change ${i + 1}: ${JSON.stringify(changes.at(-1))}`);
      await new Promise((resolve) => setTimeout(resolve, 5000));
    }

    log('killing the control plane');
    // A profile is written at an orderly end alone.
    if (values.profile !== undefined) await plane.stop();
    else process.kill(plane.pid, 'SIGKILL');
    plane = launch();
    const back = await fleet.comeBack();
    log(`back: ${JSON.stringify(back)}`);
    return {
      machine: machine(),
      agents,
      sites: siteCount,
      connect,
      idle,
      changes,
      back,
      failures: [...fleet.failures],
    };
  } finally {
    fleet.close();
    await plane.stop();
  }
}

/** What an agent does in an hour without a change, from what all did in some seconds. */
async function idleHour(fleet: Fleet, agents: number, seconds: number, pid: number): Promise<IdleHour> {
  const { traffic } = fleet;
  const before = { ...traffic, ...bytesOf(traffic) };
  const cpu = cpuSeconds(pid);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const perHour = (count: number): number => (count / agents / seconds) * 3600;
  const after = bytesOf(traffic);
  return {
    requests: perHour(traffic.requests - before.requests),
    exchanges: perHour(traffic.exchanges - before.exchanges),
    bytesSent: perHour(after.sent - before.sent),
    bytesReceived: perHour(after.received - before.received),
    cpuShare: (cpuSeconds(pid) - cpu) / seconds,
  };
}

async function main(): Promise<void> {
  if (values.help) return console.log(USAGE);
  const page = join(import.meta.dirname, '../../docs/cost.md');
  const show = (section: 'fleet' | 'cost', text: string): void => {
    console.log(`\n${text}`);
    if (values.record) recordTo(page, section, text);
  };
  const data = await mkdtemp(join(tmpdir(), 'sipfleet-scale-'));
  try {
    if (!values['skip-cost']) show('cost', costSection(await measureCost()));
    if (!values['skip-fleet'])
      show('fleet', fleetSection(await measureFleet(Number(values.agents), Number(values.sites), data)));
  } finally {
    await stopAll();
    await rm(data, { recursive: true, force: true });
  }
}

await main();
