import { createServer, type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';

/** RFC 7118 §4. */
const SUBPROTOCOL = 'sip';
/** Of the upgrade request. */
const HEADER_BYTES = 16 << 10;

export interface WebSocketServerOptions {
  /** Bytes of one message. */
  maxPayload: number;
  /** Browsers are let in from pages of these origins only; undefined: from any. */
  origins: readonly string[] | undefined;
}

/** An upgrade of `socket` is done. What comes to nothing is answered with an HTTP error, and its socket closed. */
export type Upgraded = (socket: Duplex, webSocket: WebSocket) => void;

/** The HTTP side of SIP over WebSocket (RFC 7118), over sockets that somebody else accepted: takes upgrades of any path, answers nothing else. */
export class SipWebSocketServer {
  readonly #http: Server;
  readonly #upgrades: WebSocketServer;
  readonly #origins: readonly string[] | undefined;
  readonly #upgraded: Upgraded;

  constructor(options: WebSocketServerOptions, upgraded: Upgraded) {
    this.#origins = options.origins;
    this.#upgraded = upgraded;
    this.#upgrades = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      // SIP messages are small, and a deflate context costs each connection more memory than all else.
      perMessageDeflate: false,
      maxPayload: options.maxPayload,
      handleProtocols: () => SUBPROTOCOL,
    });
    this.#upgrades.on('wsClientError', (_error, socket) =>
      refuse(socket, 400, 'not a WebSocket upgrade (RFC 6455 §4.2.1)'),
    );
    this.#http = createServer({ maxHeaderSize: HEADER_BYTES });
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#http.on('request', (request) => refuse(request.socket, 426, 'SIP over WebSocket only (RFC 7118)'));
    this.#http.on('clientError', (_error, socket) => refuse(socket, 400, 'not HTTP'));
  }

  /** Takes over a connected socket. Text that it has read and not given out yet belongs to the request. */
  accept(socket: Socket): void {
    this.#http.emit('connection', socket);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Nobody else listens between here and the moment at which `ws` does.
    socket.on('error', () => {});
    const { origin, 'sec-websocket-protocol': protocols = '' } = request.headers;
    if (!protocols.split(',').some((p) => p.trim() === SUBPROTOCOL))
      return refuse(socket, 400, 'subprotocol "sip" required (RFC 7118 §4)');
    // Only browsers send an Origin, and all of them do: what comes without is no page of a stranger.
    if (origin !== undefined && this.#origins !== undefined && !this.#origins.includes(origin.toLowerCase()))
      return refuse(socket, 403, 'origin not allowed');
    this.#upgrades.handleUpgrade(request, socket, head, (webSocket) => this.#upgraded(socket, webSocket));
  }
}

function refuse(socket: Duplex, status: number, why: string): void {
  if (!socket.writable) return void socket.destroy();
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Type: text/plain\r\n`;
  const upgrade = status === 426 ? 'Upgrade: websocket\r\n' : '';
  socket.once('finish', () => socket.destroy());
  socket.end(`${head}${upgrade}Content-Length: ${why.length + 1}\r\n\r\n${why}\n`);
}
