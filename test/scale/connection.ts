import { connect, type Socket } from 'node:net';

export interface Answer {
  status: number;
  /** Header names in lower case. */
  headers: Map<string, string>;
  body: string;
}

/** What all connections of a fleet moved. */
export interface Traffic {
  /** By HTTP. */
  requests: number;
  /** Over push sockets. */
  exchanges: number;
  /** What the push sockets are on: what these moved is asked of them. */
  sockets: Set<Socket>;
  /** By HTTP connections that have ended. */
  bytesSent: number;
  bytesReceived: number;
}

/** What was sent and received until now, push sockets included. */
export function bytesOf({ bytesSent, bytesReceived, sockets }: Traffic): { sent: number; received: number } {
  let [sent, received] = [bytesSent, bytesReceived];
  for (const { bytesWritten, bytesRead } of sockets) {
    sent += bytesWritten;
    received += bytesRead;
  }
  return { sent, received };
}

/**
 * One HTTP/1.1 connection of one simulated agent: one request at a time, answers with Content-Length. Node's own client costs the machine more
 * than the control plane that is measured.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #traffic: Traffic;
  #received: Buffer = Buffer.alloc(0);
  #waiting: { resolve(answer: Answer): void; reject(error: Error): void } | undefined;
  #ended: Error | undefined;

  constructor(port: number, localAddress: string, traffic: Traffic) {
    this.#traffic = traffic;
    this.#socket = connect({ port, host: '127.0.0.1', localAddress, noDelay: true });
    this.#socket.on('data', (chunk) => this.#take(chunk));
    this.#socket.on('error', (error) => this.#end(error));
    this.#socket.on('close', () => {
      traffic.bytesSent += this.#socket.bytesWritten;
      traffic.bytesReceived += this.#socket.bytesRead;
      this.#end(new Error('the control plane closed the connection'));
    });
  }

  get usable(): boolean {
    return this.#ended === undefined && this.#waiting === undefined;
  }

  request(method: string, path: string, headers: Record<string, string>, body = ''): Promise<Answer> {
    const lines = Object.entries({ host: '127.0.0.1', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    const length = body === '' ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`;
    this.#traffic.requests++;
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#waiting = { resolve, reject };
      this.#socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}${length}\r\n${body}`);
    });
  }

  close(): void {
    this.#socket.end();
  }

  #take(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const end = this.#received.indexOf('\r\n\r\n');
    if (end < 0) return;
    const [first, ...lines] = this.#received.toString('latin1', 0, end).split('\r\n');
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    const status = Number(first?.split(' ')[1]);
    const length = status === 304 || status === 204 ? 0 : Number(headers.get('content-length') ?? Number.NaN);
    if (Number.isNaN(length)) return this.#end(new Error(`an answer without Content-Length: ${first}`));
    const total = end + 4 + length;
    if (this.#received.length < total) return;
    const body = this.#received.toString('utf8', end + 4, total);
    this.#received = this.#received.subarray(total);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve({ status, headers, body });
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
    this.#socket.destroy();
  }
}
