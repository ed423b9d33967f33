import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

const here = import.meta.dirname;

export const PROGRAMS = ['blast', 'sink', 'cfwd'] as const;
export type Program = (typeof PROGRAMS)[number];

/** Compiles the bench's C programs; their paths. */
export function build(): Record<Program, string> {
  const out = join(here, 'build');
  mkdirSync(out, { recursive: true });
  const paths = PROGRAMS.map((name) => {
    const path = join(out, name);
    const sources = [...(name === 'blast' ? ['blast.c', 'messages.c'] : [`${name}.c`]), 'udp.c'];
    const flags = ['-std=gnu17', '-O2', '-Wall', '-Wextra', '-Werror', '-o', path];
    const compiled = spawnSync('cc', [...flags, ...sources.map((s) => join(here, s))], { encoding: 'utf8' });
    if (compiled.error)
      throw new Error(
        'cc is missing: the load generator, the sink and the bare forwarder are C and are compiled on the spot. On Debian: apt-get install gcc libc6-dev',
      );
    if (compiled.status !== 0) throw new Error(`cc cannot compile ${name}:\n${compiled.stderr}`);
    return [name, path] as const;
  });
  return Object.fromEntries(paths) as Record<Program, string>;
}
