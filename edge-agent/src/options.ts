import { createHash } from 'node:crypto';
import { availableParallelism, hostname, networkInterfaces } from 'node:os';
import { type PeerAgent, parseHostPort, parseIP, resourceName } from '@sipfleet/contract';
import { Command, InvalidArgumentError, Option } from 'commander';
import { AgentError } from './errors.ts';
import { addHepOptions, type HepFlags, type HepOptions, hepOptionsOf } from './hep-options.ts';
import { baseUrl } from './link/client.ts';
import type { WorkerStart } from './ports.ts';
import { addPushOptions, type PushFlags, pushOptionsOf } from './push-options.ts';
import { addRecorderOptions, type RecorderFlags } from './recorder-options.ts';
import type { PushOptions, TracePushOptions } from './telemetry/push/pushes.ts';
import { addTraceOptions, type TraceFlags, traceOptionsOf } from './trace-options.ts';

/** How an agent was asked to run. Checked once here, trusted from then on. */
export interface AgentOptions {
  readonly source:
    | {
        readonly kind: 'file';
        readonly path: string;
        /** JSON `{ name: { key: value } }`. */
        readonly secrets: string | undefined;
        /** Names this agent inside tokens. */
        readonly number: number;
        /** The other agents of the site. */
        readonly peers: readonly PeerAgent[];
      }
    | {
        readonly kind: 'control-plane';
        readonly base: URL;
        readonly joinToken: string | undefined;
        /** The AWS region whose STS vouches for this instance's role; undefined: it joins by token. */
        readonly iamRegion: string | undefined;
        readonly iamAudience: string;
      };
  readonly data: string;
  readonly name: string;
  /** Address of listeners that name none. */
  readonly address: string;
  readonly workers: number;
  readonly admin: { readonly host: string; readonly port: number };
  readonly datapath: WorkerStart['datapath'];
  readonly warmUp: boolean;
  readonly logLevel: string;
  readonly recorder: RecorderFlags;
  /** Undefined: metrics are not pushed. */
  readonly push: PushOptions | undefined;
  /** Undefined: nothing is sent to a HEP server. */
  readonly hep: HepOptions | undefined;
  /** Undefined: traces are not pushed. */
  readonly traces: TracePushOptions | undefined;
}

interface Flags extends PushFlags, RecorderFlags, TraceFlags, HepFlags {
  controlPlane?: URL;
  joinToken?: string;
  iamJoin?: string;
  iamAudience: string;
  snapshot?: string;
  secrets?: string;
  data: string;
  name: string;
  number?: number;
  peer?: PeerAgent[];
  address: string;
  workers: number;
  admin: { host: string; port: number };
  datapath: WorkerStart['datapath'];
  warmUp: boolean;
  logLevel: string;
}

const EXAMPLES = `
Examples:
  Join a fleet; from the second start on the identity in --data is enough:
    $ sipfleet-agent --control-plane https://sipfleet.example.com --join-token sfj_...
  Join by the role of an EC2 instance, without a token:
    $ sipfleet-agent --control-plane https://sipfleet.example.com --iam-join eu-south-1
  Run one snapshot file without a control plane; SIGHUP reads it again:
    $ sipfleet-agent --snapshot farm.json --address 192.0.2.10
  Push metrics as well, to a collector and to Prometheus:
    $ sipfleet-agent --control-plane https://sipfleet.example.com \\
        --otlp-metrics http://collector:4318/v1/metrics --remote-write http://prometheus:9090/api/v1/write
`;

/** Reads a command line. A wrong one ends the process with one line on stderr, as commander does; a wrong combination throws AgentError USAGE. */
export function parseOptions(argv: readonly string[], version: string): AgentOptions {
  const command = new Command('sipfleet-agent')
    .description('SIP edge agent of a Sipfleet fleet')
    .version(version)
    .option('--control-plane <url>', 'where the control plane is', httpUrl)
    .addOption(new Option('--join-token <token>', 'one-time token for the first start').env('SIPFLEET_JOIN_TOKEN'))
    .addOption(
      new Option(
        '--iam-join <region>',
        'instead of a token, for the first start: by the AWS role of this instance',
      ).argParser(region),
    )
    .option('--iam-audience <name>', 'with --iam-join: as the control plane has it', 'sipfleet')
    .option('--snapshot <file>', 'run this snapshot (JSON) without a control plane')
    .option('--secrets <file>', 'values of the Secrets that --snapshot names (JSON: {name: {key: value}})')
    .option('--data <dir>', 'where identity and last known good snapshots are kept', './var/agent')
    .option('--name <name>', 'name of this agent', named, nameOf(hostname()))
    .option(
      '--number <n>',
      'number of this agent inside tokens, with --snapshot (default: made from the name)',
      integer(1, 65_535),
    )
    .option(
      '--peer <number=ip>',
      'another agent of the site and its own address, with --snapshot; as often as there are others',
      peer,
    )
    .option('--address <ip>', 'own address, for listeners that name none', ip, ownAddress())
    .option('--workers <n>', 'data threads', integer(1, 16), Math.min(16, Math.max(1, availableParallelism() - 1)))
    .addOption(
      new Option('--admin <host:port>', 'where /metrics, /ready and /v1/status are served')
        .argParser(hostPort)
        .default({ host: '127.0.0.1', port: 8081 }, '127.0.0.1:8081'),
    )
    .addOption(
      new Option('--datapath <kind>', 'how UDP sockets are read').choices(['auto', 'ffi', 'dgram']).default('auto'),
    )
    .option(
      '--no-warm-up',
      'serve at once, without having played calls through the data threads: the first ones are slower',
    )
    .addOption(
      new Option('--log-level <level>', 'least level that is logged')
        .choices(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
        .default('info'),
    )
    .addHelpText('after', EXAMPLES)
    .allowExcessArguments(false);
  addPushOptions(command);
  addRecorderOptions(command);
  addHepOptions(command);
  addTraceOptions(command);
  const flags = command.parse([...argv], { from: 'user' }).opts<Flags>();
  const { data, name, address, workers, admin, datapath, warmUp, logLevel } = flags;
  const push = pushOptionsOf(flags);
  const { recorderMemory, recorderHide, recorderHashUsers, recorderKey, recorderSample, recorderSlow } = flags;
  const recorder = {
    recorderMemory,
    recorderHide,
    recorderHashUsers,
    recorderSample,
    recorderSlow,
    ...(recorderKey && { recorderKey }),
  };
  if (recorderHashUsers && !recorderKey)
    throw new AgentError(
      'USAGE',
      '--recorder-hash-users: found no key; allowed: any secret text in SIPFLEET_RECORDER_KEY, the same on every agent',
    );
  return Object.freeze({
    source: sourceOf(flags),
    data,
    name,
    address,
    workers,
    admin,
    datapath,
    warmUp,
    logLevel,
    push,
    traces: traceOptionsOf(flags),
    recorder,
    hep: hepOptionsOf(flags, flags),
  });
}

function sourceOf({
  controlPlane,
  joinToken,
  iamJoin: iamRegion,
  iamAudience,
  snapshot,
  secrets,
  number,
  peer: peers = [],
  name,
}: Flags): AgentOptions['source'] {
  if (controlPlane && snapshot !== undefined)
    throw new AgentError('USAGE', '--control-plane and --snapshot exclude each other: give one of them');
  if (controlPlane && secrets !== undefined)
    throw new AgentError('USAGE', '--secrets goes with --snapshot: a control plane sends its own');
  if (controlPlane && peers.length > 0)
    throw new AgentError('USAGE', '--peer goes with --snapshot: a control plane tells who is there');
  if (joinToken !== undefined && iamRegion !== undefined)
    throw new AgentError('USAGE', '--join-token and --iam-join exclude each other: give one of them');
  if (controlPlane) return { kind: 'control-plane', base: controlPlane, joinToken, iamRegion, iamAudience };
  if (snapshot !== undefined) return { kind: 'file', path: snapshot, secrets, number: number ?? numberOf(name), peers };
  throw new AgentError('USAGE', 'nothing to run: give --control-plane URL or --snapshot FILE (see --help)');
}

function httpUrl(text: string): URL {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw new InvalidArgumentError('Allowed: an http or https URL, such as https://sipfleet.example.com.');
  return baseUrl(text);
}

function region(text: string): string {
  if (!/^[a-z]{2}(-[a-z]+)+-\d$/.test(text))
    throw new InvalidArgumentError('Allowed: an AWS region, such as eu-south-1.');
  return text;
}

function named(text: string): string {
  const result = resourceName.safeParse(text);
  if (!result.success) throw new InvalidArgumentError(`Allowed: ${result.error.issues[0]?.message}.`);
  return text;
}

function ip(text: string): string {
  if (!parseIP(text)) throw new InvalidArgumentError('Allowed: an IPv4 or IPv6 address.');
  return text;
}

/** `2=10.0.0.22`, added to those before it. */
function peer(text: string, before: readonly PeerAgent[] = []): PeerAgent[] {
  const [, number, address = ''] = /^(\d{1,5})=(.+)$/.exec(text) ?? [];
  if (!parseIP(address) || Number(number) < 1 || Number(number) > 65_535)
    throw new InvalidArgumentError('Allowed: NUMBER=IP, such as 2=10.0.0.22.');
  return [...before, { number: Number(number), address }];
}

function hostPort(text: string): { host: string; port: number } {
  const parsed = parseHostPort(text);
  if (!parsed) throw new InvalidArgumentError('Allowed: HOST:PORT, such as 127.0.0.1:8081 or [::1]:0.');
  return parsed;
}

const integer =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d{1,6}$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`Allowed: a whole number from ${min} to ${max}.`);
    return value;
  };

/** A host name as a resource name: `Edge_1.example.com` → `edge-1-example-com`. */
export function nameOf(host: string): string {
  const name = host
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '');
  return name === '' ? 'agent' : name;
}

/** Without a control plane nobody hands out numbers: two agents of different names get different ones, as good as always. */
function numberOf(name: string): number {
  return (createHash('sha256').update(name).digest().readUInt32BE() % 65_535) + 1;
}

function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.find((a) => a.family === 'IPv4' && !a.internal)?.address ?? '127.0.0.1';
}
