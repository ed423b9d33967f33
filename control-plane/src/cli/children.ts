import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from './io.ts';

/** Milliseconds that a child has for closing down before it is killed. */
const STOP_MS = 8000;
/** A terminal sends Ctrl-C to the whole process group: a child may be gone a moment before we know why. */
const GRACE_MS = 250;

export interface ChildSpec {
  /** As the user reads it: `the agent`. */
  name: string;
  /** The module that it runs. */
  module: string;
  args: readonly string[];
  /** Options of Node itself. */
  node?: readonly string[];
  /** Added to our own environment: secrets, which a command line would show to every user of the machine. */
  env?: Readonly<Record<string, string>>;
  /** What it writes goes here, as `NAME.log`. */
  logDir: string;
  logName: string;
  /** Every line of its standard output, too. */
  onLine?: (line: string) => void;
}

/**
 * Child processes that live and die together. `ended` rejects with {@link CliError} as soon as one of them ends without being asked to;
 * `stop` ends all, the youngest first.
 */
export class Children {
  readonly ended: Promise<never>;
  readonly #fail: (error: Error) => void;
  readonly #running: { child: ChildProcess; closed: Promise<unknown> }[] = [];
  #stopping = false;

  constructor() {
    const { promise, reject } = Promise.withResolvers<never>();
    this.ended = promise;
    this.#fail = reject;
    // Nobody may be waiting at the moment.
    promise.catch(() => {});
  }

  /** Starts one; resolves with the message of type `ready` that it sends. */
  async start<T>(spec: ChildSpec): Promise<T> {
    const child = fork(spec.module, spec.args, {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: [...(spec.node ?? [])],
      env: { ...process.env, ...spec.env },
    });
    const lastWords = this.#log(child, spec);
    const closed = once(child, 'close').catch(() => {});
    this.#running.push({ child, closed });
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    let ready = false;
    child.on('message', (message: { type?: string }) => {
      if (message.type !== 'ready') return;
      ready = true;
      resolve(message as T);
    });
    child.once('error', (error) => reject(new CliError(`${spec.name} cannot be started: ${error.message}`)));
    child.once('close', (code, signal) => {
      const how = lastWords() || (signal === null ? `exit code ${code}` : `signal ${signal}`);
      const error = new CliError(`${spec.name} ${ready ? 'ended unexpectedly' : 'could not start'}: ${how}`);
      reject(error);
      setTimeout(() => this.#stopping || this.#fail(error), GRACE_MS);
    });
    return promise;
  }

  /** Sends the child's output to its log file; the last line of its standard error comes back on demand. */
  #log(child: ChildProcess, { logDir, logName, onLine }: ChildSpec): () => string {
    const file = createWriteStream(join(logDir, `${logName}.log`), { flags: 'a', mode: 0o600 });
    // A full disk must not end what it cannot log.
    file.on('error', () => {});
    let errors = '';
    let rest = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      file.write(text);
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      if (onLine) for (const line of lines) onLine(line);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      file.write(text);
      errors = (errors + text).slice(-4096);
    });
    child.once('close', () => file.end());
    // `name: reason` → `reason`: who it was is said by us.
    return () => (errors.trim().split('\n').at(-1) ?? '').replace(/^[\w -]+: /, '');
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { child, closed } of this.#running.splice(0).reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGTERM');
      const late = new AbortController();
      const killer = sleep(STOP_MS, undefined, { signal: late.signal, ref: false }).then(
        () => child.kill('SIGKILL'),
        () => {},
      );
      await closed;
      late.abort();
      await killer;
    }
  }
}
