import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

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

/** Cuts a stream into messages by their Content-Length. */
export function onMessages(socket: Socket, take: (text: string) => void): void {
  let buffer = '';
  socket.on('data', (chunk) => {
    buffer += chunk.toString('latin1');
    for (;;) {
      const head = buffer.indexOf('\r\n\r\n') + 4;
      if (head < 4) return;
      const length = Number(/^(?:content-length|l)[ \t]*:[ \t]*(\d+)/im.exec(buffer.slice(0, head))?.[1] ?? 0);
      if (buffer.length < head + length) return;
      take(buffer.slice(0, head + length));
      buffer = buffer.slice(head + length);
    }
  });
}
