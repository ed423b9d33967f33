import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Host, hostPort } from '../netns/host.ts';
import { type Process, started } from '../netns/process.ts';

const CLI = join(import.meta.dirname, '..', '..', 'control-plane', 'bin', 'sipfleet.js');
const PORT = 8080;

/** A control plane as an operator starts it, with the command line beside it. */
export class ControlPlane {
  readonly url: string;
  readonly #host: Host;
  readonly #directory = mkdtempSync(join(tmpdir(), 'sipfleet-control-plane-'));
  #process: Process | undefined;

  private constructor(host: Host) {
    this.#host = host;
    this.url = `http://${hostPort(host.ipv4, PORT)}`;
  }

  static async start(host: Host): Promise<ControlPlane> {
    const controlPlane = new ControlPlane(host);
    return started(controlPlane, controlPlane.start());
  }

  /** Starts it on what it has stored. Resolves once it listens. */
  async start(): Promise<void> {
    this.#process = this.#sipfleet('control-plane', '--http', hostPort(this.#host.ipv4, PORT), '--data', 'var');
    await this.#process.sees(/"msg":"the control plane is listening"/);
  }

  /** `sipfleet …` to its end, with the token that the first start has left. */
  run(...args: string[]): Promise<string> {
    return this.#sipfleet('--url', this.url, ...args).succeeds();
  }

  /** `sipfleet apply` of these resources. */
  apply(...resources: object[]): Promise<void> {
    return this.applyWith([], ...resources);
  }

  /** The same with options, such as `--rollout canary`. */
  async applyWith(options: readonly string[], ...resources: object[]): Promise<void> {
    // A YAML stream of JSON documents: JSON is YAML.
    writeFileSync(join(this.#directory, 'apply.yaml'), resources.map((r) => JSON.stringify(r)).join('\n---\n'));
    await this.run('apply', '-f', 'apply.yaml', ...options);
  }

  /** As by a power cut. */
  async kill(): Promise<void> {
    await this.#process?.end('SIGKILL');
  }

  async close(): Promise<void> {
    await this.#process?.end();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #sipfleet(...args: string[]): Process {
    return this.#host.spawn(process.execPath, [CLI, ...args], {
      cwd: this.#directory,
      env: { NO_COLOR: '1', SIPFLEET_TOKEN: '' },
    });
  }
}
