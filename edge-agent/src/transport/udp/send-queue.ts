import type { Endpoint, TransportCounts } from '../../ports.ts';
import { LINUX, type Libc } from '../libc.ts';
import { Block } from './block.ts';
import { IOVEC, MMSGHDR } from './message-header.ts';
import { SOCKADDR_BYTES, writeSockaddr } from './sockaddr.ts';

/** Twice a received batch: a message may cause two (a forwarded request and its 100). */
const SLOTS = 128;
const IOVECS_AT = SLOTS * MMSGHDR.bytes;
const ADDRESSES_AT = IOVECS_AT + SLOTS * IOVEC.bytes;

/** Datagrams of one socket waiting for the next sendmmsg. Their text stands in the worker's block; here are the headers. */
export class SendQueue {
  readonly #libc: Libc;
  readonly #text: Block;
  readonly #block: Block;
  #count = 0;

  constructor(libc: Libc, text: Block) {
    this.#libc = libc;
    this.#text = text;
    this.#block = new Block(libc, ADDRESSES_AT + SLOTS * SOCKADDR_BYTES);
    const { words } = this.#block;
    for (let i = 0; i < SLOTS; i++) {
      const header = i * MMSGHDR.bytes;
      const iovec = IOVECS_AT + i * IOVEC.bytes;
      this.#block.writePointer(header + MMSGHDR.name, this.#block, ADDRESSES_AT + i * SOCKADDR_BYTES);
      this.#block.writePointer(header + MMSGHDR.iov, this.#block, iovec);
      words[(header + MMSGHDR.iovLength) >>> 2] = 1;
      // Sets the high half for good: push changes the low one only.
      this.#block.writePointer(iovec + IOVEC.base, text, 0);
    }
  }

  get empty(): boolean {
    return this.#count === 0;
  }

  get full(): boolean {
    return this.#count === SLOTS;
  }

  /** `at`, `length`: where the text stands. The queue must not be full. */
  push(at: number, length: number, to: Readonly<Endpoint>): void {
    const { words, bytes } = this.#block;
    const i = this.#count++;
    const iovec = (IOVECS_AT + i * IOVEC.bytes) >>> 2;
    words[iovec] = this.#text.low(at);
    words[iovec + IOVEC.length / 4] = length;
    words[(i * MMSGHDR.bytes + MMSGHDR.nameLength) >>> 2] = writeSockaddr(bytes, ADDRESSES_AT + i * SOCKADDR_BYTES, to);
  }

  /** Hands all to the kernel. One that it refuses (EAGAIN, ENETUNREACH, EMSGSIZE, …) is skipped and counted; the rest goes on. */
  flush(fd: number, counts: TransportCounts): void {
    const count = this.#count;
    this.#count = 0;
    let at = 0;
    while (at < count) {
      const address = at === 0 ? this.#block.address : this.#block.address + BigInt(at * MMSGHDR.bytes);
      const taken = this.#libc.sendmmsg(fd, address, count - at, LINUX.MSG_DONTWAIT);
      // sendmmsg reports an error only for the first message of a call: it is the one to skip.
      if (taken <= 0) {
        counts.sendDropped++;
        at++;
        continue;
      }
      counts.sent += taken;
      for (let i = at; i < at + taken; i++) counts.sentBytes += this.#length(i);
      at += taken;
    }
  }

  free(): void {
    this.#block.free();
  }

  #length(i: number): number {
    return this.#block.words[(IOVECS_AT + i * IOVEC.bytes + IOVEC.length) >>> 2] as number;
  }
}
