import type { FarmInput } from '@sipfleet/contract';
import { Agent } from '../interop/agent.ts';
import { askRow, askScenario, dialScenario, pbxScenario, type Taken, takenOf } from '../interop/pbx-scenarios.ts';
import { Sipp, type SippOptions } from '../interop/sipp.ts';
import { type Host, hostPort, loopback } from '../netns/host.ts';
import { freePort } from './loopback.ts';

type BackendInput = FarmInput['backends'][number];

/** A SIPp that answers whatever comes. */
export class SippPbx {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp';
  #sipp: Sipp | undefined;
  /** Of its lives before. */
  #before: Taken[] = [];

  constructor(name: string, address: string, port: number, transport: 'udp' | 'tcp') {
    this.transport = transport;
    this.name = name;
    this.address = address;
    this.port = port;
  }

  /** Safe to call while it runs. */
  async start(): Promise<void> {
    this.#sipp ??= new Sipp({
      host: loopback(this.address),
      port: this.port,
      target: hostPort(this.address, this.port),
      domain: 'example.test',
      scenario: pbxScenario,
      transport: this.transport,
      reusesCallIds: true,
      calls: 1_000_000,
    });
    await this.#sipp.listening();
  }

  /** Requests outside of any dialog that came to it, but for those of health checks. */
  get taken(): Taken[] {
    return this.#all.filter(({ inDialog }) => !inDialog);
  }

  /** How many requests of a method came to it within dialogs. */
  inDialog(wanted: string): number {
    return this.#all.filter(({ method, inDialog }) => inDialog && method === wanted).length;
  }

  get #all(): Taken[] {
    return [...this.#before, ...takenOf(this.#sipp?.logged ?? '').filter(({ method }) => method !== 'OPTIONS')];
  }

  /** Gone without a word. Safe to call twice. */
  async kill(): Promise<void> {
    await this.#sipp?.process.end('SIGKILL');
    this.#before = this.#all;
    await this.#sipp?.end();
    this.#sipp = undefined;
  }
}

/** How an agent gets its farm. */
export interface FarmSource {
  start(host: Host, workers: number, farm: FarmInput): Promise<Agent>;
  change(agent: Agent, farm: FarmInput): Promise<void>;
}

const fromFile: FarmSource = {
  start: (host, workers, farm) => Agent.start({ host, workers, farm }),
  change: (agent, farm) => agent.reload(farm),
};

interface FleetOptions {
  pbxs: number;
  workers: number;
  /** How the PBXs are reached. */
  towards?: 'udp' | 'tcp';
  /** Of the farm that it starts with. */
  farm?: Partial<FarmInput>;
  source?: FarmSource;
}

/** One agent on a loopback address, SIPps behind it and SIPps before it. */
export class Fleet {
  readonly agent: Agent;
  readonly pbxs: readonly SippPbx[];
  /** Where it answers. */
  readonly service: { address: string; port: number };
  readonly #net: string;
  readonly #source: FarmSource;
  readonly #marks = new Map<SippPbx, number>();
  #farms = 0;

  private constructor(
    net: string,
    service: Fleet['service'],
    pbxs: readonly SippPbx[],
    source: FarmSource,
    agent: Agent,
  ) {
    this.#net = net;
    this.service = service;
    this.pbxs = pbxs;
    this.#source = source;
    this.agent = agent;
  }

  /** `net`: three bytes of a loopback network that nobody else uses, `127.21.1`. PBXs are called pbx1, pbx2, … */
  static async start(net: string, options: FleetOptions): Promise<Fleet> {
    const { workers, towards = 'udp', farm, source = fromFile } = options;
    const service = { address: `${net}.1`, port: await freePort(`${net}.1`) };
    const pbxs: SippPbx[] = [];
    for (let i = 1; i <= options.pbxs; i++) {
      const address = `${net}.${10 + i}`;
      pbxs.push(new SippPbx(`pbx${i}`, address, await freePort(address), towards));
    }
    await Promise.all(pbxs.map((pbx) => pbx.start()));
    const agent = await source.start(loopback(service.address), workers, farmOf('farm0', service, pbxs, farm));
    return new Fleet(net, service, pbxs, source, agent);
  }

  /** Has the agent serve a farm with no past: under another name than any before. `more` by name of the PBX; only those that it names are in it. */
  async serve(rest: Partial<FarmInput>, more?: Record<string, Partial<BackendInput>>): Promise<void> {
    this.#farms++;
    await this.change(rest, more);
    this.forget();
  }

  /** Changes the farm that is served. */
  async change(rest: Partial<FarmInput>, more?: Record<string, Partial<BackendInput>>): Promise<void> {
    await this.#source.change(this.agent, farmOf(`farm${this.#farms}`, this.service, this.pbxs, rest, more));
  }

  /** Sends requests, each row's from a port of its own and under one Call-ID, and waits until all are answered. See {@link askScenario}. */
  async ask(
    rows: string[][],
    options: Partial<SippOptions> & { methods?: string[]; strangers?: boolean } = {},
  ): Promise<void> {
    const { methods = ['MESSAGE'], strangers, ...rest } = options;
    await this.#finished({ scenario: askScenario(methods, strangers), rows, ...rest });
  }

  /** Makes calls, each from a port of its own, and waits until all are over. */
  async dial(calls: number): Promise<void> {
    await this.#finished({ scenario: dialScenario(), rows: [askRow({})], calls });
  }

  /** Makes calls that stand. Ends them with the result. */
  async hold(calls: number): Promise<() => Promise<void>> {
    const sipp = await this.#sipp({ scenario: dialScenario(600_000), rows: [askRow({})], calls });
    return () => sipp.end();
  }

  /** Ends a PBX without a word, and waits until that is known. */
  async kill(pbx: SippPbx): Promise<void> {
    const from = this.agent.process.output.length;
    await pbx.kill();
    await this.agent.backendBecomes(pbx.name, 'down', { from });
  }

  /** Starts it again, and waits until that is known. */
  async restart(pbx: SippPbx): Promise<void> {
    const from = this.agent.process.output.length;
    await pbx.start();
    await this.agent.backendBecomes(pbx.name, 'up', { from });
  }

  /** The PBX that took the requests to each callee since the farm is served: at most one, or it throws. */
  homes(): Map<string, string> {
    const homes = new Map<string, string>();
    for (const [pbx, taken] of this.taken())
      for (const { to } of taken) {
        if ((homes.get(to) ?? pbx) !== pbx) throw new Error(`${to} is at ${homes.get(to)} and at ${pbx}`);
        homes.set(to, pbx);
      }
    return homes;
  }

  /** Counts from here. */
  forget(): void {
    for (const pbx of this.pbxs) this.#marks.set(pbx, pbx.taken.length);
  }

  /** What each PBX took since the farm is served, by its name. */
  taken(): Map<string, Taken[]> {
    return new Map(this.pbxs.map((pbx) => [pbx.name, pbx.taken.slice(this.#marks.get(pbx) ?? 0)]));
  }

  /** How many each PBX took, in order. */
  counts(): number[] {
    return [...this.taken().values()].map((taken) => taken.length);
  }

  async close(): Promise<void> {
    await this.agent.close();
    await Promise.all(this.pbxs.map((pbx) => pbx.kill()));
  }

  async #finished(options: Partial<SippOptions> & Pick<SippOptions, 'scenario'>): Promise<void> {
    await (await this.#sipp(options)).finished();
  }

  async #sipp(options: Partial<SippOptions> & Pick<SippOptions, 'scenario'>): Promise<Sipp> {
    const address = options.host?.ipv4 ?? `${this.#net}.2`;
    return new Sipp({
      host: loopback(address),
      port: await freePort(address),
      target: hostPort(this.service.address, this.service.port),
      domain: 'example.test',
      socketPerCall: true,
      rate: 200,
      ...options,
    });
  }
}

function farmOf(
  name: string,
  listener: { address: string; port: number },
  pbxs: readonly SippPbx[],
  rest: Partial<FarmInput> = {},
  more?: Record<string, Partial<BackendInput>>,
): FarmInput {
  const members = more ? pbxs.filter((pbx) => pbx.name in more) : pbxs;
  return {
    kind: 'Farm',
    name,
    sites: ['milan'],
    listeners: [
      { transport: 'udp', ...listener },
      { transport: 'tcp', ...listener },
    ],
    backends: members.map(({ name, address, port, transport }) => ({
      name,
      address,
      port,
      transport,
      ...more?.[name],
    })),
    checks: [{ name: 'ping', type: 'options', interval: '500ms', timeout: '500ms', fall: 2, rise: 1 }],
    ...rest,
  };
}
