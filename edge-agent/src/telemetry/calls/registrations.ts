import type { BackendCalls } from './farms.ts';
import { NONE, SoftTable } from './soft-table.ts';

const MOST = 1_000_000;

/**
 * Bindings that backends stored, by address-of-record and Contact. Soft state: counted from what passes here. A phone that comes back with
 * another Contact counts twice until the first one expires, as it does with its registrar. Times in milliseconds on the monotonic clock.
 */
export class RegistrationTable {
  readonly #table: SoftTable<BackendCalls>;

  constructor(now: number) {
    this.#table = new SoftTable(MOST, now);
  }

  get size(): number {
    return this.#table.size;
  }

  /** Stored, or stored again, until then. */
  store(key: number, backend: BackendCalls, now: number, until: number): void {
    const slot = this.#table.find(key);
    if (slot === NONE) {
      if (this.#table.add(key, backend, now, until)) backend.registered++;
      return;
    }
    this.#table.owner(slot).registered--;
    backend.registered++;
    this.#table.setOwner(slot, backend);
    this.#table.setUntil(slot, until);
  }

  remove(key: number): void {
    const slot = this.#table.find(key);
    if (slot === NONE) return;
    this.#table.owner(slot).registered--;
    this.#table.remove(slot);
  }

  advance(now: number): void {
    this.#table.sweep(now, (backend) => {
      backend.registered--;
    });
  }
}
