import type { Endpoint } from '../ports.ts';
import { TRANSPORT } from '../ports.ts';
import { createEndpoint } from './endpoint.ts';
import { LINUX, type Libc } from './libc.ts';
import { Block } from './udp/block.ts';

/** Messages taken at a time, and how often: a refusal is known within some 20 ms, and an idle socket costs 50 calls a second. */
const PER_POLL = 64;
const POLL_MS = 20;
/** Hosts quote 576 bytes at most (RFC 1812 §4.3.2.3), IPv6 up to the minimum MTU (RFC 4443 §2.4). */
const BUFFER_BYTES = 1536;

const UDP = 17;
/** RFC 792: net, host, protocol and port unreachable, and what filters answer. Not "fragmentation needed". */
const CODES_4 = new Set([0, 1, 2, 3, 9, 10, 13]);
/** RFC 4443 §3.1: no route, prohibited, address and port unreachable, policy, reject route. */
const CODES_6 = new Set([0, 1, 3, 4, 5, 6]);

/** `from`: the address and port of ours that a datagram left by; `to`: where it could not be delivered. Both are used again. */
export type OnRefusal = (from: Readonly<Endpoint>, to: Readonly<Endpoint>) => void;

/**
 * Reads the "destination unreachable" messages that this host gets for UDP, of both families, by raw sockets (CAP_NET_RAW).
 * Why so and not by the sockets that send: docs/adr, "ICMP by a raw socket".
 */
export class IcmpReader {
  readonly #libc: Libc;
  readonly #onRefusal: OnRefusal;
  readonly #sockets: { fd: number; v4: boolean }[] = [];
  readonly #buffer: Block;
  readonly #timer: NodeJS.Timeout;
  readonly #from = createEndpoint(TRANSPORT.udp);
  readonly #to = createEndpoint(TRANSPORT.udp);
  #closed = false;

  /** Throws an Error with the kernel's reason (`EPERM`) where raw sockets are not allowed. */
  constructor(libc: Libc, onRefusal: OnRefusal) {
    this.#libc = libc;
    this.#onRefusal = onRefusal;
    this.#sockets.push({ fd: this.#open(true), v4: true });
    // A host without IPv6 has no such socket, and no need of it.
    const six = this.#tryOpen();
    if (six >= 0) this.#sockets.push({ fd: six, v4: false });
    this.#buffer = new Block(libc, BUFFER_BYTES);
    this.#timer = setInterval(() => this.#poll(), POLL_MS).unref();
  }

  /** Safe twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    for (const { fd } of this.#sockets) this.#libc.close(fd);
    this.#buffer.free();
  }

  #tryOpen(): number {
    try {
      return this.#open(false);
    } catch {
      return -1;
    }
  }

  #open(v4: boolean): number {
    const family = v4 ? LINUX.AF_INET : LINUX.AF_INET6;
    const type = LINUX.SOCK_RAW | LINUX.SOCK_NONBLOCK | LINUX.SOCK_CLOEXEC;
    const fd = this.#libc.socket(family, type, v4 ? LINUX.IPPROTO_ICMP : LINUX.IPPROTO_ICMPV6);
    if (fd < 0) throw new Error(this.#libc.errorName());
    // A set bit is a type that does not pass: all but "destination unreachable".
    if (v4) this.#libc.setsockopt(fd, LINUX.SOL_RAW, LINUX.ICMP_FILTER, new Int32Array([~(1 << 3)]), 4);
    else {
      const filter = new Int32Array(8).fill(-1);
      filter[0] = ~(1 << 1);
      this.#libc.setsockopt(fd, LINUX.IPPROTO_ICMPV6, LINUX.ICMP6_FILTER, filter, 32);
    }
    return fd;
  }

  #poll(): void {
    for (const { fd, v4 } of this.#sockets)
      for (let i = 0; i < PER_POLL; i++) {
        const length = this.#libc.recv(fd, this.#buffer.address, BUFFER_BYTES, LINUX.MSG_DONTWAIT);
        if (length < 0) break;
        const read = v4 ? readUnreachable4 : readUnreachable6;
        if (read(this.#buffer.bytes, length, this.#from, this.#to)) this.#onRefusal(this.#from, this.#to);
        if (this.#closed) return;
      }
  }
}

/** An IPv4 packet with an ICMP error about a UDP datagram → its two ends. False where it is something else. */
export function readUnreachable4(bytes: Uint8Array, length: number, from: Endpoint, to: Endpoint): boolean {
  const icmp = (bytes[0]! & 15) * 4;
  const inner = icmp + 8;
  if (length < inner + 20 || bytes[icmp] !== 3 || !CODES_4.has(bytes[icmp + 1]!)) return false;
  const ports = inner + (bytes[inner]! & 15) * 4;
  if (bytes[inner]! >>> 4 !== 4 || bytes[inner + 9] !== UDP || length < ports + 4) return false;
  for (const [e, at] of [
    [from, inner + 12],
    [to, inner + 16],
  ] as const) {
    e.ip0 = e.ip1 = 0;
    e.ip2 = 0xffff;
    e.ip3 = word(bytes, at);
  }
  readPorts(bytes, ports, from, to);
  return true;
}

/** An ICMPv6 message, as raw sockets deliver it (RFC 3542 §3), likewise. Quoted extension headers are not looked behind: ours have none. */
export function readUnreachable6(bytes: Uint8Array, length: number, from: Endpoint, to: Endpoint): boolean {
  const inner = 8;
  const ports = inner + 40;
  if (length < ports + 4 || bytes[0] !== 1 || !CODES_6.has(bytes[1]!)) return false;
  if (bytes[inner]! >>> 4 !== 6 || bytes[inner + 6] !== UDP) return false;
  for (const [e, at] of [
    [from, inner + 8],
    [to, inner + 24],
  ] as const) {
    e.ip0 = word(bytes, at);
    e.ip1 = word(bytes, at + 4);
    e.ip2 = word(bytes, at + 8);
    e.ip3 = word(bytes, at + 12);
  }
  readPorts(bytes, ports, from, to);
  return true;
}

function readPorts(bytes: Uint8Array, at: number, from: Endpoint, to: Endpoint): void {
  from.port = (bytes[at]! << 8) | bytes[at + 1]!;
  to.port = (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

const word = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
