import { createSocket } from 'node:dgram';
import { createServer, isIPv6 } from 'node:net';

/**
 * Whether some program holds the port already. SO_REUSEPORT lets a second agent of the same user bind what the first serves,
 * without an error and with half of the traffic each: so whoever takes a port newly asks here first, once for all workers.
 * An address that this host does not hold counts as free.
 */
export async function portTaken(transport: 'udp' | 'tcp', address: string, port: number): Promise<boolean> {
  if (port === 0) return false;
  const code = transport === 'udp' ? await bindUdp(address, port) : await listenTcp(address, port);
  return code === 'EADDRINUSE';
}

function bindUdp(address: string, port: number): Promise<string | undefined> {
  const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', ipv6Only: isIPv6(address) });
  return new Promise((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => socket.close(() => resolve(error.code)));
    socket.bind({ address, port, exclusive: true }, () => socket.close(() => resolve(undefined)));
  });
}

function listenTcp(address: string, port: number): Promise<string | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    server.listen({ host: address, port, ipv6Only: isIPv6(address), exclusive: true }, () =>
      server.close(() => resolve(undefined)),
    );
  });
}
