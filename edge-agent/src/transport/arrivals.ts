import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { type AddressBlock, type ConnectionCounts, type Endpoint, type StreamOptions, TRANSPORT } from '../ports.ts';
import { copyEndpoint, createEndpoint, setAddress } from './endpoint.ts';
import { PROXY_HEADER, readProxyHeader } from './proxy-protocol.ts';
import type { StreamLimits } from './stream-limits.ts';
import { remoteOf, TlsServer } from './tls-server.ts';
import { SipWebSocketServer } from './websocket-server.ts';

/** What becomes of accepted sockets. */
export interface ArrivalsHandler {
  /** Its true remote end is known now: false ends it. */
  admit(socket: Socket, remote: Readonly<Endpoint>): boolean;
  /** SIP begins on this socket. */
  stream(socket: Socket, remote: Endpoint): void;
  webSocket(socket: WebSocket, remote: Endpoint): void;
}

export interface ArrivalsOptions {
  stream: StreamOptions;
  limits: Readonly<StreamLimits>;
  counts: ConnectionCounts;
  /** The same on all data threads, see TlsServer. */
  seed: Uint8Array;
  handler: ArrivalsHandler;
}

/** A connection that has not come to SIP yet. */
interface Arrival {
  socket: Socket;
  remote: Endpoint;
  timer: NodeJS.Timeout;
}

/**
 * Brings accepted sockets to where SIP begins: PROXY header, TLS handshake, WebSocket upgrade, each if the listener has it, all together
 * within `handshakeTime`. Its options never change: a listener that gets others goes on with a new one of these, and this one ends what it began.
 */
export class Arrivals {
  readonly #options: ArrivalsOptions;
  readonly #tls: TlsServer | undefined;
  readonly #webSocket: SipWebSocketServer | undefined;
  readonly #open = new Set<Arrival>();
  /** Those in a TLS handshake, by the peer's own address and port. */
  readonly #handshakes = new Map<string, Arrival>();
  /** Those in a WebSocket upgrade, by the socket that HTTP sees. */
  readonly #upgrades = new WeakMap<Duplex, Arrival>();

  /** Throws where a certificate cannot be used. */
  constructor(options: ArrivalsOptions) {
    this.#options = options;
    const { stream, limits, seed } = options;
    if (stream.tls)
      this.#tls = new TlsServer(stream.tls, seed, limits.handshakeTime, (socket, remote) =>
        this.#secured(socket, this.#handshakes.get(remote)),
      );
    if (stream.transport === TRANSPORT.ws || stream.transport === TRANSPORT.wss)
      this.#webSocket = new SipWebSocketServer(
        { maxPayload: limits.header + limits.body, origins: stream.origins },
        (socket, webSocket) => this.#upgraded(this.#upgrades.get(socket), webSocket),
      );
  }

  accept(socket: Socket): void {
    const { stream, limits, handler } = this.#options;
    const remote = createEndpoint(stream.transport);
    // Gone again already: there is no one to talk to.
    if (socket.remoteAddress === undefined || !setAddress(remote, socket.remoteAddress)) return void socket.destroy();
    remote.port = socket.remotePort as number;
    const announced = stream.proxyFrom?.some((block) => contains(block, remote)) ?? false;
    if (!announced && !handler.admit(socket, remote)) return void socket.destroy();
    if (!announced && !this.#tls && !this.#webSocket) return handler.stream(socket, remote);
    const arrival = { socket, remote, timer: setTimeout(() => socket.destroy(), limits.handshakeTime) };
    this.#open.add(arrival);
    // 'close' follows, and says all that matters.
    socket.on('error', () => {});
    socket.once('close', () => this.#closed(arrival));
    if (announced) this.#readHeader(arrival);
    else this.#begin(arrival);
  }

  /** Ends what has not come to SIP yet. */
  close(): void {
    for (const { socket } of this.#open) socket.destroy();
  }

  #readHeader(arrival: Arrival): void {
    const { socket, remote } = arrival;
    const source = copyEndpoint(createEndpoint(remote.transport), remote);
    let bytes = Buffer.alloc(0);
    const onReadable = (): void => {
      for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read()) {
        bytes = Buffer.concat([bytes, chunk]);
        const length = readProxyHeader(bytes, source);
        if (length === PROXY_HEADER.partial) continue;
        socket.off('readable', onReadable);
        if (length === PROXY_HEADER.malformed) return void socket.destroy();
        copyEndpoint(remote, source);
        if (length < bytes.length) socket.unshift(bytes.subarray(length));
        if (this.#options.handler.admit(socket, remote)) return this.#begin(arrival);
        this.#leave(arrival);
        return void socket.destroy();
      }
    };
    socket.on('readable', onReadable);
  }

  #begin(arrival: Arrival): void {
    const { socket } = arrival;
    if (!this.#tls) return this.#secured(socket, arrival);
    const key = remoteOf(socket);
    this.#handshakes.set(key, arrival);
    // The same address and port may be back before our side has heard that this socket is closed.
    socket.once('close', () => this.#handshakes.get(key) === arrival && this.#handshakes.delete(key));
    this.#tls.accept(socket);
  }

  #secured(socket: Socket, arrival: Arrival | undefined): void {
    if (!arrival) return void socket.destroy();
    if (!this.#webSocket) {
      this.#leave(arrival);
      return this.#options.handler.stream(socket, arrival.remote);
    }
    this.#upgrades.set(socket, arrival);
    this.#webSocket.accept(socket);
  }

  #upgraded(arrival: Arrival | undefined, webSocket: WebSocket): void {
    if (!arrival) return webSocket.terminate();
    this.#leave(arrival);
    this.#options.handler.webSocket(webSocket, arrival.remote);
  }

  #closed(arrival: Arrival): void {
    if (this.#open.has(arrival)) this.#options.counts.handshakeFailed++;
    this.#leave(arrival);
  }

  #leave(arrival: Arrival): void {
    clearTimeout(arrival.timer);
    this.#open.delete(arrival);
  }
}

function contains({ ip, bits }: AddressBlock, e: Readonly<Endpoint>): boolean {
  const words = [e.ip0, e.ip1, e.ip2, e.ip3];
  return ip.every((word, i) => {
    const left = bits - 32 * i;
    return left <= 0 || (left >= 32 ? word === words[i] : (word ^ (words[i] as number)) >>> (32 - left) === 0);
  });
}
