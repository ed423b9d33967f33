import { readFile } from 'node:fs/promises';
import { canonicalJson, parseWith, Secret, Snapshot } from '@sipfleet/contract';
import { AgentError } from './errors.ts';
import { sha256 } from './link/client.ts';
import type { Secrets } from './ports.ts';

export interface SnapshotFile {
  snapshot: Snapshot;
  /** Of the canonical form, whatever the layout. */
  etag: string;
  secrets: Secrets;
}

/**
 * Reads a snapshot, and the values of its Secrets where a file of them is given (JSON `{ name: { key: value } }`).
 * Throws AgentError USAGE naming the file and what is wrong in it, never a value of a Secret.
 */
export async function readSnapshotFile(path: string, secretsPath?: string): Promise<SnapshotFile> {
  const snapshot = await readJson(path, (json) => parseWith(Snapshot, JSON.parse(json)));
  const secrets: Secrets = secretsPath === undefined ? new Map() : await readJson(secretsPath, readSecrets);
  return { snapshot, etag: sha256(Buffer.from(canonicalJson(snapshot))), secrets };
}

async function readJson<T>(path: string, read: (json: string) => T): Promise<T> {
  try {
    return read(await readFile(path, 'utf8'));
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'no such file' : message.replaceAll('\n', '; ');
    throw new AgentError('USAGE', `${path}: ${reason}`, { cause });
  }
}

function readSecrets(json: string): Secrets {
  const found = parseMapping(json);
  if (typeof found !== 'object' || found === null || Array.isArray(found))
    throw new Error('found something else; allowed: a mapping {name: {key: value}}');
  const read = ([name, data]: [string, unknown]) => parseWith(Secret, { kind: 'Secret', name, data });
  return new Map(
    Object.entries(found)
      .map(read)
      .map(({ name, data }) => [name, data]),
  );
}

/** The parser's own message quotes what stands around the fault. */
function parseMapping(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new Error('not well-formed JSON');
  }
}
