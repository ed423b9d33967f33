import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { onMessages } from '../interop/phone-line.ts';

/** What a PBX on TCP does with a message; Latin-1. */
type Take = (text: string, send: (text: string) => void, hangUp: () => void) => void;

/** A PBX's TCP side, on a port of its own. */
export async function streamPbx(address: string, take: Take): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    const send = (text: string) => socket.write(Buffer.from(text, 'latin1'));
    onMessages(socket, (text) => take(text, send, () => socket.destroy()));
  });
  server.listen(0, address);
  await once(server, 'listening');
  return server;
}
