import { type ChildProcess, spawn } from 'node:child_process';

/** How a process ended: one of the two is set, as in Node's `exit` event. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface ProcessOptions {
  cwd?: string;
  env?: Record<string, string>;
}

/** Everything this test process started and that has not ended, so that a failed test leaves nothing behind. */
const running = new Set<Process>();

/** A test gives up on an event after this long. Generous: two cores run every peer at once. */
export const DEADLINE = 30_000;

/** Milliseconds between a process's end and the end of what it printed. */
const LAST_WORDS = 1_000;

/** More output than any peer prints in a healthy run; keeps a peer that loops from eating the memory. */
const OUTPUT_LIMIT = 4_000_000;

/**
 * A peer's process: its output can be waited on line by line, and it ends by its own pid.
 *
 * @example const p = new Process('kamailio', ['-f', file]); await p.sees(/listening/); await p.end();
 */
export class Process {
  readonly command: string;
  readonly exited: Promise<Exit>;
  /** stdout and stderr, in order of arrival. */
  output = '';
  readonly #child: ChildProcess;
  readonly #watchers = new Set<() => void>();
  #exit: Exit | undefined;

  constructor(command: string, args: readonly string[], options: ProcessOptions = {}) {
    this.command = [command, ...args].join(' ');
    this.#child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    // A peer that ends before it has read its input is reported by its exit, not by EPIPE.
    this.#child.stdin?.on('error', () => {});
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        if (this.output.length < OUTPUT_LIMIT) this.output += text;
        this.#notify();
      });
    this.exited = new Promise((resolve) => {
      const finish = (exit: Exit) => {
        if (this.#exit) return;
        this.#exit = exit;
        running.delete(this);
        this.#notify();
        // What other peers printed before this one ended and is still unread comes first: tests compare it with the end.
        setImmediate(resolve, exit);
      };
      this.#child.once('close', (code, signal) => finish({ code, signal }));
      // A child of it that lives on holds its output open: then `close` never comes.
      this.#child.once('exit', (code, signal) => setTimeout(finish, LAST_WORDS, { code, signal }).unref());
      this.#child.once('error', (error) => {
        this.output += `${error.message}\n`;
        finish({ code: 127, signal: null });
      });
    });
    running.add(this);
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  get alive(): boolean {
    return this.#exit === undefined;
  }

  /** Resolves with the match once the output contains `pattern` at or after `from`; rejects if the process ends or the deadline passes before. */
  sees(pattern: RegExp, { from = 0, deadline = DEADLINE } = {}): Promise<RegExpMatchArray> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        const match = this.output.slice(from).match(pattern);
        if (!match && !this.#exit) return;
        clearTimeout(timer);
        this.#watchers.delete(settle);
        if (match) resolve(match);
        else reject(this.#failure(`ended (${JSON.stringify(this.#exit)}) without printing ${pattern}`));
      };
      const timer = setTimeout(() => {
        this.#watchers.delete(settle);
        reject(this.#failure(`did not print ${pattern} within ${deadline} ms`));
      }, deadline);
      this.#watchers.add(settle);
      settle();
    });
  }

  /** Waits for the process to end by itself with exit code 0. Resolves with its output. */
  async succeeds(deadline = DEADLINE): Promise<string> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(this.#failure(`did not end within ${deadline} ms`)), deadline);
    });
    const exit = await Promise.race([this.exited, late]).finally(() => clearTimeout(timer));
    if (exit.code !== 0) throw this.#failure(`ended with ${JSON.stringify(exit)}`);
    return this.output;
  }

  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  closeInput(): void {
    this.#child.stdin?.end();
  }

  signal(signal: NodeJS.Signals): void {
    if (this.alive) this.#child.kill(signal);
  }

  /** Ends the process: `signal`, and SIGKILL for one that does not listen. Safe to call twice. */
  async end(signal: NodeJS.Signals = 'SIGTERM', grace = 5_000): Promise<Exit> {
    this.signal(signal);
    const timer = setTimeout(() => this.signal('SIGKILL'), grace);
    return this.exited.finally(() => clearTimeout(timer));
  }

  #notify(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  #failure(what: string): Error {
    return new Error(`${this.command}\n${what}; its last output:\n${this.output.slice(-3_000)}`);
  }
}

/** Runs a command to its end. Resolves with its output; rejects if it fails. */
export const run = (command: string, args: readonly string[], options: ProcessOptions = {}): Promise<string> =>
  new Process(command, args, options).succeeds();

/** Resolves with a peer once it is ready; one that does not get ready is closed, so that it leaves no files behind. */
export async function started<T extends { close(): Promise<void> }>(peer: T, ready: Promise<void>): Promise<T> {
  try {
    await ready;
    return peer;
  } catch (error) {
    await peer.close();
    throw error;
  }
}

/** Ends what is still running of what this process started: all of it, or those that `which` is true of. */
export async function endAll(which: (process: Process) => boolean = () => true): Promise<void> {
  await Promise.all([...running].filter(which).map((p) => p.end('SIGTERM', 2_000)));
}
