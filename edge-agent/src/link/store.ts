import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseWith, Snapshot } from '@sipfleet/contract';
import { AgentError } from '../errors.ts';
import { sha256 } from './client.ts';
import { syncDirectory, writeDurably } from './durable-file.ts';
import type { SealedSecrets } from './secret-keeper.ts';
import type { Purpose } from './trust.ts';

const KEEP = 3;
const NAME = /^(\d+)-([0-9a-f]{64})\.json$/;

/** What a file holds: all of it as it came. */
export interface SnapshotRecord {
  /** The text whose SHA-256 is the ETag. */
  snapshot: string;
  signature: string | null;
  /** Sealed: who reads the disk and not DATA/identity.json too learns nothing. */
  secrets: SealedSecrets | undefined;
}

export interface StoredSnapshot {
  etag: string;
  snapshot: Snapshot;
  secrets: SealedSecrets | undefined;
  /** Newer files that were passed over, and why. */
  skipped: string[];
}

interface File {
  name: string;
  generation: number;
  etag: string;
}

/**
 * Snapshots that this agent has run, on disk: what it boots from when the control plane is away.
 * One file each, DATA/snapshots/GENERATION-ETAG.json, signature and Secrets with it, so that a crash cannot part them;
 * the name proves the content, and the signature who made it.
 */
export class SnapshotStore {
  readonly #directory: string;
  readonly #trust: { checkStored(purpose: Purpose, body: string, header: string | null): void };

  constructor(data: string, trust: { checkStored(purpose: Purpose, body: string, header: string | null): void }) {
    this.#directory = join(data, 'snapshots');
    this.#trust = trust;
  }

  /** Keeps a snapshot that was applied. Throws AgentError STORE; what was kept before is then still there. */
  async save(etag: string, generation: number, record: SnapshotRecord): Promise<void> {
    const name = `${generation}-${etag}.json`;
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await writeDurably(join(this.#directory, name), JSON.stringify(record));
      await this.#prune(name, generation);
    } catch (cause) {
      throw new AgentError('STORE', `${join(this.#directory, name)} cannot be written: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  /** The newest snapshot that is whole and signed; undefined if there is none. */
  async load(): Promise<StoredSnapshot | undefined> {
    const skipped: string[] = [];
    for (const { name, etag } of await this.#files()) {
      try {
        const record = JSON.parse(await readFile(join(this.#directory, name), 'utf8')) as SnapshotRecord;
        const text = String(record.snapshot);
        if (sha256(Buffer.from(text)) !== etag) throw new Error('its content does not have the SHA-256 of its name');
        this.#trust.checkStored('snapshot', text, record.signature);
        return { etag, snapshot: parseWith(Snapshot, JSON.parse(text)), secrets: record.secrets, skipped };
      } catch (error) {
        skipped.push(`${join(this.#directory, name)}: ${(error as Error).message}`);
      }
    }
    return undefined;
  }

  /** Newest first. */
  async #files(): Promise<File[]> {
    const names = await readdir(this.#directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw new AgentError('STORE', `${this.#directory} cannot be read: ${error.message}`, { cause: error });
    });
    return names
      .flatMap((name) => {
        const m = NAME.exec(name);
        return m ? [{ name, generation: Number(m[1]), etag: m[2] as string }] : [];
      })
      .sort((a, b) => b.generation - a.generation);
  }

  /**
   * Removes what is too old, and what has this generation or a later one: a control plane that started over counts from
   * the beginning, and then the greatest number is not the last that was applied. Order by generation alone needs no clock.
   */
  async #prune(saved: string, generation: number): Promise<void> {
    const others = (await this.#files()).filter((f) => f.name !== saved);
    const gone = [
      ...others.filter((f) => f.generation >= generation),
      ...others.filter((f) => f.generation < generation).slice(KEEP - 1),
    ];
    for (const { name } of gone) await rm(join(this.#directory, name), { force: true });
    if (gone.length > 0) await syncDirectory(this.#directory);
  }
}
