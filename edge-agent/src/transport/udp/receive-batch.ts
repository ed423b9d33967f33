import type { Endpoint } from '../../ports.ts';
import { LINUX, type Libc } from '../libc.ts';
import { Block } from './block.ts';
import { CMSGHDR, IOVEC, MMSGHDR } from './message-header.ts';
import { readSockaddr, SOCKADDR_BYTES, SOCKADDR_IN6_LENGTH } from './sockaddr.ts';

/** Datagrams per recvmmsg. Beyond 64 a batch saves nothing measurable and delays the first of it. */
export const BATCH = 64;

/** Five cache lines between buffers: a pure 64 KiB stride would put the start of every message into the same cache set. */
const STAGGER = 320;

const IOVECS_AT = BATCH * MMSGHDR.bytes;
const ADDRESSES_AT = IOVECS_AT + BATCH * IOVEC.bytes;
const CONTROL_AT = Math.ceil((ADDRESSES_AT + BATCH * SOCKADDR_BYTES) / 8) * 8;
/** A timestamp (32 bytes) and a count (24), with room to spare. */
const CONTROL_BYTES = 128;

const strideOf = (datagram: number) => (Math.ceil(datagram / 64) + STAGGER / 64) * 64;

/**
 * Header, address and buffer of each datagram of a batch. The headers have a block of their own, so that nobody who
 * writes into a received message can reach a pointer; the buffers stand at the front of the worker's text block.
 */
export class ReceiveBatch {
  /** Offset of one more buffer, for a datagram that came by another way than `receive`. */
  readonly spare: number;
  readonly #libc: Libc;
  readonly #block: Block;
  readonly #stride: number;
  /** Headers whose name length the kernel has overwritten. */
  #used = 0;
  /** When the first datagram of the last batch came in, milliseconds of the wall clock; 0: the kernel did not say. */
  arrived = 0;
  /** Datagrams that this socket was too full for since it was opened (SO_RXQ_OVFL; modulo 2³²), as the last batch says; 0: none. */
  overflown = 0;

  /** What the buffers take of the text block. */
  static textBytes(datagram: number): number {
    return (BATCH + 1) * strideOf(datagram);
  }

  /** `datagram`: the longest that fits; longer ones come truncated. */
  constructor(libc: Libc, text: Block, datagram: number) {
    this.#libc = libc;
    this.#stride = strideOf(datagram);
    this.spare = this.start(BATCH);
    this.#block = new Block(libc, CONTROL_AT + CONTROL_BYTES);
    const { words } = this.#block;
    for (let i = 0; i < BATCH; i++) {
      const header = i * MMSGHDR.bytes;
      const iovec = IOVECS_AT + i * IOVEC.bytes;
      this.#block.writePointer(header + MMSGHDR.name, this.#block, ADDRESSES_AT + i * SOCKADDR_BYTES);
      words[(header + MMSGHDR.nameLength) >>> 2] = SOCKADDR_IN6_LENGTH;
      this.#block.writePointer(header + MMSGHDR.iov, this.#block, iovec);
      words[(header + MMSGHDR.iovLength) >>> 2] = 1;
      this.#block.writePointer(iovec + IOVEC.base, text, this.start(i));
      words[(iovec + IOVEC.length) >>> 2] = datagram;
    }
    // Of the first of a batch, which has waited longest, the kernel tells more.
    this.#block.writePointer(MMSGHDR.control, this.#block, CONTROL_AT);
  }

  /** Takes what waits on the fd, at most a batch; 0 where nothing does. */
  receive(fd: number): number {
    const { words } = this.#block;
    // The kernel cut each used one to what it wrote: an IPv6 source would not fit where an IPv4 one was.
    for (let i = 0; i < this.#used; i++) words[(i * MMSGHDR.bytes + MMSGHDR.nameLength) >>> 2] = SOCKADDR_IN6_LENGTH;
    words[MMSGHDR.controlLength >>> 2] = CONTROL_BYTES;
    const count = this.#libc.recvmmsg(fd, this.#block.address, BATCH, LINUX.MSG_DONTWAIT, null);
    this.#used = Math.max(count, 0);
    if (count > 0) this.#control();
    return this.#used;
  }

  /** Reads the control messages (cmsg(3)) of the first datagram. */
  #control(): void {
    const { words } = this.#block;
    this.arrived = this.overflown = 0;
    const end = CONTROL_AT + (words[MMSGHDR.controlLength >>> 2] as number);
    for (let at = CONTROL_AT; at + CMSGHDR.data <= end; ) {
      const length = words[(at + CMSGHDR.length) >>> 2] as number;
      if (length < CMSGHDR.data) return;
      const data = (at + CMSGHDR.data) >>> 2;
      const type = words[(at + CMSGHDR.type) >>> 2];
      if (words[(at + CMSGHDR.level) >>> 2] === LINUX.SOL_SOCKET) {
        // struct timespec: 64-bit seconds and nanoseconds, each in its low half until 2106.
        if (type === LINUX.SO_TIMESTAMPNS)
          this.arrived = (words[data] as number) * 1000 + (words[data + 2] as number) / 1e6;
        else if (type === LINUX.SO_RXQ_OVFL) this.overflown = words[data] as number;
      }
      at += (length + 7) & ~7;
    }
  }

  start(i: number): number {
    return i * this.#stride;
  }

  length(i: number): number {
    return this.#block.words[(i * MMSGHDR.bytes + MMSGHDR.length) >>> 2] as number;
  }

  truncated(i: number): boolean {
    return ((this.#block.words[(i * MMSGHDR.bytes + MMSGHDR.flags) >>> 2] as number) & LINUX.MSG_TRUNC) !== 0;
  }

  source(i: number, into: Endpoint): void {
    readSockaddr(this.#block.bytes, ADDRESSES_AT + i * SOCKADDR_BYTES, into);
  }

  free(): void {
    this.#block.free();
  }
}
