import { spawn } from 'node:child_process';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '..', '..');

/** One tool and how it fared. */
export interface Step {
  name: string;
  passed: boolean;
  seconds: number;
}

/** The tools of this repository as npm installed them, by their JavaScript files: no shell, no PATH, the Node that runs this. */
const TOOLS = {
  tsc: 'typescript/bin/tsc',
  biome: '@biomejs/biome/bin/biome',
  vitest: 'vitest/vitest.mjs',
} as const;

/** Runs a tool. `quiet`: its output is printed in one piece when it has ended, so that parallel steps do not mix. */
export function step(
  name: string,
  tool: keyof typeof TOOLS,
  args: readonly string[],
  options: { quiet: boolean; env?: Record<string, string> },
): Promise<Step> {
  const started = process.hrtime.bigint();
  const child = spawn(process.execPath, [join(ROOT, 'node_modules', TOOLS[tool]), ...args], {
    cwd: ROOT,
    env: { ...process.env, ...options.env },
    stdio: options.quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'],
  });
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => output.push(chunk));
  return new Promise((resolve) => {
    child.once('error', (error) => output.push(Buffer.from(`${error.message}\n`)));
    child.once('close', (code) => {
      const seconds = Number(process.hrtime.bigint() - started) / 1e9;
      console.log(`${code === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds.toFixed(1)} s)`);
      if (code !== 0 || process.env.VERBOSE) process.stdout.write(Buffer.concat(output));
      resolve({ name, passed: code === 0, seconds });
    });
  });
}

export const types = (): Promise<Step> => step('types', 'tsc', ['--noEmit'], { quiet: true });
/** Formatting and lint; writes nothing. */
export const lint = (): Promise<Step> => step('lint', 'biome', ['check', '--error-on-warnings', '.'], { quiet: true });
