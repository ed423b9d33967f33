import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Farm, type FarmInput, Snapshot } from '@sipfleet/contract';
import type { TransportName } from '../../edge-agent/src/ports.ts';
import type { Host } from '../netns/host.ts';
import { type Process, started } from '../netns/process.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'edge-agent', 'src', 'main.ts');

/** Signs the tokens of every test farm, all agents of a farm sharing its keys. Of several farms each has a key of its own, by its place. */
const tokenKey = (place: number) => ({ id: 1, key: `${String(place).padStart(2, '0')}112233445566778899aabbccddeeff` });

/** A farm, or several, as the control plane would hand them to an agent. */
export function snapshotOf(farms: FarmInput | readonly FarmInput[], generation = 1): Snapshot {
  const all = [farms].flat() as FarmInput[];
  return Snapshot.parse({
    format: 1,
    site: all[0]?.sites[0],
    generation,
    farms: all.map((farm, i) => ({ spec: Farm.parse(farm), revision: generation, tokenKeys: [tokenKey(i)] })),
  });
}

interface Common {
  host: Host;
  workers: number;
  /** Two agents of one farm need different names. */
  name?: string;
  datapath?: 'auto' | 'ffi' | 'dgram';
  /** Calls are played through it before it serves, as by default outside of tests: that takes a second or two. */
  warmUp?: boolean;
  /** Further options, as on its command line. */
  more?: readonly string[];
}

/** Run from a snapshot file. */
export interface AgentOptions extends Common {
  farm: FarmInput | readonly FarmInput[];
  /** Values of the Secrets that it names. */
  secrets?: SecretValues;
  /** Names it inside tokens; left out: made from its name. */
  number?: number;
  /** The other agents of its site, as `2=10.0.0.22`. */
  peers?: readonly string[];
}

export type SecretValues = Record<string, Readonly<Record<string, string>>>;

/** Joined to a control plane; without a token from what `data` holds of an earlier start. */
export interface JoinedAgentOptions extends Common {
  controlPlane: string;
  joinToken?: string;
  data: string;
}

interface ReadyLine {
  admin: { host: string; port: number };
  listeners: { transport: string; address: string; port: number }[];
}

/** An edge agent as an operator starts it, run from a snapshot file. */
export class Agent {
  readonly process: Process;
  readonly #host: Host;
  readonly #directory: string;
  #ready: ReadyLine | undefined;
  #generation = 1;

  private constructor(options: AgentOptions | JoinedAgentOptions) {
    this.#host = options.host;
    this.#directory = mkdtempSync(join(tmpdir(), 'sipfleet-agent-'));
    this.process = options.host.spawn(process.execPath, [
      MAIN,
      ...('farm' in options ? this.#fromFile(options) : fromControlPlane(options)),
      ...['--name', options.name ?? 'edge', '--workers', String(options.workers)],
      ...['--admin', '127.0.0.1:0', '--datapath', options.datapath ?? 'auto', '--address', options.host.ipv4],
      ...(options.warmUp ? [] : ['--no-warm-up']),
      ...(options.more ?? []),
    ]);
  }

  /** Resolves once it serves. */
  static async start(options: AgentOptions | JoinedAgentOptions): Promise<Agent> {
    const agent = new Agent(options);
    return started(agent, agent.#serves());
  }

  /** The port that a listener is really bound to. */
  port(transport: TransportName): number {
    const listener = this.#ready?.listeners.find((l) => l.transport === transport);
    if (!listener) throw new Error(`the agent has no ${transport} listener`);
    return listener.port;
  }

  /** Gives it another farm, and other Secrets where given. Resolves once that is in effect. */
  async reload(farm: FarmInput, secrets?: SecretValues): Promise<void> {
    this.#generation++;
    this.writeFiles(farm, secrets);
    const from = this.process.output.length;
    this.process.signal('SIGHUP');
    await this.process.sees(/"msg":"snapshot applied"/, { from });
  }

  /** Resolves when health checks have brought a backend into a state. */
  async backendBecomes(backend: string, state: 'up' | 'down', { from = 0 } = {}): Promise<void> {
    await this.process.sees(new RegExp(`^\\{.*"backend":"${backend}".*"msg":"backend ${state}"`, 'm'), { from });
  }

  /** Where its local HTTP answers, for who is on the same machine: `127.0.0.1:40000`. */
  get admin(): string {
    const { host, port } = (this.#ready as ReadyLine).admin;
    return `${host}:${port}`;
  }

  /** A document of its local HTTP, such as `/metrics`. */
  async get(path: string): Promise<string> {
    const { host, port } = (this.#ready as ReadyLine).admin;
    const script = `fetch('http://${host}:${port}${path}').then((r) => r.text()).then((t) => process.stdout.write(t))`;
    return this.#host.spawn(process.execPath, ['-e', script]).succeeds();
  }

  /** {@link sumOf} of its `/metrics`. */
  async metric(name: string, ...labels: string[]): Promise<number> {
    return sumOf(await this.get('/metrics'), name, ...labels);
  }

  /** Ends it. Safe to call twice. */
  async close(): Promise<void> {
    await this.process.end('SIGTERM');
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #serves(): Promise<void> {
    const [line] = await this.process.sees(/^\{.*"msg":"ready".*$/m);
    this.#ready = JSON.parse(line) as ReadyLine;
  }

  get #snapshotFile(): string {
    return join(this.#directory, 'snapshot.json');
  }

  get #secretsFile(): string {
    return join(this.#directory, 'secrets.json');
  }

  #fromFile({ farm, secrets = {}, number, peers = [] }: AgentOptions): string[] {
    this.writeFiles(farm, secrets);
    return [
      ...['--snapshot', this.#snapshotFile, '--secrets', this.#secretsFile, '--data', this.#directory],
      ...(number === undefined ? [] : ['--number', String(number)]),
      ...peers.flatMap((peer) => ['--peer', peer]),
    ];
  }

  /** What the agent reads on SIGHUP. */
  writeFiles(farm: AgentOptions['farm'], secrets?: SecretValues): void {
    if (secrets) writeFileSync(this.#secretsFile, JSON.stringify(secrets), { mode: 0o600 });
    writeFileSync(this.#snapshotFile, JSON.stringify(snapshotOf(farm, this.#generation)));
  }
}

/** The sum of a metric's series whose labels contain all of `labels`, `farm="pbx"` and the like. */
export function sumOf(metrics: string, name: string, ...labels: string[]): number {
  return metrics
    .split('\n')
    .filter((line) => new RegExp(`^${name}[ {]`).test(line))
    .filter((line) => labels.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

const fromControlPlane = ({ controlPlane, joinToken, data }: JoinedAgentOptions): string[] => [
  ...['--control-plane', controlPlane, '--data', data],
  ...(joinToken ? ['--join-token', joinToken] : []),
];
