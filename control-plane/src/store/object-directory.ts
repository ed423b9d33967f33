import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObjectStore } from './archive.ts';

/** Objects as files of one directory, readable by their owner only: snapshots carry keys. Made when the first is put. */
export function objectDirectory(directory: string): ObjectStore {
  const pathOf = (name: string): string => {
    if (!/^[0-9a-f]{64}$/.test(name)) throw new Error(`an object is named by its SHA-256, not ${JSON.stringify(name)}`);
    return join(directory, name);
  };
  return {
    async put(name, bytes) {
      const path = pathOf(name);
      await mkdir(directory, { recursive: true, mode: 0o700 });
      // Whoever reads sees it whole or not at all; who dies half-way leaves a file that the sweep takes.
      const draft = `${path}.${randomUUID()}`;
      await writeFile(draft, bytes, { mode: 0o600, flush: true });
      await rename(draft, path);
    },
    get: (name) => readFile(pathOf(name)).catch(absent(undefined)),
    async sweep(before) {
      for (const name of await readdir(directory).catch(absent<string[]>([]))) {
        const path = join(directory, name);
        const modified = (await stat(path).catch(absent(undefined)))?.mtimeMs;
        if (modified !== undefined && modified < before) await rm(path, { force: true });
      }
    },
  };
}

const absent =
  <T>(instead: T) =>
  (error: NodeJS.ErrnoException): T => {
    if (error.code === 'ENOENT') return instead;
    throw error;
  };
