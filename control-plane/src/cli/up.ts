import { mkdir, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { logOptions } from '@sipfleet/contract';
import { pino } from 'pino';
import type { AgentView } from '../api.ts';
import { type Client, createClient } from '../client.ts';
import { makePlan, write } from './apply.ts';
import { banner } from './banner.ts';
import { Children } from './children.ts';
import { readDocuments, type SourceDocument } from './documents.ts';
import { CliError, colorsFor, EXIT, type Io } from './io.ts';
import { checkPort, formatHostPort, freePort, type HostPort } from './ports.ts';
import { DEMO, placeQuickstart, QUICKSTART, readQuickstart } from './quickstart.ts';

export interface UpOptions {
  sip: HostPort;
  http: HostPort;
  admin?: HostPort;
  data: string;
  file?: string[];
  /** Calls per second. */
  traffic?: number;
  workers: number;
}

interface ControlPlaneHandle {
  url: string;
  port: number;
  adminToken: string;
  close(): Promise<void>;
}

export interface UpDeps {
  io: Io;
  /** Aborted when the user wants it to end. */
  stop: AbortSignal;
  startControlPlane(options: {
    http: HostPort;
    store: { kind: 'sqlite'; file: string };
    dataDir: string;
    logger: ReturnType<typeof pino>;
  }): Promise<ControlPlaneHandle>;
  /** The agent's entry, to be run as a process, with options of Node itself. */
  agent: { module: string; node: readonly string[] };
}

/** How long backends may take to come up before we say so and go on, in milliseconds. */
const BACKENDS_MS = 15_000;

/** What the agent's `/v1/status` holds, as far as it is read here. */
export interface AgentStatus {
  listeners: { farm: string; transport: string; address: string; port: number }[];
  backends: { farm: string; backend: string; state: string; reason: string }[];
}

/** What runs, for the banner. */
export interface Running {
  options: UpOptions;
  url: string;
  admin: HostPort;
  status: AgentStatus;
}

/**
 * `sipfleet up`: everything on one machine until `stop`. What can be checked is checked before anything is started;
 * whatever goes wrong later ends all of it.
 */
export async function up(asked: UpOptions, deps: UpDeps): Promise<number> {
  const { io, stop } = deps;
  const documents = await (asked.file ? readDocuments(asked.file, io) : readQuickstart(io));
  const data = resolve(io.cwd, asked.data);
  const identity = await readIdentity(data);
  const site = siteOf(documents, identity, data);
  const options = await settle({ ...asked, data }, documents, site);
  const stack = new AsyncDisposableStack();
  const children = new Children();
  const ended = new Promise<never>((_, reject) => stop.addEventListener('abort', () => reject(new Stopped())));
  ended.catch(() => {});
  try {
    const work = start(options, documents, site, identity, deps, children, stack);
    await Promise.race([work, children.ended, ended]);
    await Promise.race([children.ended, ended]);
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    io.out('\nStopping.\n');
  } finally {
    await children.stop();
    await stack.disposeAsync();
  }
  return EXIT.ok;
}

/** The user said stop: no error. */
class Stopped extends Error {}

/** Ports for those that are left to us, and a look at every port that will be needed. */
async function settle(asked: UpOptions, documents: readonly SourceDocument[], site: string): Promise<UpOptions> {
  if (asked.file && asked.traffic)
    throw new CliError('--traffic calls the demo PBXs, which -f leaves out: give one of the two');
  const { http } = asked;
  const admin = asked.admin ?? { host: http.host, port: http.port === 0 ? 0 : http.port + 1 };
  if (asked.file) {
    // An address that this machine does not have (yet) is no fault: a virtual one comes later.
    for (const [transport, at] of socketsOf(documents, site, asked.sip.host))
      await checkPort(transport, at, '-f', ['EADDRNOTAVAIL']);
  }
  const sip = asked.file || asked.sip.port !== 0 ? asked.sip : await freePort(asked.sip.host, '--sip');
  if (!asked.file) for (const transport of ['udp', 'tcp'] as const) await checkPort(transport, sip, '--sip');
  if (http.port !== 0) await checkPort('tcp', http, '--http');
  if (admin.port !== 0) await checkPort('tcp', admin, '--admin');
  return { ...asked, sip, admin };
}

function* socketsOf(
  documents: readonly SourceDocument[],
  site: string,
  ownAddress: string,
): Generator<['udp' | 'tcp', HostPort]> {
  for (const { resource } of documents)
    if (resource.kind === 'Farm' && resource.sites.includes(site))
      // Everything but UDP is carried by TCP.
      for (const { transport, address, port } of resource.listeners)
        yield [transport === 'udp' ? 'udp' : 'tcp', { host: address ?? ownAddress, port }];
}

/** DATA/agent/identity.json, which the agent writes when it joins. */
interface Identity {
  agentId: string;
  site: string;
}

async function readIdentity(data: string): Promise<Identity | undefined> {
  try {
    const file = await readFile(join(data, 'agent', 'identity.json'), 'utf8');
    return (JSON.parse(file) as { agent?: Identity }).agent;
  } catch {
    // Not joined yet; a damaged file the agent itself refuses by name.
    return undefined;
  }
}

/** The site that the agent joins: the one it belongs to already, else the first that a farm is for. */
function siteOf(documents: readonly SourceDocument[], identity: Identity | undefined, data: string): string {
  const farms = documents.map((d) => d.resource).filter((r) => r.kind === 'Farm');
  const sites = farms.length > 0 ? farms.flatMap((f) => f.sites) : documents.map((d) => d.resource.name);
  const [first] = sites;
  if (first === undefined) throw new CliError('nothing to run: no site and no farm');
  if (identity === undefined) return first;
  if (sites.includes(identity.site)) return identity.site;
  throw new CliError(
    `the agent in ${join(data, 'agent')} belongs to site ${identity.site}; allowed: a farm for that site, or another --data (found: ${sites.join(', ')})`,
  );
}

async function start(
  options: UpOptions,
  documents: readonly SourceDocument[],
  site: string,
  identity: Identity | undefined,
  deps: UpDeps,
  children: Children,
  stack: AsyncDisposableStack,
): Promise<void> {
  const { io } = deps;
  const logDir = join(options.data, 'log');
  await mkdir(logDir, { recursive: true, mode: 0o700 }).catch((cause: Error) => {
    throw new CliError(`--data: ${cause.message}`, { cause });
  });
  const controlPlane = await startPlane(options, logDir, deps, stack);
  const client = createClient({ url: controlPlane.url, token: controlPlane.adminToken });
  const placed = options.file
    ? documents
    : placeQuickstart(documents, options.sip, await startPbxs(options, logDir, children));
  await applyFarms(client, placed, options);
  const ready = await startAgent(
    options,
    site,
    await knownTo(client, identity, options),
    { client, url: controlPlane.url, logDir, ...deps.agent },
    children,
  );
  const status = await waitForBackends(client, options.data, ready.admin);
  io.out(banner({ options, url: controlPlane.url, admin: ready.admin, status }, io.cwd, colorsFor(io)));
  if (options.traffic) await startTraffic(options, logDir, children, io);
}

async function startPlane(options: UpOptions, logDir: string, deps: UpDeps, stack: AsyncDisposableStack) {
  const destination = pino.destination({ dest: join(logDir, 'control-plane.log'), append: true, sync: true });
  stack.defer(() => destination.end());
  try {
    const controlPlane = await deps.startControlPlane({
      http: options.http,
      store: { kind: 'sqlite', file: join(options.data, 'control-plane.db') },
      dataDir: options.data,
      logger: pino(logOptions(), destination),
    });
    stack.defer(() => controlPlane.close());
    return controlPlane;
  } catch (error) {
    throw new CliError((error as Error).message, { cause: error });
  }
}

/** Where the demo PBXs would like to be: the same at every start, so that the farm stays the same. */
const PBX_PORTS = [5071, 5072];

async function startPbxs({ sip }: UpOptions, logDir: string, children: Children): Promise<HostPort[]> {
  const host = sip.host.includes(':') ? '[::1]' : '127.0.0.1';
  const { pbxs } = await children.start<{ pbxs: HostPort[] }>({
    name: 'the demo PBX process',
    module: DEMO.pbx,
    args: [
      ...PBX_PORTS.flatMap((port) => ['--listen', `${host}:${port}`]),
      ...['--any-port', '--media', sip.host],
      // Some phones (baresip 1.0) give up at the sight of any other challenge beside MD5's, and a first call must be easy.
      ...['--digest', 'MD5'],
    ],
    logDir,
    logName: 'demo-pbx',
  });
  return pbxs;
}

/** Writes the farms; own farms take the place of the quickstart, whose PBXs do not run then. */
async function applyFarms(client: Client, documents: readonly SourceDocument[], options: UpOptions): Promise<void> {
  const own = documents.some(({ resource }) => resource.kind === 'Farm' && resource.name === QUICKSTART.farm);
  const left = options.file && !own ? await client.getResource('Farm', QUICKSTART.farm) : undefined;
  if (left) await client.deleteResource('Farm', QUICKSTART.farm, left.revision);
  await write(client, (await makePlan(client, documents, false)).changes);
}

/** Undefined where the agent has to join: it never did, or the control plane's data were thrown away since. */
async function knownTo(
  client: Client,
  identity: Identity | undefined,
  { data }: UpOptions,
): Promise<Identity | undefined> {
  if (!identity || (await client.listAgents()).some((a) => a.agentId === identity.agentId)) return identity;
  await rm(join(data, 'agent'), { recursive: true });
  return undefined;
}

async function startAgent(
  { data, sip, workers, admin }: UpOptions,
  site: string,
  identity: Identity | undefined,
  to: { client: Client; url: string; logDir: string } & UpDeps['agent'],
  children: Children,
): Promise<{ admin: HostPort }> {
  const joinToken = identity ? '' : (await to.client.createJoinToken(site, '10m')).token;
  return children.start<{ admin: HostPort }>({
    name: 'the agent',
    module: to.module,
    node: to.node,
    env: joinToken ? { SIPFLEET_JOIN_TOKEN: joinToken } : {},
    args: [
      ...['--control-plane', to.url, '--data', join(data, 'agent'), '--name', 'local'],
      ...['--address', sip.host, '--workers', String(workers), '--admin', formatHostPort(admin as HostPort)],
    ],
    logDir: to.logDir,
    logName: 'agent',
  });
}

/**
 * The agent's status once it runs what it should and all backends are up, or, after a while, as it is then.
 * What the control plane heard counts, so that `sipfleet status` says the same from the first moment on.
 */
async function waitForBackends(client: Client, data: string, admin: HostPort): Promise<AgentStatus> {
  const agentId = (await readIdentity(data))?.agentId;
  const deadline = performance.now() + BACKENDS_MS;
  for (;;) {
    const agent = (await client.listAgents()).find((a) => a.agentId === agentId);
    const current = agent !== undefined && runsTarget(agent);
    const late = performance.now() > deadline;
    if (late && !current)
      throw new CliError('the agent does not run the configuration that it should; its log says why');
    if (late || (current && agent.backends.every((b) => b.state === 'up'))) {
      const response = await fetch(`http://${formatHostPort(admin)}/v1/status`);
      return (await response.json()) as AgentStatus;
    }
    await sleep(100);
  }
}

/** Throws {@link CliError} with the agent's reason where it refused the configuration. */
function runsTarget({ snapshot, target }: AgentView): boolean {
  if (snapshot?.running === target.etag) return true;
  if (snapshot?.status === 'FAILED' && snapshot.etag === target.etag)
    throw new CliError(`the agent refused the configuration: ${snapshot.reason ?? 'no reason given'}`);
  return false;
}

async function startTraffic({ sip, traffic }: UpOptions, logDir: string, children: Children, io: Io): Promise<void> {
  await children.start({
    name: 'the traffic generator',
    module: DEMO.traffic,
    args: ['--to', formatHostPort(sip), '--rate', String(traffic)],
    logDir,
    logName: 'traffic',
    onLine: (line) => io.out(`${line}\n`),
  });
}
