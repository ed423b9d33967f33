import { AgentError } from '../errors.ts';

const REASONS: Record<string, string> = {
  EADDRINUSE: 'the port is taken; allowed: a port that no other program has bound',
  EADDRNOTAVAIL: 'this host does not hold the address; allowed: an address of one of its interfaces',
  EACCES: 'not permitted; allowed: a port from 1024 up, or the capability CAP_NET_BIND_SERVICE',
  EAFNOSUPPORT: 'this host does not speak that address family',
  EINVAL: 'the address cannot be bound; allowed: a numeric IPv4 or IPv6 address',
};

/** `cannot listen on udp 127.0.0.1:5060: EADDRINUSE, the port is taken; …` */
export function listenError(
  transport: 'udp' | 'tcp',
  address: string,
  port: number,
  code: string,
  cause?: unknown,
): AgentError {
  const where = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  const reason = REASONS[code];
  return new AgentError(
    'LISTEN',
    `cannot listen on ${transport} ${where}: ${code}${reason ? `, ${reason}` : ''}`,
    cause === undefined ? undefined : { cause },
  );
}
