import { readFile } from 'node:fs/promises';
import { canonicalJson, parseWith, Snapshot } from '@sipfleet/contract';
import { AgentError } from './errors.ts';
import { sha256 } from './link/client.ts';

/** Reads a snapshot from a file; its ETag is that of its canonical form, whatever the layout. Throws AgentError USAGE naming the file and what is wrong in it. */
export async function readSnapshotFile(path: string): Promise<{ snapshot: Snapshot; etag: string }> {
  try {
    const snapshot = parseWith(Snapshot, JSON.parse(await readFile(path, 'utf8')));
    return { snapshot, etag: sha256(Buffer.from(canonicalJson(snapshot))) };
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'no such file' : message.replaceAll('\n', '; ');
    throw new AgentError('USAGE', `${path}: ${reason}`, { cause });
  }
}
