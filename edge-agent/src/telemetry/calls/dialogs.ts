import { Expiry } from './expiry.ts';
import type { BackendCalls, FarmCalls, Origin } from './farms.ts';

/** An established session as this agent knows it. */
export interface Dialog {
  key: number;
  farm: FarmCalls;
  backend: BackendCalls;
  origin: Origin;
  /** When the 2xx to its INVITE passed, in milliseconds on the monotonic clock. */
  established: number;
  /** When something within it passed last. */
  seen: number;
  ended: boolean;
}

/** A dialog of which nothing was heard for so long is forgotten: its BYE went past us, or never was. Session timers (RFC 4028) refresh sooner. */
export const SILENCE_S = 4 * 3600;
/** Beyond it new dialogs are counted as such but not followed. */
const MOST = 300_000;

/**
 * Dialogs that go on. Soft state: counted from what passes here, forgotten after {@link SILENCE_S}, not shared with other agents. One that
 * began elsewhere is taken up with its first message within the dialog.
 */
export class DialogTable {
  readonly #dialogs = new Map<number, Dialog>();
  readonly #expiry: Expiry<Dialog>;

  constructor(second: number) {
    this.#expiry = new Expiry(second);
  }

  get size(): number {
    return this.#dialogs.size;
  }

  find(key: number): Dialog | undefined {
    return this.#dialogs.get(key);
  }

  begin(key: number, farm: FarmCalls, backend: BackendCalls, origin: Origin, established: number, now: number): void {
    const known = this.#dialogs.get(key);
    if (known !== undefined) {
      // A further 2xx of a fork, or of a re-INVITE.
      known.seen = now;
      return;
    }
    if (this.#dialogs.size >= MOST) return;
    const dialog: Dialog = { key, farm, backend, origin, established, seen: now, ended: false };
    this.#dialogs.set(key, dialog);
    backend.activate(origin, 1);
    this.#expiry.add(dialog, now / 1000 + SILENCE_S);
  }

  end(dialog: Dialog): void {
    if (dialog.ended) return;
    dialog.ended = true;
    this.#dialogs.delete(dialog.key);
    dialog.backend.activate(dialog.origin, -1);
  }

  /** `now` in milliseconds. */
  advance(now: number): void {
    this.#expiry.advance(now / 1000, (dialog) => {
      if (dialog.ended) return;
      const due = dialog.seen / 1000 + SILENCE_S;
      if (due > now / 1000) return this.#expiry.add(dialog, due);
      this.end(dialog);
      dialog.farm.expired++;
    });
  }
}
