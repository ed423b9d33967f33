import type { Logger } from 'pino';
import { backoffMs } from './backoff.ts';
import type { SnapshotRecord } from './store.ts';

export interface SnapshotKeeperPorts {
  store: { save(etag: string, generation: number, record: SnapshotRecord): Promise<void> };
  log: Pick<Logger, 'info' | 'error'>;
  random?: () => number;
}

interface Kept {
  readonly etag: string;
  readonly generation: number;
  readonly record: SnapshotRecord;
}

/**
 * Has on disk what runs. A disk that is full or read-only for a while is tried again, with backoff, until it takes it or something newer runs. One save at a time: an older
 * one that ended after a newer one would remove it.
 */
export class SnapshotKeeper {
  readonly #ports: SnapshotKeeperPorts;
  /** What is not on disk yet. */
  #wanted: Kept | undefined;
  #saving: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #closed = false;

  constructor(ports: SnapshotKeeperPorts) {
    this.#ports = ports;
  }

  /** Saves that failed, and whether a restart would find something else than what runs. */
  get status(): { failures: number; unsaved: boolean } {
    return { failures: this.#failures, unsaved: this.#wanted !== undefined };
  }

  /** Resolves after the first try, whatever became of it. */
  keep(etag: string, generation: number, record: SnapshotRecord): Promise<void> {
    clearTimeout(this.#timer);
    const kept = { etag, generation, record };
    this.#wanted = kept;
    return this.#queue(kept, 0);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #queue(kept: Kept, attempt: number): Promise<void> {
    this.#saving = this.#saving.then(() => this.#save(kept, attempt));
    return this.#saving;
  }

  async #save(kept: Kept, attempt: number): Promise<void> {
    if (this.#wanted !== kept || this.#closed) return;
    const { etag, generation, record } = kept;
    const { store, log, random } = this.#ports;
    try {
      await store.save(etag, generation, record);
    } catch (error) {
      this.#failures++;
      // Once, not with every try.
      if (attempt === 0)
        log.error(
          { reason: (error as Error).message, generation },
          'snapshot runs, but a restart would not find it: trying again',
        );
      if (this.#wanted === kept && !this.#closed)
        this.#timer = setTimeout(() => void this.#queue(kept, attempt + 1), backoffMs(attempt, random));
      return;
    }
    if (this.#wanted === kept) this.#wanted = undefined;
    if (attempt > 0) log.info({ generation, tries: attempt + 1 }, 'the snapshot that runs is on disk now');
  }
}
