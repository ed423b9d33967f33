import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';

/** Ticks per second of utime and stime in /proc/PID/stat. */
const CLOCK_TICKS = Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout);

/** Which cores the proxy under test and the load run on. */
export interface Cores {
  proxy: number;
  load: number[];
}

/** A process of the bench, kept to its cores and ended with the bench. */
export interface Running {
  readonly pid: number;
  /** Rejects when the process ends before it is stopped, with the last lines it wrote. */
  readonly failed: Promise<never>;
  /** SIGTERM, after 5 s SIGKILL. */
  stop(): Promise<void>;
}

const running = new Set<Running>();

/** Ends whatever still runs: for every way out of the bench. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((one) => one.stop()));
}

/** `taskset` keeps the whole process tree to the cores; `setpriv --pdeathsig` ends it even if the bench is killed. */
const pinned = (cores: readonly number[], command: readonly string[]): [string, string[]] => [
  'taskset',
  ['-c', cores.join(','), 'setpriv', '--pdeathsig', 'TERM', ...command],
];

/** Starts a process that runs until it is stopped. */
export function start(cores: readonly number[], command: readonly string[], cwd?: string): Running {
  const [program, args] = pinned(cores, command);
  const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = lastOutput(child);
  let stopping: Promise<void> | undefined;
  const exited = once(child, 'exit');
  const failed = exited.then(([code, signal]) => {
    running.delete(one);
    if (stopping) return new Promise<never>(() => {});
    throw new Error(`${command[0]} ended by itself (${signal ?? `exit ${code}`}):\n${output()}`);
  });
  failed.catch(() => {}); // also read by whoever waits for this process; without a reader no crash of the bench
  const one: Running = {
    pid: child.pid as number,
    failed,
    stop() {
      stopping ??= end(child, exited);
      return stopping;
    },
  };
  running.add(one);
  return one;
}

async function end(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const kill = setTimeout(() => child.kill('SIGKILL'), 5000);
  await exited;
  clearTimeout(kill);
}

/** Runs a program that ends by itself; its stdout. Throws with its stderr if it fails. */
export async function run(cores: readonly number[], command: readonly string[]): Promise<string> {
  const [program, args] = pinned(cores, command);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const [code, signal] = await once(child, 'close');
  if (code !== 0) throw new Error(`${command.join(' ')} failed (${signal ?? `exit ${code}`}): ${stderr.trim()}`);
  return stdout;
}

/** Collects what a process writes, the last 4000 characters of it. */
function lastOutput(child: ChildProcess): () => string {
  let text = '';
  const keep = (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-4000);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  return () => text.trim();
}

/** CPU seconds (user and system) that a process, its threads and its children have used so far. */
export function cpuSeconds(pid: number): number {
  return familyStats(pid).reduce((ticks, stat) => ticks + stat.ticks, 0) / CLOCK_TICKS;
}

/** Process numbers of a process and its children, theirs included. */
export function family(pid: number): number[] {
  return familyStats(pid).map((stat) => stat.pid);
}

function familyStats(pid: number): { pid: number; parent: number; ticks: number }[] {
  const stats = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => statOf(name));
  const members = new Set([pid]);
  // Children have higher numbers than their parents unless numbers wrapped: repeat until nothing is added.
  for (let size = 0; size !== members.size; ) {
    size = members.size;
    for (const stat of stats) if (members.has(stat.parent)) members.add(stat.pid);
  }
  return stats.filter((stat) => members.has(stat.pid));
}

/** proc(5) /proc/PID/stat; empty where the process has ended meanwhile. */
function statOf(pid: string): { pid: number; parent: number; ticks: number }[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, field 2, may hold spaces and parentheses: count from the last one. Field 3 follows it.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return [{ pid: Number(pid), parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) }];
  } catch {
    return [];
  }
}

/** Seconds that one core was busy since boot, for whomever (proc(5) /proc/stat: all but idle and iowait). */
export function coreBusySeconds(core: number): number {
  const line = readFileSync('/proc/stat', 'utf8')
    .split('\n')
    .find((l) => l.startsWith(`cpu${core} `));
  if (line === undefined) throw new Error(`core ${core}: /proc/stat has no such core`);
  const [user, nice, system, , , irq, softirq, steal] = line.split(/\s+/).slice(1).map(Number) as number[];
  return ((user ?? 0) + (nice ?? 0) + (system ?? 0) + (irq ?? 0) + (softirq ?? 0) + (steal ?? 0)) / CLOCK_TICKS;
}

/** Datagrams that the kernel threw away because the receiver's buffer was full, by `address:port` of the sockets. */
export function socketDrops(address: string, port: number): number {
  const hex = address
    .split('.')
    .reverse()
    .map((octet) => Number(octet).toString(16).padStart(2, '0'))
    .join('');
  const local = `${hex}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
  let drops = 0;
  for (const line of readFileSync('/proc/net/udp', 'utf8').split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    if (fields[1] === local) drops += Number(fields[12]);
  }
  return drops;
}
