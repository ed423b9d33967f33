// Runs TypeScript in this Node if it can (24 or later), else in the one that `npm ci` put into node_modules.
// Plain JavaScript, because the Node that reads this file may be an old one, which cannot read .ts files.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const NEEDED = 24;
const here = dirname(realpathSync(fileURLToPath(import.meta.url)));
const major = (version) => Number(/^v(\d+)/.exec(version)?.[1] ?? 0);

/**
 * Helper threads of the garbage collector wait for a core while the data thread waits for them, and take it from the data thread, whose nice value
 * they share. A heap as small as an agent's is collected as fast without them. V8 takes this on the command line only: what it stands for is worked
 * out once, at the start.
 */
const COLLECT_ALONE = '--single-threaded-gc';

/** node_modules/.bin/node, from here upwards. */
function pinnedNode() {
  for (let at = here; ; at = dirname(at)) {
    const candidate = join(at, 'node_modules', '.bin', 'node');
    if (existsSync(candidate)) {
      const { stdout } = spawnSync(candidate, ['--version'], { encoding: 'utf8' });
      if (major(stdout ?? '') >= NEEDED) return candidate;
    }
    if (at === dirname(at)) return undefined;
  }
}

/** Runs a program under `node`, as if it stood here: same streams, signals passed on, same exit code. */
function runUnder(node, flags, main, fail) {
  const stdio = process.send ? ['inherit', 'inherit', 'inherit', 'ipc'] : 'inherit';
  const child = spawn(node, [...flags, main, ...process.argv.slice(2)], { stdio });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('message', (message) => process.send?.(message));
  child.on('error', (error) => fail(`${node} cannot be started: ${error.message}`));
  // A child that a signal ended has no exit code: shells say 128 + the signal's number.
  const numbers = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (numbers[signal] ?? 0)));
}

/**
 * Starts the program whose `main(argv)` stands in a file below src/. `name` is what its messages begin with, `failure` the
 * exit code where no Node can run it. `serves`: it handles packets.
 */
export async function launch(name, file, failure, serves = false) {
  const fail = (message) => {
    process.stderr.write(`${name}: ${message}\n`);
    process.exit(failure);
  };
  const path = join(here, '..', 'src', file);
  const flags = serves ? [COLLECT_ALONE] : [];
  if (major(process.version) >= NEEDED) {
    // The same process with another command line. One that was forked would lose its parent; that gives the flag itself.
    if (flags.some((flag) => !process.execArgv.includes(flag)) && !process.send && process.execve) {
      const { execPath, execArgv, argv } = process;
      process.execve(execPath, [execPath, ...execArgv, ...flags, ...argv.slice(1)], process.env);
    }
    const { main } = await import(pathToFileURL(path).href);
    return main(process.argv.slice(2));
  }
  const node = pinnedNode();
  if (node) return runUnder(node, flags, path, fail);
  fail(`needs Node ${NEEDED} or later; this is ${process.version} and there is none in node_modules/.bin: run npm ci`);
}
