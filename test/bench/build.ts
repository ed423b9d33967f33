import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

const here = import.meta.dirname;

export const PROGRAMS = ['blast', 'caller', 'stream-blast', 'sink', 'cfwd'] as const;
export type Program = (typeof PROGRAMS)[number];

/** What a program is made of besides its own file and udp.c. */
const BESIDE: Partial<Record<Program, string[]>> = {
  blast: ['messages.c', 'calls.c', 'quantiles.c'],
  caller: ['messages.c', 'calls.c', 'timers.c', 'quantiles.c'],
  sink: ['unacked.c', 'timers.c'],
  'stream-blast': ['messages.c', 'stream.c', 'quantiles.c'],
};

/** Compiles the bench's C programs; their paths. */
export function build(): Record<Program, string> {
  const out = join(here, 'build');
  mkdirSync(out, { recursive: true });
  const paths = PROGRAMS.map((name) => {
    const path = join(out, name);
    const sources = [`${name}.c`, ...(BESIDE[name] ?? []), 'udp.c'];
    const flags = ['-std=gnu17', '-O2', '-Wall', '-Wextra', '-Werror', '-o', path];
    const libraries = name === 'stream-blast' ? ['-lssl', '-lcrypto'] : [];
    const command = [...flags, ...sources.map((s) => join(here, s)), ...libraries];
    const compiled = spawnSync('cc', command, { encoding: 'utf8' });
    if (compiled.error)
      throw new Error(
        'cc is missing: the load generators, the sink and the bare forwarder are C and are compiled on the spot. On Debian: apt-get install gcc libc6-dev libssl-dev',
      );
    if (compiled.status !== 0) throw new Error(`cc cannot compile ${name}:\n${compiled.stderr}`);
    return [name, path] as const;
  });
  return Object.fromEntries(paths) as Record<Program, string>;
}
