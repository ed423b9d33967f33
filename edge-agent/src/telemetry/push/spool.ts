import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A request body, ready to be sent. */
export interface Batch {
  body: Uint8Array;
  /** Data points or samples in it, for the books. */
  samples: number;
}

interface Entry {
  name: string;
  bytes: number;
  samples: number;
}

const NAME = /^(\d{12})-(\d{1,9})\.batch$/;

/**
 * Requests that could not be sent, on disk, the oldest first. Never longer than `maxBytes`: beyond it the oldest go, since what is
 * newest is what an operator will look at. Survives a restart. Not safe for two users at once.
 */
export class Spool {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #dropped: (samples: number) => void;
  #entries: Entry[] | undefined;
  #next = 1;
  #bytes = 0;

  /** @param dropped told of samples that are lost because the spool is full or cannot be written */
  constructor(directory: string, maxBytes: number, dropped: (samples: number) => void) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
    this.#dropped = dropped;
  }

  get bytes(): number {
    return this.#bytes;
  }
  get length(): number {
    return this.#entries?.length ?? 0;
  }

  /** Reads what an earlier process left. Throws where the directory cannot be made. */
  async open(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const entries: Entry[] = [];
    for (const name of (await readdir(this.#directory)).toSorted()) {
      const [, sequence, samples] = NAME.exec(name) ?? [];
      const path = join(this.#directory, name);
      // Half written when the process before ended.
      if (sequence === undefined) await rm(path, { force: true, recursive: true });
      else {
        entries.push({ name, bytes: (await stat(path)).size, samples: Number(samples) });
        this.#next = Number(sequence) + 1;
      }
    }
    this.#entries = entries;
    this.#bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    await this.#shrink(0);
  }

  /** Appends; rejects with the system's error where the disk does not take it (the batch is then counted as dropped). */
  async put({ body, samples }: Batch): Promise<void> {
    if (body.length > this.#maxBytes) return this.#dropped(samples);
    await this.#shrink(body.length);
    const name = `${String(this.#next++).padStart(12, '0')}-${samples}.batch`;
    const path = join(this.#directory, name);
    try {
      await writeFile(`${path}.tmp`, body, { mode: 0o600 });
      await rename(`${path}.tmp`, path);
    } catch (error) {
      this.#dropped(samples);
      throw error;
    }
    this.#entries?.push({ name, bytes: body.length, samples });
    this.#bytes += body.length;
  }

  /** The oldest; undefined where there is none. */
  async peek(): Promise<Batch | undefined> {
    for (;;) {
      const oldest = this.#entries?.[0];
      if (!oldest) return undefined;
      try {
        return { body: await readFile(join(this.#directory, oldest.name)), samples: oldest.samples };
      } catch {
        // Somebody else took it away, or the disk cannot read it: the next one may do.
        this.#dropped(oldest.samples);
        await this.shift();
      }
    }
  }

  /** Removes the oldest. */
  async shift(): Promise<void> {
    const oldest = this.#entries?.shift();
    if (!oldest) return;
    this.#bytes -= oldest.bytes;
    // One that cannot be removed is sent again after a restart, and refused by the receiver as out of order.
    await rm(join(this.#directory, oldest.name), { force: true }).catch(() => {});
  }

  async #shrink(needed: number): Promise<void> {
    for (
      let oldest = this.#entries?.[0];
      oldest && this.#bytes + needed > this.#maxBytes;
      oldest = this.#entries?.[0]
    ) {
      this.#dropped(oldest.samples);
      await this.shift();
    }
  }
}
