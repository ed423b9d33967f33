import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomOf } from './random.ts';
import type { Input, Target } from './target.ts';

/** Where what was found is kept: test/fuzz/fuzz.test.ts tries everything there again, for ever. */
export const FOUND = join(import.meta.dirname, '..', 'corpus', 'found');

export interface Limits {
  runs: number;
  /** Milliseconds since an arbitrary moment at which to stop; Infinity where `runs` alone decides. */
  until: number;
  /** Milliseconds that one message may take; Infinity where time must not decide. */
  perMessage: number;
}

export interface Found {
  run: number;
  input: Input;
  error: Error;
}

/** Runs a target until something is found or a limit is reached. Run `i` of a seed is the same whatever went before. */
export function fuzz(
  target: Target,
  seed: number,
  { runs, until, perMessage }: Limits,
): { runs: number; found?: Found } {
  let run = 0;
  for (; run < runs && performance.now() < until; run++) {
    const input = target.input(randomOf(seed, run));
    const start = performance.now();
    try {
      target.check(input);
      const took = performance.now() - start;
      if (took > perMessage) throw new Error(`took ${took.toFixed(0)} ms`);
    } catch (error) {
      return { runs: run + 1, found: { run, input, error: error as Error } };
    }
  }
  return { runs: run };
}

/** Writes a message to test/corpus/found under a name made of its target and its bytes. Returns the path. */
export function keep(name: string, message: string): string {
  const bytes = Buffer.from(message, 'latin1');
  mkdirSync(FOUND, { recursive: true });
  const path = join(FOUND, `${name}-${createHash('sha256').update(bytes).digest('hex').slice(0, 12)}.sip`);
  writeFileSync(path, bytes);
  return path;
}
