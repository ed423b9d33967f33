import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** The parts of a V8 CPU profile that are read here. */
export interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  /** Microseconds between samples. */
  timeDeltas: number[];
}

export interface SelfTime {
  name: string;
  /** Of the time that was not idle. */
  share: number;
}

/** Self time by function, most first, and how many milliseconds were not idle. */
export function selfTimes(profile: CpuProfile): { busyMs: number; functions: SelfTime[] } {
  const names = new Map(
    profile.nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [
      id,
      `${functionName || '(anonymous)'}${url ? ` ${basename(url)}:${lineNumber + 1}` : ''}`,
    ]),
  );
  const micros = new Map<string, number>();
  for (const [i, sample] of profile.samples.entries()) {
    const name = names.get(sample) ?? '(unknown)';
    if (name === '(idle)') continue;
    micros.set(name, (micros.get(name) ?? 0) + (profile.timeDeltas[i] ?? 0));
  }
  const busy = [...micros.values()].reduce((sum, value) => sum + value, 0);
  const functions = [...micros].map(([name, value]) => ({ name, share: busy > 0 ? value / busy : 0 }));
  return { busyMs: busy / 1000, functions: functions.sort((a, b) => b.share - a.share) };
}

/** The profiles of all threads that Node left in a directory, as text: the top `count` functions of each. */
export function describeProfiles(directory: string, count: number): string {
  const files = readdirSync(directory).filter((name) => name.endsWith('.cpuprofile'));
  if (files.length === 0) throw new Error(`no CPU profile in ${directory}: the agent did not end by itself`);
  return files
    .map((file) => {
      const path = join(directory, file);
      const { busyMs, functions } = selfTimes(JSON.parse(readFileSync(path, 'utf8')) as CpuProfile);
      const top = functions.slice(0, count).map((f) => `${(f.share * 100).toFixed(1).padStart(6)} %  ${f.name}`);
      return [`${path}: busy ${Math.round(busyMs)} ms`, ...top].join('\n');
    })
    .join('\n\n');
}
