import { readdirSync } from 'node:fs';
import { Namespace } from './namespace.ts';
import { run } from './process.ts';

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Namespaces that a test run left behind: their name carries the pid of a process that is no more. */
export function staleNames(names: readonly string[], isAlive: (pid: number) => boolean = alive): string[] {
  return names.filter((name) => {
    const pid = /^sfl-(\d+)-\d+-/.exec(name)?.[1];
    return pid !== undefined && !isAlive(Number(pid));
  });
}

/** Removes what earlier runs left behind when they were killed. */
export async function removeStale(): Promise<void> {
  let names: string[];
  try {
    names = readdirSync('/run/netns');
  } catch {
    return; // No namespace was ever made here.
  }
  for (const name of staleNames(names)) {
    await new Namespace(name, '', '').kill().catch(() => {});
    await run('ip', ['netns', 'del', name]).catch(() => {});
  }
}
