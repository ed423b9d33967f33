import {
  EXCHANGE_HEADER,
  EXCHANGE_VERSION,
  MAX_EXCHANGE_MESSAGE,
  PushMessage,
  parseWith,
  type Target,
} from '@sipfleet/contract';
import type { Logger } from 'pino';
import WebSocket from 'ws';
import { backoffMs } from './backoff.ts';
import { type Asked, Exchanges, type SocketAnswer } from './exchanges.ts';

export interface PushOptions {
  /** Base URL of the control plane, http or https. */
  base: URL;
  token(): Promise<string>;
  /** A socket is open: what happened while there was none has to be asked for. */
  onOpen(): void;
  onMessage(message: PushMessage): void;
  log: Pick<Logger, 'info' | 'warn'>;
  /** How often to see whether the peer is still there, in milliseconds: API Gateway ends what was silent for 10 minutes. */
  pingMs?: number;
  /** Another socket takes over after this long, in milliseconds: API Gateway ends each after 2 hours, and whoever is first loses no hint. */
  lifeMs?: number;
  random?: () => number;
}

/** A socket that was open this long shows that the control plane is well: waits begin anew. */
const STABLE_MS = 5_000;
const HANDSHAKE_MS = 10_000;
/** Between 100 and 115 minutes, so that a fleet that came together does not renew together. */
const LIFE_MS = 115 * 60_000;
const LIFE_SPREAD = 15 / 115;

/** The WebSocket over which the control plane says that there is something new, and may be asked for it. Opens itself again for ever. */
export class PushSocket {
  readonly #options: Required<PushOptions>;
  #url: URL;
  /** The one that hints come over. */
  #open: WebSocket | undefined;
  /** Over that one; undefined: who is at its other end takes no questions. */
  #exchanges: Exchanges | undefined;
  /** The one that is to become it. */
  #opening: WebSocket | undefined;
  #connecting = false;
  #retry: NodeJS.Timeout | undefined;
  #renewal: NodeJS.Timeout | undefined;
  #attempt = 0;
  #spreadMs = 0;
  #lost = 0;
  #closed = false;
  /** What was logged last, so that an outage of hours is one line and not one per try. */
  #saidAway = false;

  constructor(options: PushOptions) {
    this.#options = { pingMs: 240_000, lifeMs: LIFE_MS, random: Math.random, ...options };
    this.#url = new URL('v1/agent/push', options.base);
    this.#url.protocol = options.base.protocol === 'https:' ? 'wss:' : 'ws:';
  }

  get connected(): boolean {
    return this.#open !== undefined;
  }

  /** Times it was opened again after it was lost. */
  get reconnects(): number {
    return this.#lost;
  }

  start(): void {
    void this.#connect();
  }

  /** Another socket takes over now, under the key of now. */
  renew(): void {
    void this.#connect();
  }

  /** Asks over the socket that is open. Undefined: there is none that takes this question, or it was not answered; HTTP is left. */
  async ask(asked: Asked): Promise<SocketAnswer | undefined> {
    return this.#exchanges?.ask(asked);
  }

  /** What the control plane says of its push sockets: where they are, and how its fleet is to come back to them. */
  heard({ push, spreadMs = 0 }: Pick<Target, 'push' | 'spreadMs'>): void {
    this.#spreadMs = spreadMs;
    if (push === undefined || push === this.#url.href) return;
    const url = new URL(push);
    if (this.#options.base.protocol === 'https:' && url.protocol !== 'wss:') {
      this.#options.log.warn({ push }, 'push address without TLS: staying with the one of before');
      return;
    }
    this.#url = url;
    this.#attempt = 0;
    clearTimeout(this.#retry);
    this.#opening?.terminate();
    this.#opening = undefined;
    void this.#connect();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#renewal);
    this.#opening?.terminate();
    this.#open?.terminate();
    this.#open = undefined;
    this.#exchanges = undefined;
  }

  async #connect(): Promise<void> {
    if (this.#connecting || this.#opening || this.#closed) return;
    this.#connecting = true;
    const authorization = await this.#options.token().then(
      (token) => `Bearer ${token}`,
      () => undefined,
    );
    this.#connecting = false;
    if (this.#closed) return;
    if (authorization === undefined) return this.#tryAgain();
    const socket = new WebSocket(this.#url, {
      headers: { authorization },
      handshakeTimeout: HANDSHAKE_MS,
      maxPayload: MAX_EXCHANGE_MESSAGE,
      perMessageDeflate: false,
    });
    this.#opening = socket;
    let reason = '';
    let stopPinging = (): void => {};
    let exchanges: Exchanges | undefined;
    socket.on('upgrade', ({ headers }) => {
      if (headers[EXCHANGE_HEADER] === EXCHANGE_VERSION) exchanges = new Exchanges(socket);
    });
    socket.on('open', () => {
      stopPinging = this.#keepAlive(socket);
      this.#opened(socket, exchanges);
    });
    socket.on('message', (data) => this.#take(data.toString(), exchanges));
    socket.on('error', (error: Error & { code?: string }) => {
      reason = error.message || error.code || 'unknown error';
    });
    socket.on('close', (code) => {
      stopPinging();
      exchanges?.lost();
      this.#ended(socket, reason || `closed with code ${code}`);
    });
  }

  #opened(socket: WebSocket, exchanges: Exchanges | undefined): void {
    const { lifeMs, random, log, onOpen } = this.#options;
    const before = this.#open;
    this.#open = socket;
    this.#exchanges = exchanges;
    this.#opening = undefined;
    this.#saidAway = false;
    log.info({ url: socket.url, renewed: before !== undefined }, 'push socket open');
    const stable = setTimeout(() => {
      this.#attempt = 0;
    }, STABLE_MS);
    socket.on('close', () => clearTimeout(stable));
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(() => void this.#connect(), lifeMs * (1 - LIFE_SPREAD * random()));
    // Only now: there was no moment without one.
    before?.close(1000);
    onOpen();
  }

  #ended(socket: WebSocket, reason: string): void {
    if (this.#closed || (socket !== this.#open && socket !== this.#opening)) return;
    if (socket === this.#opening) this.#opening = undefined;
    else {
      this.#open = undefined;
      this.#exchanges = undefined;
      this.#lost++;
      clearTimeout(this.#renewal);
    }
    if (!this.#open && !this.#saidAway) {
      this.#options.log.warn({ reason }, 'push socket lost: going on with what runs, trying again');
      this.#saidAway = true;
    }
    this.#tryAgain();
  }

  #tryAgain(): void {
    clearTimeout(this.#retry);
    const wait = backoffMs(this.#attempt++, this.#options.random, this.#spreadMs);
    this.#retry = setTimeout(() => void this.#connect(), wait);
  }

  #take(text: string, exchanges: Exchanges | undefined): void {
    let message: PushMessage;
    try {
      if (exchanges?.take(text)) return;
      message = parseWith(PushMessage, JSON.parse(text));
    } catch (error) {
      this.#options.log.warn({ reason: (error as Error).message }, 'push message not understood');
      return;
    }
    this.#options.onMessage(message);
  }

  /** A peer that vanished without a FIN is noticed by a missing pong within two intervals. Returns what ends it. */
  #keepAlive(socket: WebSocket): () => void {
    let answered = true;
    socket.on('pong', () => {
      answered = true;
    });
    const timer = setInterval(() => {
      if (!answered) return socket.terminate();
      answered = false;
      socket.ping();
    }, this.#options.pingMs);
    return () => clearInterval(timer);
  }
}
