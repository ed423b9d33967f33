import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Libc } from '../libc.ts';
import { Block } from './block.ts';

/** `struct pollfd`: the descriptor, then the events asked for and those found, 16 bits each. */
const POLLFD_BYTES = 8;
const POLLIN = 1;
const EPOLLIN = 1;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
/** Where `struct epoll_event` has its data: it is packed on x86-64 alone. */
const EPOLL_DATA = process.arch === 'x64' ? 4 : 8;
const EPOLL_EVENT_BYTES = 16;
/** Sockets at once; the first place is the event loop's. */
const INITIAL_PLACES = 16;
const LOOP = 0;

/** Sockets taken out of an event loop's epoll set, to be waited for together with the loop by poll(2), and given back after. */
export class PollSet {
  readonly #libc: Libc;
  /** The event loop's epoll descriptor. */
  readonly #loop: number;
  readonly #event: Block;
  #polled: Block;
  readonly #fds: number[] = [];

  constructor(libc: Libc, loop: number) {
    this.#libc = libc;
    this.#loop = loop;
    this.#event = new Block(libc, EPOLL_EVENT_BYTES);
    this.#polled = this.#allocate(INITIAL_PLACES);
  }

  /** From now on the loop does not hear of this socket. */
  take(fd: number): void {
    if (this.#fds.includes(fd) || !this.#control(EPOLL_CTL_DEL, fd)) return;
    this.#fds.push(fd);
    this.#write();
  }

  /** The loop hears of all of them again. */
  giveBack(): void {
    for (const fd of this.#fds) this.#control(EPOLL_CTL_ADD, fd);
    this.#fds.length = 0;
  }

  /** A socket that is about to be closed. */
  forget(fd: number): void {
    const at = this.#fds.indexOf(fd);
    if (at < 0) return;
    this.#fds.splice(at, 1);
    this.#write();
  }

  /** Until a datagram is there or the loop has something to do. False: neither, in `milliseconds`. */
  wait(milliseconds: number): boolean {
    const found = this.#libc.poll(this.#polled.address, this.#fds.length + 1, milliseconds);
    if (found >= 0) return found > 0;
    // Interrupted by a signal, which is the loop's: nothing of the last wait may be left standing.
    this.#write();
    this.#polled.words[1] = POLLIN | (POLLIN << 16);
    return true;
  }

  get loopReady(): boolean {
    return this.#found(LOOP);
  }

  /** Sockets in it. */
  get size(): number {
    return this.#fds.length;
  }

  /** The i-th socket, if the last wait found something on it; else −1. */
  ready(i: number): number {
    return this.#found(i + 1) ? (this.#fds[i] as number) : -1;
  }

  free(): void {
    this.#event.free();
    this.#polled.free();
  }

  #found(place: number): boolean {
    return (this.#polled.words[2 * place + 1] as number) >>> 16 !== 0;
  }

  #write(): void {
    const places = this.#polled.bytes.length / POLLFD_BYTES;
    if (this.#fds.length >= places) {
      this.#polled.free();
      this.#polled = this.#allocate(2 * places);
    }
    const { words } = this.#polled;
    for (let i = 0; i < this.#fds.length; i++) {
      words[2 * (i + 1)] = this.#fds[i] as number;
      words[2 * (i + 1) + 1] = POLLIN;
    }
  }

  #allocate(places: number): Block {
    const block = new Block(this.#libc, places * POLLFD_BYTES);
    block.words[0] = this.#loop;
    block.words[1] = POLLIN;
    return block;
  }

  /** The event's data is what libuv looks a watcher up by: the descriptor. */
  #control(operation: number, fd: number): boolean {
    this.#event.words[0] = EPOLLIN;
    this.#event.words[EPOLL_DATA / 4] = fd;
    return this.#libc.epoll_ctl(this.#loop, operation, fd, this.#event.address) === 0;
  }
}

/** The epoll descriptor of the event loop that watches `fd`, as Linux tells of it (proc_pid_fdinfo(5)). −1: none is found. */
export function loopWatching(fd: number): number {
  const watches = new RegExp(`^tfd:\\s+${fd}\\s`, 'm');
  try {
    for (const name of readdirSync('/proc/self/fd'))
      if (isEpoll(name) && watches.test(readFileSync(`/proc/self/fdinfo/${name}`, 'latin1'))) return Number(name);
  } catch {
    // No /proc here.
  }
  return -1;
}

function isEpoll(name: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${name}`) === 'anon_inode:[eventpoll]';
  } catch {
    // Closed meanwhile, by another thread.
    return false;
  }
}
