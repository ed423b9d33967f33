import { PushMessage, parseWith } from '@sipfleet/contract';
import type { Logger } from 'pino';
import WebSocket from 'ws';
import { backoffMs } from './backoff.ts';

export interface PushOptions {
  /** Base URL of the control plane, http or https. */
  base: URL;
  token(): Promise<string>;
  /** The socket is open: what happened while it was not has to be asked for. */
  onOpen(): void;
  onMessage(message: PushMessage): void;
  log: Pick<Logger, 'info' | 'warn'>;
  /** How often to see whether the peer is still there, in milliseconds. */
  pingMs?: number;
}

/** A socket that was open this long shows that the control plane is well: waits begin anew. */
const STABLE_MS = 5_000;
const HANDSHAKE_MS = 10_000;
/** A hint is a hundred bytes. */
const MAX_PAYLOAD = 16_384;

/** The WebSocket over which the control plane says that there is something new. Opens itself again for ever. */
export class PushSocket {
  readonly #options: Required<PushOptions>;
  #socket: WebSocket | undefined;
  #retry: NodeJS.Timeout | undefined;
  #attempt = 0;
  #opened = 0;
  #closed = false;
  /** What was logged last, so that an outage of hours is one line and not one per try. */
  #saidAway = false;

  constructor(options: PushOptions) {
    this.#options = { pingMs: 30_000, ...options };
  }

  get connected(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Times it was opened after the first. */
  get reconnects(): number {
    return Math.max(0, this.#opened - 1);
  }

  start(): void {
    void this.#connect();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#socket?.terminate();
  }

  async #connect(): Promise<void> {
    const { base, token } = this.#options;
    const url = new URL('v1/agent/push', base);
    url.protocol = base.protocol === 'https:' ? 'wss:' : 'ws:';
    const authorization = `Bearer ${await token()}`;
    if (this.#closed) return;
    const socket = new WebSocket(url, {
      headers: { authorization },
      handshakeTimeout: HANDSHAKE_MS,
      maxPayload: MAX_PAYLOAD,
    });
    this.#socket = socket;
    let reason = '';
    let stable: NodeJS.Timeout | undefined;
    let stopPinging = (): void => {};
    socket.on('open', () => {
      this.#opened++;
      this.#saidAway = false;
      this.#options.log.info({ url: url.href }, 'push socket open');
      stable = setTimeout(() => {
        this.#attempt = 0;
      }, STABLE_MS);
      stopPinging = this.#keepAlive(socket);
      this.#options.onOpen();
    });
    socket.on('message', (data) => this.#take(data.toString()));
    socket.on('error', (error: Error & { code?: string }) => {
      reason = error.message || error.code || 'unknown error';
    });
    socket.on('close', (code) => {
      clearTimeout(stable);
      stopPinging();
      this.#lost(reason || `closed with code ${code}`);
    });
  }

  #lost(reason: string): void {
    if (this.#closed) return;
    if (!this.#saidAway) this.#options.log.warn({ reason }, 'push socket lost: going on with what runs, trying again');
    this.#saidAway = true;
    this.#retry = setTimeout(() => void this.#connect(), backoffMs(this.#attempt++));
  }

  #take(text: string): void {
    let message: PushMessage;
    try {
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
