import { TRANSPORT } from '../ports.ts';
import { createEndpoint, isIPv4, setAddress } from './endpoint.ts';
import { LINUX, type Libc } from './libc.ts';
import { listenError } from './listen-error.ts';
import { readSockaddr, SOCKADDR_BYTES, writeSockaddr } from './udp/sockaddr.ts';

/** Asked for; the kernel gives less where neither the capability nor net.core.[rw]mem_max allows it. 8 MiB hold about 4,000 SIP messages. */
const BUFFER_BYTES = 8 << 20;

export interface BoundSocket {
  fd: number;
  port: number;
  family: 4 | 6;
}

/**
 * A bound, non-blocking socket that shares its port with the other workers' (SO_REUSEPORT) and may stand on an address
 * that this host does not hold yet (IP_FREEBIND: a standby is ready before the virtual IP arrives).
 * Throws AgentError LISTEN. The caller owns the fd.
 */
export function openBoundSocket(libc: Libc, transport: 'udp' | 'tcp', address: string, port: number): BoundSocket {
  const endpoint = createEndpoint(TRANSPORT[transport]);
  if (!setAddress(endpoint, address)) throw listenError(transport, address, port, 'EINVAL');
  endpoint.port = port;
  const v4 = isIPv4(endpoint);
  const type = transport === 'udp' ? LINUX.SOCK_DGRAM : LINUX.SOCK_STREAM;
  const fd = libc.socket(v4 ? LINUX.AF_INET : LINUX.AF_INET6, type | LINUX.SOCK_NONBLOCK | LINUX.SOCK_CLOEXEC, 0);
  if (fd < 0) throw listenError(transport, address, port, libc.errorName());
  try {
    setOptions(libc, fd, transport, v4);
    const sockaddr = new Uint8Array(SOCKADDR_BYTES);
    const length = writeSockaddr(sockaddr, 0, endpoint);
    if (libc.bind(fd, sockaddr, length) < 0) throw listenError(transport, address, port, libc.errorName());
    if (libc.getsockname(fd, sockaddr, new Uint32Array([SOCKADDR_BYTES])) < 0)
      throw listenError(transport, address, port, libc.errorName());
    readSockaddr(sockaddr, 0, endpoint);
    return { fd, port: endpoint.port, family: v4 ? 4 : 6 };
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

function setOptions(libc: Libc, fd: number, transport: 'udp' | 'tcp', v4: boolean): void {
  const set = (level: number, name: number, value: number) =>
    libc.setsockopt(fd, level, name, new Int32Array([value]), 4) === 0;
  set(LINUX.SOL_SOCKET, LINUX.SO_REUSEPORT, 1);
  if (v4) set(LINUX.IPPROTO_IP, LINUX.IP_FREEBIND, 1);
  else {
    set(LINUX.IPPROTO_IPV6, LINUX.IPV6_V6ONLY, 1);
    set(LINUX.IPPROTO_IPV6, LINUX.IPV6_FREEBIND, 1);
  }
  if (transport === 'tcp') {
    // A restart must not wait for the old connections' TIME_WAIT.
    set(LINUX.SOL_SOCKET, LINUX.SO_REUSEADDR, 1);
    return;
  }
  // Never IP_RECVERR here: libuv reads this fd too, and Node 24 aborts on what it then gets (UDPWrap::OnRecv).
  if (!set(LINUX.SOL_SOCKET, LINUX.SO_RCVBUFFORCE, BUFFER_BYTES)) set(LINUX.SOL_SOCKET, LINUX.SO_RCVBUF, BUFFER_BYTES);
  // How long datagrams stood in the socket, and how many found it full: what overload control goes by.
  set(LINUX.SOL_SOCKET, LINUX.SO_TIMESTAMPNS, 1);
  set(LINUX.SOL_SOCKET, LINUX.SO_RXQ_OVFL, 1);
  if (!set(LINUX.SOL_SOCKET, LINUX.SO_SNDBUFFORCE, BUFFER_BYTES)) set(LINUX.SOL_SOCKET, LINUX.SO_SNDBUF, BUFFER_BYTES);
}
