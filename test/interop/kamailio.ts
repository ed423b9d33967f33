import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Host, hostPort } from '../netns/host.ts';
import { DEADLINE, type Process, started } from '../netns/process.ts';
import { type KamailioConfig, kamailioConfig } from './kamailio.config.ts';

export interface KamailioOptions extends Omit<KamailioConfig, 'addresses' | 'control'> {
  host: Host;
  /** IPv6 beside IPv4. */
  ipv6?: boolean;
}

/** A real PBX stand-in: registrar with digest authentication, location of its own, call routing. */
export class Kamailio {
  readonly address: string;
  readonly port: number;
  readonly #options: KamailioOptions;
  readonly #directory: string;
  #process: Process | undefined;

  private constructor(options: KamailioOptions) {
    this.#options = options;
    this.address = options.host.ipv4;
    this.port = options.port;
    this.#directory = mkdtempSync(join(tmpdir(), 'sipfleet-kamailio-'));
  }

  /** Starts one and waits until it answers OPTIONS. */
  static async start(options: KamailioOptions): Promise<Kamailio> {
    const pbx = new Kamailio(options);
    return started(pbx, pbx.start());
  }

  async start(): Promise<void> {
    const { host, ipv6, ...config } = this.#options;
    const file = join(this.#directory, 'kamailio.cfg');
    writeFileSync(
      file,
      kamailioConfig({ ...config, control: this.#control, addresses: ipv6 ? [host.ipv4, host.ipv6] : [host.ipv4] }),
    );
    // -DD: no fork into the background; -E: log to stderr; -m/-M: megabytes of shared and private memory.
    const args = ['-f', file, '-DD', '-E', '-m', '64', '-M', '8', '-w', this.#directory, '-Y', this.#directory];
    this.#process = host.spawn('kamailio', args);
    await answersOptions(host, hostPort(this.address, this.port), this.#process);
  }

  /** Everything it has logged since it started. */
  get log(): string {
    return this.#process?.output ?? '';
  }

  /** Resolves once this PBX has accepted a REGISTER of the user. */
  async registered(user: string): Promise<this> {
    await this.#running.sees(new RegExp(`registered ${user} `));
    return this;
  }

  /** The user has a binding here, as far as the log tells. */
  knows(user: string): boolean {
    return this.log.includes(`registered ${user} `);
  }

  /** Resolves with a log line. */
  sees(pattern: RegExp, options?: { from?: number }): Promise<RegExpMatchArray> {
    return this.#running.sees(pattern, options);
  }

  /** URIs of the bindings that its location table holds for a user. */
  async bindings(user: string): Promise<string[]> {
    const query = this.#options.host.spawn('kamcmd', ['-s', `unix:${this.#control}`, 'ul.lookup', 'location', user]);
    // It fails for a user without any.
    await query.exited;
    return [...query.output.matchAll(/Address: (\S+)/g)].map(([, uri]) => uri as string);
  }

  /** How often the log holds a pattern. */
  count(pattern: RegExp): number {
    return this.log.match(new RegExp(pattern, 'g'))?.length ?? 0;
  }

  /** SIGTERM to the main process, which ends its children. */
  async stop(): Promise<void> {
    await this.#process?.end('SIGTERM');
    this.#process = undefined;
  }

  /** SIGKILL to all of its processes. */
  async kill(): Promise<void> {
    const { pid, exited } = this.#running;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
    for (const one of [pid, ...children]) process.kill(one, 'SIGKILL');
    await exited;
    this.#process = undefined;
  }

  /** Stops it and removes its files. Safe to call twice. */
  async close(): Promise<void> {
    await this.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get #control(): string {
    return join(this.#directory, 'control');
  }

  get #running(): Process {
    if (!this.#process) throw new Error(`Kamailio on ${this.address} is not running`);
    return this.#process;
  }
}

/** Asks with sipsak until the SIP server answers, or its process has ended. */
export async function answersOptions(host: Host, target: string, server: Process): Promise<void> {
  const until = Date.now() + DEADLINE;
  while (server.alive && Date.now() < until) {
    const probe = host.spawn('sipsak', ['-s', `sip:${target}`]);
    const { code } = await probe.exited;
    if (code === 0) return;
    // Refused: sipsak ends at once, so this keeps the loop from spinning while the server starts.
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(
    `${server.command}\ndoes not answer OPTIONS at ${target}; its last output:\n${server.output.slice(-3_000)}`,
  );
}

/** The PBX at which a user registers first. */
export const whereRegistered = (user: string, pbxs: readonly Kamailio[]): Promise<Kamailio> =>
  Promise.any(pbxs.map((pbx) => pbx.registered(user)));
