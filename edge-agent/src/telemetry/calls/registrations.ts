import { Expiry } from './expiry.ts';
import type { BackendCalls } from './farms.ts';

interface Registration {
  key: number;
  backend: BackendCalls;
  /** Milliseconds on the monotonic clock. */
  until: number;
  ended: boolean;
}

const MOST = 1_000_000;

/**
 * Bindings that backends stored, by address-of-record and Contact. Soft state: counted from what passes here. A phone that comes back with
 * another Contact counts twice until the first one expires, as it does with its registrar.
 */
export class RegistrationTable {
  readonly #registrations = new Map<number, Registration>();
  readonly #expiry: Expiry<Registration>;

  constructor(second: number) {
    this.#expiry = new Expiry(second);
  }

  get size(): number {
    return this.#registrations.size;
  }

  /** Stored, or stored again, until then. */
  store(key: number, backend: BackendCalls, until: number): void {
    const known = this.#registrations.get(key);
    if (known === undefined) {
      if (this.#registrations.size >= MOST) return;
      const registration = { key, backend, until, ended: false };
      this.#registrations.set(key, registration);
      backend.registered++;
      return this.#expiry.add(registration, until / 1000);
    }
    if (known.backend !== backend) {
      known.backend.registered--;
      backend.registered++;
      known.backend = backend;
    }
    // A shorter one is looked at when the longer would have been: seldom, and late by a known time.
    if (until < known.until) this.#expiry.add(known, until / 1000);
    known.until = until;
  }

  remove(key: number): void {
    const known = this.#registrations.get(key);
    if (known !== undefined) this.#end(known);
  }

  /** `now` in milliseconds. */
  advance(now: number): void {
    this.#expiry.advance(now / 1000, (registration) => {
      if (registration.ended) return;
      if (registration.until > now) this.#expiry.add(registration, registration.until / 1000);
      else this.#end(registration);
    });
  }

  #end(registration: Registration): void {
    registration.ended = true;
    registration.backend.registered--;
    this.#registrations.delete(registration.key);
  }
}
