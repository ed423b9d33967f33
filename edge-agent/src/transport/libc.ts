import { createRequire } from 'node:module';
import { endianness } from 'node:os';

/** The few calls of libc that Node does not offer. Pointers are bigints or the typed arrays they point to. */
export interface Libc {
  calloc(count: number, size: number): bigint;
  free(address: bigint): void;
  socket(family: number, type: number, protocol: number): number;
  setsockopt(fd: number, level: number, name: number, value: Int32Array, length: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  getsockname(fd: number, address: Uint8Array, length: Uint32Array): number;
  recvmmsg(fd: number, messages: bigint, count: number, flags: number, timeout: null): number;
  sendmmsg(fd: number, messages: bigint, count: number, flags: number): number;
  /** −1: nothing there, or an error. */
  recv(fd: number, buffer: bigint, length: number, flags: number): number;
  close(fd: number): number;
  /** `sockets`: address of `count` pollfd. Waits `milliseconds` at most. */
  poll(sockets: bigint, count: number, milliseconds: number): number;
  epoll_ctl(epoll: number, operation: number, fd: number, event: bigint): number;
  /** A system call that libc has no name for; `pid` 0: the calling thread. */
  syscall(number: number, pid: number, structure: Uint8Array, flags: number): number;
  /** Memory outside of V8's heap as an ArrayBuffer. */
  view(address: bigint, length: number): ArrayBuffer;
  /** Name of the last call's error: `EADDRINUSE`. */
  errorName(): string;
}

/** Linux's numbers, as on x86-64 and arm64. */
export const LINUX = {
  AF_INET: 2,
  AF_INET6: 10,
  SOCK_STREAM: 1,
  SOCK_DGRAM: 2,
  SOCK_RAW: 3,
  SOCK_NONBLOCK: 0o4000,
  SOCK_CLOEXEC: 0o2000000,
  SOL_SOCKET: 1,
  SO_REUSEADDR: 2,
  SO_SNDBUF: 7,
  SO_RCVBUF: 8,
  SO_REUSEPORT: 15,
  SO_SNDBUFFORCE: 32,
  SO_RCVBUFFORCE: 33,
  SO_TIMESTAMPNS: 35,
  SO_RXQ_OVFL: 40,
  IPPROTO_IP: 0,
  IP_FREEBIND: 15,
  IPPROTO_ICMP: 1,
  SOL_RAW: 255,
  ICMP_FILTER: 1,
  IPPROTO_ICMPV6: 58,
  ICMP6_FILTER: 1,
  IPPROTO_IPV6: 41,
  IPV6_V6ONLY: 26,
  IPV6_FREEBIND: 78,
  MSG_TRUNC: 0x20,
  MSG_DONTWAIT: 0x40,
} as const;

let loaded: Libc | null | undefined;

/** libc through koffi; undefined where the platform is not Linux on a machine whose struct layouts we know, or koffi does not load. */
export function loadLibc(): Libc | undefined {
  loaded ??= load();
  return loaded ?? undefined;
}

function load(): Libc | null {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch) || endianness() !== 'LE') return null;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    // The symbols of the running program include its libc, be it glibc's or musl's.
    const lib = koffi.load(null);
    const names = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]));
    const calls = {
      calloc: lib.func('void *calloc(size_t count, size_t size)'),
      free: lib.func('void free(void *address)'),
      socket: lib.func('int socket(int family, int type, int protocol)'),
      setsockopt: lib.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)'),
      bind: lib.func('int bind(int fd, const void *address, uint32_t length)'),
      getsockname: lib.func('int getsockname(int fd, _Out_ uint8_t *address, _Inout_ uint32_t *length)'),
      // Addresses as integers: koffi then passes them on without looking at what they point to.
      recvmmsg: lib.func('int recvmmsg(int fd, uintptr_t messages, uint32_t count, int flags, void *timeout)'),
      sendmmsg: lib.func('int sendmmsg(int fd, uintptr_t messages, uint32_t count, int flags)'),
      recv: lib.func('intptr_t recv(int fd, uintptr_t buffer, size_t length, int flags)'),
      close: lib.func('int close(int fd)'),
      poll: lib.func('int poll(uintptr_t sockets, unsigned long count, int milliseconds)'),
      epoll_ctl: lib.func('int epoll_ctl(int epoll, int operation, int fd, uintptr_t event)'),
      syscall: lib.func('long syscall(long number, int pid, const void *structure, uint32_t flags)'),
    } as unknown as Omit<Libc, 'view' | 'errorName'>;
    return {
      ...calls,
      view: (address, length) => koffi.view(address, length),
      errorName: () => names.get(koffi.errno()) ?? `errno ${koffi.errno()}`,
    };
  } catch {
    // No prebuilt koffi for this machine: the portable transport serves.
    return null;
  }
}
