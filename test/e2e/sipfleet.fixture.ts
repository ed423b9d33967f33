import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { run } from '../../control-plane/src/cli/program.ts';
import { Process } from '../netns/process.ts';

const MAIN = fileURLToPath(new URL('../../control-plane/src/cli/main.ts', import.meta.url));

/** An empty directory that goes when the test ends. */
export async function temporary(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sipfleet-up-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** `sipfleet …` as a user types it in `cwd`. Ends with the test. */
export function sipfleet(cwd: string, ...args: string[]): Process {
  const env = { SIPFLEET_TOKEN: '', NO_COLOR: '1' };
  const started = new Process(process.execPath, [MAIN, ...args], { cwd, env });
  onTestFinished(() => started.end('SIGINT', 15_000).then(() => {}));
  return started;
}

/** `sipfleet …` with these variables, in this process: many commands cost no more than what they do. For commands that start nothing. */
export function commandLine(cwd: string, env: Record<string, string>) {
  return async (...args: string[]): Promise<{ code: number; out: string }> => {
    let out = '';
    const take = (text: string): void => {
      out += text;
    };
    const io = {
      out: take,
      err: take,
      readInput: async () => '',
      ask: async () => undefined,
      sleep: async () => true,
      env,
      terminal: false,
      cwd,
    };
    const launch = { up: async () => 1, agent: async () => 1, controlPlane: async () => 1 };
    return { code: await run(args, io, launch), out };
  };
}

/** What the banner of `sipfleet up` says. */
export interface Up {
  process: Process;
  sip: { host: string; port: number };
  /** Base of the control plane's API. */
  url: string;
  metrics: string;
}

/** `sipfleet up` on free ports with its data in `cwd`/data, once it says that it is up. */
export async function startUp(cwd: string, ...args: string[]): Promise<Up> {
  const started = sipfleet(cwd, 'up', '--sip', '127.0.0.1:0', '--http', '127.0.0.1:0', '--data', 'data', ...args);
  await started.sees(/Ctrl-C ends it/);
  const found = (pattern: RegExp) => pattern.exec(started.output)?.[1] ?? '';
  return {
    process: started,
    sip: { host: '127.0.0.1', port: Number(found(/(?:Registrar|SIP) +127\.0\.0\.1:(\d+) /)) },
    url: found(/ (http:\S+)\/v1 /),
    metrics: found(/ (http:\S+\/metrics)/),
  };
}

/** Processes that `pid` started, theirs included. */
export function descendants(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => [Number(name), parentOf(name)] as const);
  const of = (parent: number): number[] =>
    parents.filter(([, p]) => p === parent).flatMap(([child]) => [child, ...of(child)]);
  return of(pid);
}

function parentOf(pid: string): number {
  try {
    // The command, in parentheses, may hold anything: what counts stands behind the last one.
    return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1]);
  } catch {
    return 0; // Ended meanwhile.
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
