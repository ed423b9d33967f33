import type { Host } from './host.ts';
import { Process, type ProcessOptions, run as runHere } from './process.ts';

/** One machine of a test: a network namespace with addresses of its own. */
export class Namespace implements Host {
  /** As in `ip netns list`: carries the pid of the test process, see topology.ts. */
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;

  constructor(name: string, ipv4: string, ipv6: string) {
    this.name = name;
    this.ipv4 = ipv4;
    this.ipv6 = ipv6;
  }

  /** Starts a command inside. `ip netns exec` becomes the command by exec, so the pid is the command's own. */
  spawn(command: string, args: readonly string[], options: ProcessOptions = {}): Process {
    return new Process('ip', ['netns', 'exec', this.name, command, ...args], options);
  }

  /** Runs a command inside to its end; rejects if it fails. */
  run(command: string, args: readonly string[]): Promise<string> {
    return runHere('ip', ['netns', 'exec', this.name, command, ...args]);
  }

  /** `ip -n NAME …` */
  ip(...args: string[]): Promise<string> {
    return runHere('ip', ['-n', this.name, ...args]);
  }

  /** Pids of all processes inside, including children that a peer forked. */
  async pids(): Promise<number[]> {
    const listing = await runHere('ip', ['netns', 'pids', this.name]);
    return listing.split('\n').filter(Boolean).map(Number);
  }

  /** A power cut: every process inside gets SIGKILL at once. */
  kill(): Promise<void> {
    return this.#signal('SIGKILL');
  }

  /** Every process inside hangs: the kernel takes what comes, and nobody answers. Until {@link kill}. */
  freeze(): Promise<void> {
    return this.#signal('SIGSTOP');
  }

  async #signal(signal: NodeJS.Signals): Promise<void> {
    for (const pid of await this.pids())
      try {
        process.kill(pid, signal);
      } catch {
        // It ended between the listing and the signal.
      }
  }
}
