import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { StoreOptions } from '../../control-plane/src/server.ts';

// A process for every step of a deed: what the first one compiled, the others need not, which halves the time to their start.
const compiled = mkdtempSync(join(tmpdir(), 'sipfleet-mortal-'));
afterAll(() => rmSync(compiled, { recursive: true, force: true }));

/** A control plane that can be told to kill itself. */
export const forkMortal = (store: StoreOptions, dataDir: string): ChildProcess =>
  fork(join(import.meta.dirname, 'mortal-control-plane.ts'), [JSON.stringify(store), dataDir], {
    env: { ...process.env, NODE_COMPILE_CACHE: compiled },
  });
