import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { CliError } from './io.ts';

export interface HostPort {
  host: string;
  port: number;
}

/** `127.0.0.1:5060`, `[::1]:5060` */
export const formatHostPort = ({ host, port }: HostPort): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;

async function tryUdp({ host, port }: HostPort): Promise<number> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  try {
    socket.bind({ address: host, port, exclusive: true });
    await once(socket, 'listening');
    return socket.address().port;
  } finally {
    socket.close();
  }
}

async function tryTcp({ host, port }: HostPort): Promise<number> {
  const server = createServer();
  server.listen({ host, port, exclusive: true });
  await once(server, 'listening');
  const bound = (server.address() as AddressInfo).port;
  server.close();
  await once(server, 'close');
  return bound;
}

const TRY = { udp: tryUdp, tcp: tryTcp } as const;

const REASONS: Record<string, string> = {
  EADDRINUSE: 'another program has it; give another port, or end that program',
  EADDRNOTAVAIL: 'this machine does not have that address',
  EACCES: 'not permitted; ports below 1024 need privileges',
};

/** Throws {@link CliError} where the port cannot be bound. `flag` is what the user would change; `tolerated`: errors that are none. */
export async function checkPort(
  transport: 'udp' | 'tcp',
  at: HostPort,
  flag: string,
  tolerated: readonly string[] = [],
): Promise<void> {
  try {
    await TRY[transport](at);
  } catch (error) {
    if (!tolerated.includes((error as NodeJS.ErrnoException).code ?? '')) throw explained(transport, at, flag, error);
  }
}

function explained(transport: 'udp' | 'tcp', at: HostPort, flag: string, cause: unknown): CliError {
  const { code = '', message } = cause as NodeJS.ErrnoException;
  return new CliError(`cannot listen on ${transport} ${formatHostPort(at)} (${flag}): ${REASONS[code] ?? message}`, {
    cause,
  });
}

/** A port that is free for UDP and for TCP. */
export async function freePort(host: string, flag: string): Promise<HostPort> {
  const any = { host, port: 0 };
  for (let attempt = 0; ; attempt++) {
    const port = await tryUdp(any).catch((error) => {
      throw explained('udp', any, flag, error);
    });
    try {
      return { host, port: await tryTcp({ host, port }) };
    } catch (error) {
      if (attempt === 9) throw explained('tcp', { host, port }, flag, error);
    }
  }
}
