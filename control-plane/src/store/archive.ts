import { gunzipSync, gzipSync } from 'node:zlib';
import { sha256 } from '../audit-chain.ts';
import type { CompiledSnapshot } from '../domain/compile.ts';
import type { Store } from './store.ts';

/** Keeps what is too large for the store, under the name that its content has. A name is only ever put with the same bytes. */
export interface ObjectStore {
  put(name: string, bytes: Uint8Array): Promise<void>;
  get(name: string): Promise<Uint8Array | undefined>;
  /** Removes what was last put before that time, milliseconds since the epoch. */
  sweep(before: number): Promise<void>;
}

/** The snapshots that agents were given, by their hash: what an agent runs can be told also when it should run another by now. */
export interface SnapshotArchive {
  /** Costs nothing where it was kept lately. */
  keep(snapshot: CompiledSnapshot): Promise<void>;
  /** Undefined: it was never given to an agent, or too long ago. */
  find(etag: string): Promise<CompiledSnapshot | undefined>;
  /** Forgets what is too old, where nothing else does. */
  sweep(): Promise<void>;
}

export interface ArchiveDeps {
  store: Pick<Store, 'putSnapshot' | 'snapshot'>;
  /** Without one, snapshots that do not fit into the store are not kept. */
  objects?: ObjectStore | undefined;
  /** Milliseconds since the epoch. */
  now: () => number;
}

/** An item of DynamoDB holds 400 KB. */
const MAX_STORED = 300_000;
const DAY_MS = 86_400_000;
/** From when it was last given to an agent. */
const KEEP_MS = 30 * DAY_MS;
/** What was kept or renewed within this is left alone: an agent that asks each minute costs no writes. */
const RENEW_MS = 15 * DAY_MS;
/** Hashes remembered as kept: as many sites as change at a time. */
const MAX_KNOWN = 2000;

export function createArchive({ store, objects, now }: ArchiveDeps): SnapshotArchive {
  const keptAt = new Map<string, number>();

  function remember(etag: string): void {
    if (keptAt.size >= MAX_KNOWN) keptAt.delete(keptAt.keys().next().value as string);
    keptAt.set(etag, now());
  }

  /** Another process, or this one before its start, has kept it: reading costs a tenth of writing. */
  async function isFresh(etag: string): Promise<boolean> {
    const stored = await store.snapshot(etag, new Date(now()).toISOString());
    return stored !== undefined && Date.parse(stored.expiresAt) - now() > KEEP_MS - RENEW_MS;
  }

  return {
    async keep({ etag, site, generation, body }) {
      if (now() - (keptAt.get(etag) ?? Number.NEGATIVE_INFINITY) < RENEW_MS || (await isFresh(etag))) {
        if (!keptAt.has(etag)) remember(etag);
        return;
      }
      const packed = gzipSync(body);
      const fits = packed.length <= MAX_STORED;
      if (!fits && objects === undefined) return remember(etag);
      // The object first: what the store names is there.
      if (!fits) await objects?.put(etag, packed);
      const expiresAt = new Date(now() + KEEP_MS).toISOString();
      await store.putSnapshot({ etag, site, generation, body: fits ? packed : null, expiresAt });
      remember(etag);
    },
    async find(etag) {
      const stored = await store.snapshot(etag, new Date(now()).toISOString());
      const packed = stored?.body ?? (stored && (await objects?.get(etag)));
      if (stored === undefined || packed === undefined) return undefined;
      const body = gunzipSync(packed).toString();
      if (sha256(body) !== etag) throw new Error(`the archive holds something else as snapshot ${etag}`);
      return { etag, site: stored.site, generation: stored.generation, body };
    },
    sweep: async () => objects?.sweep(now() - KEEP_MS - DAY_MS),
  };
}
