import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { EXCHANGE_HEADER, EXCHANGE_VERSION, MAX_EXCHANGE_MESSAGE } from '@sipfleet/contract';
import { WebSocketServer } from 'ws';
import { type Asker, converse, type Exchanges } from './exchanges.ts';
import type { Hub } from './hub.ts';

export const PUSH_PATH = '/v1/agent/push';

export interface UpgradeDeps {
  hub: Hub;
  exchanges: Exchanges;
  /** Rejects with an error that carries `status` and a message fit to be sent, with 429 also `retryAfter`. */
  authenticate(request: IncomingMessage): Promise<Asker & { site: string }>;
  /** The generation that a site's agents should run now. */
  generation(site: string): Promise<number>;
  log: { error(fields: object, message: string): void };
}

/** Turns upgrade requests of agents into push connections, and answers what they ask over them. */
export function attachPush(server: Server, deps: UpgradeDeps): void {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_EXCHANGE_MESSAGE, perMessageDeflate: false });
  sockets.on('headers', (headers) => headers.push(`${EXCHANGE_HEADER}: ${EXCHANGE_VERSION}`));
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const onError = () => socket.destroy();
    socket.on('error', onError);
    // No URL is made of it: a stranger may send what is none.
    if (request.url?.split('?', 1)[0] !== PUSH_PATH) {
      refuse(socket, 404, `only ${PUSH_PATH} is a WebSocket`);
      return;
    }
    deps.authenticate(request).then(
      (agent) => {
        if (socket.destroyed) return;
        socket.removeListener('error', onError);
        sockets.handleUpgrade(request, socket, head, (webSocket) => {
          deps.hub.add(agent, webSocket);
          converse(webSocket, agent, deps.exchanges);
          // What was pushed while it was away is made up for by where things stand now.
          deps.generation(agent.site).then(
            (generation) =>
              webSocket.send(JSON.stringify({ type: 'snapshot', site: agent.site, generation, jitterMs: 0 })),
            (error: unknown) => deps.log.error({ err: error, agent: agent.agentId }, 'no hint for a new connection'),
          );
        });
      },
      (error: { status?: number; retryAfter?: number; message: string }) => {
        const { status = 500, message, retryAfter } = error;
        if (error.status === undefined) deps.log.error({ err: error }, 'an agent cannot be authenticated');
        refuse(socket, status, error.status === undefined ? 'internal error' : message, retryAfter);
      },
    );
  });
}

const TITLES: Record<number, string> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  429: 'Too Many Requests',
};

function refuse(socket: Duplex, status: number, detail: string, retryAfter?: number): void {
  const title = TITLES[status] ?? 'Internal Server Error';
  const body = JSON.stringify({ type: 'about:blank', title, status, detail });
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n` +
      `${retryAfter === undefined ? '' : `Retry-After: ${retryAfter}\r\n`}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
