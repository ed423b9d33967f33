import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Host, hostPort } from '../netns/host.ts';
import type { Process } from '../netns/process.ts';

export interface SippOptions {
  host: Host;
  /** SIPp binds this address of the host; left out: its IPv4 address. */
  address?: string;
  port: number;
  /** Where every message is sent: the service's address. */
  target: string;
  transport?: 'udp' | 'tcp';
  scenario: string;
  /** Plays the calls that come in, where `scenario` registers. */
  outOfCall?: string;
  domain: string;
  /** CSV rows; see scenarios.ts for the fields. */
  rows?: string[][];
  calls?: number;
  /** New calls per second. */
  rate?: number;
  /** Calls at once. */
  limit?: number;
  /** Fixed start of every Call-ID; left out, SIPp makes its own. */
  callId?: string;
  /** What comes unexpected does not end the call: on a network that loses and reorders. */
  tolerant?: boolean;
  /** Sends back the audio that comes to its port for it. */
  echoPort?: number;
  deadline?: number;
  /** Every call from a port, or over a connection, of its own: so they come to different data threads. */
  socketPerCall?: boolean;
  /** What comes under the Call-ID of a call that is over is a new call. */
  reusesCallIds?: boolean;
  /** Milliseconds that it waits for one message, 20,000 if left out. */
  patience?: number;
}

export interface SippResult {
  successful: number;
  failed: number;
  retransmissions: number;
}

/** A running SIPp. */
export class Sipp {
  readonly process: Process;
  readonly #directory: string;
  readonly #deadline: number;
  readonly #port: number;

  constructor(options: SippOptions) {
    this.#port = options.port;
    this.#directory = mkdtempSync(join(tmpdir(), 'sipfleet-sipp-'));
    this.#deadline = options.deadline ?? 90_000;
    this.process = options.host.spawn('sipp', this.#args(options), { cwd: this.#directory, env: { TERM: 'dumb' } });
  }

  /** Resolves once it has bound its port: who calls it sooner is refused. */
  async listening(): Promise<void> {
    const port = `:${this.#port.toString(16).toUpperCase().padStart(4, '0')} `;
    const bound = (table: string) => readFileSync(`/proc/${this.process.pid}/net/${table}`, 'utf8').includes(port);
    const deadline = Date.now() + this.#deadline;
    while (!['udp', 'udp6', 'tcp', 'tcp6'].some(bound)) {
      if (Date.now() > deadline) throw new Error(`sipp has not bound port ${this.#port}: ${this.process.output}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Waits until all calls have ended. Rejects, with SIPp's own words, when one failed. */
  async finished(): Promise<SippResult> {
    try {
      await this.process.succeeds(this.#deadline);
      return this.result();
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.#read('errors')}`, { cause: error });
    } finally {
      await this.end();
    }
  }

  /** Makes no more calls, and waits for the end of those that are up; see {@link finished}. */
  stopped(): Promise<SippResult> {
    this.process.signal('SIGUSR1');
    return this.finished();
  }

  /** Counts since the start. Written by SIPp once a second and at its end. */
  result(): SippResult {
    const [head, ...rows] = this.#read('statistics').trim().split('\n');
    const names = head?.split(';') ?? [];
    const last = rows.at(-1)?.split(';') ?? [];
    const of = (name: string) => Number(last[names.indexOf(name)] ?? Number.NaN);
    return {
      successful: of('SuccessfulCall(C)'),
      failed: of('FailedCall(C)'),
      retransmissions: of('Retransmissions(C)'),
    };
  }

  /** SIPp's error log: what came unexpected. */
  get errors(): string {
    return this.#read('errors');
  }

  /** What `<log>` actions of its scenario wrote so far. */
  get logged(): string {
    return this.#read('log');
  }

  async end(): Promise<void> {
    await this.process.end('SIGTERM');
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #read(name: string): string {
    try {
      return readFileSync(join(this.#directory, name), 'utf8');
    } catch {
      return ''; // Not written (yet).
    }
  }

  #args(options: SippOptions): string[] {
    const file = (name: string, text: string) => {
      const path = join(this.#directory, name);
      writeFileSync(path, text);
      return path;
    };
    const address = options.address ?? options.host.ipv4;
    const calls = options.calls ?? options.rows?.length ?? 1;
    return [
      options.target,
      ...['-sf', file('scenario.xml', options.scenario)],
      ...(options.outOfCall ? ['-oocsf', file('out-of-call.xml', options.outOfCall)] : []),
      ...(options.rows
        ? ['-inf', file('rows.csv', `SEQUENTIAL\n${options.rows.map((row) => row.join(';')).join('\n')}\n`)]
        : []),
      ...['-i', address, '-p', String(options.port), '-mi', address],
      ...['-t', `${options.transport === 'tcp' ? 't' : 'u'}${options.socketPerCall ? 'n' : '1'}`],
      ...(options.reusesCallIds ? ['-deadcall_wait', '0'] : []),
      ...(options.scenario.includes('<log ') ? ['-trace_logs', '-log_file', join(this.#directory, 'log')] : []),
      ...(options.tolerant ? ['-default_behaviors', 'all,-abortunexp'] : []),
      ...(options.echoPort ? ['-rtp_echo', '-mp', String(options.echoPort)] : []),
      ...['-key', 'domain', options.domain],
      ...['-m', String(calls), '-r', String(options.rate ?? 10), '-l', String(options.limit ?? 1000)],
      ...(options.callId ? ['-cid_str', `${options.callId}-%u`] : []),
      ...['-nostdin', '-skip_rlimit', '-fd', '1', '-trace_stat', '-stf', join(this.#directory, 'statistics')],
      ...['-trace_err', '-error_file', join(this.#directory, 'errors')],
      // Keeps a lost message from holding the whole run; a call that ends this way counts as failed.
      ...['-recv_timeout', String(options.patience ?? 20_000)],
    ];
  }
}

/** One CSV row for a user. */
export const row = (user: string, password: string, callee = ''): string[] => [
  user,
  `[authentication username=${user} password=${password}]`,
  callee,
];

/** `sip:` target of a service address. */
export const target = (address: string, port = 5060): string => hostPort(address, port);
