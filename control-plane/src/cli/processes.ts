import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { logOptions } from '@sipfleet/contract';
import { type Logger, pino } from 'pino';
import type { ControlPlane, ControlPlaneOptions } from '../server.ts';
import { type AccessFlags, accessOf } from './access-options.ts';
import { CliError, EXIT, type Io } from './io.ts';
import { type LimitFlags, limitsOf } from './limit-options.ts';
import type { HostPort } from './ports.ts';
import type { Launchers } from './program.ts';
import { type UpOptions, up } from './up.ts';

/** The agent's entry; it is run, never imported: the control plane does not depend on it. */
export const agentModule = (): string => fileURLToPath(import.meta.resolve('@sipfleet/edge-agent/src/main.ts'));

/** Loaded when a server is asked for: the stores bring an SDK along that would slow down every other command. */
const startControlPlane = async (options: ControlPlaneOptions): Promise<ControlPlane> =>
  (await import('../server.ts')).startControlPlane(options);

/** What `sipfleet-agent` gives to Node as well: the collector's helper threads would take the core from the data threads. */
const AGENT_FLAGS = ['--single-threaded-gc'] as const;

/** The commands that keep running until SIGINT or SIGTERM; they end with exit code 0 then. */
export function processLaunchers(io: Io): Launchers {
  return {
    up: (options: UpOptions) =>
      up(options, { io, stop: stopSignal(), startControlPlane, agent: { module: agentModule(), node: AGENT_FLAGS } }),
    agent: runAgent,
    controlPlane: (options: ControlPlaneFlags) => runControlPlane(options, io),
  };
}

/** Aborted by the first SIGINT or SIGTERM. A second one ends the process at once, for who cannot wait. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      if (controller.signal.aborted && signal === 'SIGTERM') process.exit(EXIT.error);
      controller.abort();
    });
  return controller.signal;
}

/** Runs the agent in the foreground with its own command line; its exit code is ours. */
async function runAgent(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [...AGENT_FLAGS, agentModule(), ...args], { stdio: 'inherit' });
  // A terminal sends Ctrl-C to the child as well, which takes it twice; `kill` and supervisors send signals to us alone.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? EXIT.error;
}

export interface ControlPlaneFlags extends AccessFlags, LimitFlags {
  http: HostPort;
  data: string;
  store: 'sqlite' | 'dynamodb';
  table: string;
  endpoint?: string;
  region?: string;
  kmsKey?: string;
  kmsEndpoint?: string;
}

async function runControlPlane(flags: ControlPlaneFlags, io: Io): Promise<number> {
  const stop = stopSignal();
  const dataDir = resolve(io.cwd, flags.data);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const controlPlane = await startOrExplain({
    http: flags.http,
    store: storeOf(flags, dataDir),
    dataDir,
    ...kmsOf(flags),
    ...accessOf(flags),
    ...limitsOf(flags),
    logger: pino(logOptions()),
  });
  if (controlPlane.created)
    io.out(`API token (shown once, kept in ${join(flags.data, 'token')}): ${controlPlane.adminToken}\n`);
  if (!stop.aborted) await once(stop, 'abort');
  await controlPlane.close();
  return EXIT.ok;
}

function storeOf(flags: ControlPlaneFlags, dataDir: string): ControlPlaneOptions['store'] {
  const { table, endpoint, region } = flags;
  if (flags.store === 'sqlite') return { kind: 'sqlite', file: join(dataDir, 'control-plane.db') };
  return { kind: 'dynamodb', table, ...(endpoint ? { endpoint } : {}), ...(region ? { region } : {}) };
}

function kmsOf({ kmsKey, kmsEndpoint, region }: ControlPlaneFlags): Pick<ControlPlaneOptions, 'kms'> {
  if (kmsKey === undefined) return {};
  const where = { ...(region ? { region } : {}), ...(kmsEndpoint ? { endpoint: kmsEndpoint } : {}) };
  return { kms: { keyId: kmsKey, ...where } };
}

async function startOrExplain(options: ControlPlaneOptions & { logger: Logger }): Promise<ControlPlane> {
  try {
    return await startControlPlane(options);
  } catch (error) {
    throw new CliError((error as Error).message, { cause: error });
  }
}
