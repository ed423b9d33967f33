import { setTimeout as delay } from 'node:timers/promises';

/** What the drain uses of the store. */
export interface Outbox {
  outbox(limit: number): Promise<{ revision: number; affects: readonly string[] }[]>;
  settle(revision: number): Promise<void>;
}

export interface DrainDeps {
  outbox: Outbox;
  hint(sites: readonly string[], generation: number): void;
  log: { error(fields: object, message: string): void };
  /** Milliseconds between tries while the store does not answer. */
  retryMs?: number;
}

/** Sends the hint of every committed write, oldest first. */
export interface Drain {
  /** There may be something in the outbox. */
  wake(): void;
  /** Resolves when what was there at the last wake is sent, or the drain is closed. Safe to call twice. */
  close(): Promise<void>;
}

const BATCH = 100;

/**
 * An entry leaves the outbox only after its hint went out: a process that dies between commit and hint sends it on its next
 * start. A hint may so go out twice, which costs an agent one request answered 304.
 */
export function createDrain({ outbox, hint, log, retryMs = 1000 }: DrainDeps): Drain {
  const closing = new AbortController();
  let pending = false;
  let running: Promise<void> = Promise.resolve();
  let busy = false;

  async function drain(): Promise<void> {
    while (pending && !closing.signal.aborted) {
      pending = false;
      try {
        while (await drainBatch());
      } catch (error) {
        log.error({ err: error }, 'the outbox cannot be drained: trying again');
        pending = true;
        await delay(retryMs, undefined, { signal: closing.signal }).catch(() => {});
      }
    }
    busy = false;
  }

  /** True: there may be more. */
  async function drainBatch(): Promise<boolean> {
    const entries = await outbox.outbox(BATCH);
    for (const { revision, affects } of entries) {
      hint(affects, revision);
      await outbox.settle(revision);
    }
    return entries.length === BATCH;
  }

  return {
    wake() {
      pending = true;
      if (busy || closing.signal.aborted) return;
      busy = true;
      running = drain();
    },
    async close() {
      closing.abort();
      await running;
    },
  };
}
