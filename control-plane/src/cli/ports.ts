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

/** Throws {@link CliError} where the port cannot be bound. `flag` is what the user would change. */
export async function checkPort(transport: 'udp' | 'tcp', at: HostPort, flag: string): Promise<void> {
  try {
    await TRY[transport](at);
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const reason = REASONS[code] ?? message;
    throw new CliError(`cannot listen on ${transport} ${formatHostPort(at)} (${flag}): ${reason}`, { cause: error });
  }
}

/** A port that is free for UDP and for TCP. */
export async function freePort(host: string): Promise<number> {
  for (let attempt = 0; ; attempt++) {
    const port = await tryUdp({ host, port: 0 });
    try {
      return await tryTcp({ host, port });
    } catch (error) {
      if (attempt === 9) throw new CliError(`no free port on ${host}: ${(error as Error).message}`, { cause: error });
    }
  }
}
