import { performance } from 'node:perf_hooks';
import type { Libc } from '../libc.ts';
import { loopWatching, PollSet } from './poll-set.ts';

/** So many bursts within so many milliseconds, and this thread waits for datagrams itself. */
const BURSTS = 16;
const BURSTS_MS = 16;
/** Silence, or nothing but other work of the event loop's, after which that waits for them again. Timers are late by this at most. */
const SILENCE_MS = 5;
/** The event loop has its turn after this, whatever comes. */
const TURN_MS = 2;

/**
 * Waits for datagrams without the event loop, as long as they come often. The loop reads the first of every burst itself, into a buffer of 64 KiB of its
 * own and with an object and an address as text besides: some 10 µs a burst, and work for the garbage collector.
 */
export class OwnWait {
  readonly #libc: Libc;
  readonly #drain: (fd: number) => boolean;
  readonly #sockets = new Set<number>();
  #looking: Promise<void> | undefined;
  /** Undefined: the event loop's epoll descriptor is not known. */
  #polled: PollSet | undefined;
  #turning = false;
  /** Bursts that the event loop told of, and since when. */
  #bursts = 0;
  #since = 0;
  /** When the last datagram came. */
  #lastAt = 0;
  /** How long this thread has stood in here with nothing to do. */
  waitedMs = 0;

  /** `drain` takes what waits in a socket; false: the event loop is to have its turn now. */
  constructor(libc: Libc, drain: (fd: number) => boolean) {
    this.#libc = libc;
    this.#drain = drain;
  }

  /** A socket that the event loop watches from its next turn on. */
  async add(fd: number): Promise<void> {
    this.#sockets.add(fd);
    this.#looking ??= this.#findLoop(fd);
    await this.#looking;
  }

  /** A socket that is about to be closed. */
  remove(fd: number): void {
    this.#sockets.delete(fd);
    this.#polled?.forget(fd);
  }

  /** The event loop told of datagrams on this socket. */
  burst(fd: number): void {
    // Opened meanwhile.
    if (this.#turning) return this.#polled?.take(fd);
    if (++this.#bursts < BURSTS) return;
    const now = performance.now();
    const often = now - this.#since < BURSTS_MS;
    this.#bursts = 0;
    this.#since = now;
    if (!often || !this.#polled) return;
    for (const other of this.#sockets) this.#polled.take(other);
    this.#turning = true;
    this.#lastAt = now;
    setImmediate(this.#turn);
  }

  free(): void {
    this.#turning = false;
    this.#polled?.free();
    this.#polled = undefined;
  }

  /** Two immediates have a whole turn of the loop between them. */
  async #findLoop(fd: number): Promise<void> {
    for (let i = 0; i < 2; i++) await new Promise<void>((resolve) => setImmediate(resolve));
    const loop = loopWatching(fd);
    if (loop >= 0) this.#polled = new PollSet(this.#libc, loop);
  }

  #turn = (): void => {
    if (!this.#turning) return;
    if (this.#waitAndDrain(performance.now())) setImmediate(this.#turn);
    else if (this.#turning) {
      this.#turning = false;
      this.#polled?.giveBack();
    }
  };

  /** Until the event loop has something to do too: then it has its turn. False: it may wait for datagrams itself again. */
  #waitAndDrain(began: number): boolean {
    const polled = this.#polled as PollSet;
    let before = began;
    let goOn = true;
    do {
      const something = polled.wait(SILENCE_MS);
      const now = performance.now();
      this.waitedMs += now - before;
      if (!something) return false;
      for (let i = 0; i < polled.size; i++) {
        const fd = polled.ready(i);
        if (fd < 0) continue;
        this.#lastAt = now;
        goOn = this.#drain(fd) && goOn;
        // What was handed over may have been the order to close.
        if (!this.#turning) return false;
      }
      before = performance.now();
    } while (goOn && !polled.loopReady && before - began < TURN_MS);
    return before - this.#lastAt < SILENCE_MS;
  }
}
