import { LEG } from '../events.ts';
import type { BackendCalls, Origin } from './farms.ts';
import { NONE, SoftTable } from './soft-table.ts';

/** A dialog of which nothing was heard for so long is forgotten: its BYE went past us, or never was. Session timers (RFC 4028) refresh sooner. */
const SILENCE_MS = 4 * 3_600_000;
/** Beyond it new dialogs are counted as such but not followed. */
const MOST = 300_000;

export const originOf = (leg: number): Origin => (leg === LEG.fromClient ? 0 : 1);

/** 53 bits of Call-ID and leg: a PBX that is a proxy uses the same Call-ID on both. */
export const dialogKey = ({ call, leg }: { call: number; leg: number }): number => call * 4 + leg;
const originOfKey = (key: number): Origin => originOf(key & 3);

/**
 * Dialogs that go on. Soft state: counted from what passes here, forgotten after {@link SILENCE_MS}, not shared with other agents. One that
 * began elsewhere is taken up with its first message within the dialog. Times in milliseconds on the monotonic clock.
 */
export class DialogTable {
  readonly #table: SoftTable<BackendCalls>;

  constructor(now: number) {
    this.#table = new SoftTable(MOST, now);
  }

  get size(): number {
    return this.#table.size;
  }

  /** When the 2xx to its INVITE passed, of a dialog that is known. */
  established(key: number): number | undefined {
    const slot = this.#table.find(key);
    return slot === NONE ? undefined : this.#table.since(slot);
  }

  /** It began, or something within it passed: a further 2xx of a fork, or a re-INVITE. */
  begin(key: number, backend: BackendCalls, established: number, now: number): void {
    const slot = this.#table.find(key);
    if (slot !== NONE) return this.#table.setUntil(slot, now + SILENCE_MS);
    if (this.#table.add(key, backend, established, now + SILENCE_MS)) backend.activate(originOfKey(key), 1);
  }

  /** Returns the backend that has counted it, if it is known. */
  end(key: number): BackendCalls | undefined {
    const slot = this.#table.find(key);
    if (slot === NONE) return undefined;
    const backend = this.#table.owner(slot);
    this.#table.remove(slot);
    backend.activate(originOfKey(key), -1);
    return backend;
  }

  advance(now: number): void {
    this.#table.sweep(now, (backend, key) => {
      backend.activate(originOfKey(key), -1);
      backend.farm.expired++;
    });
  }
}
