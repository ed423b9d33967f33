import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { readMessage, value, values } from '../netns/wire.ts';

/** What tests without root use: a PBX and a client of a few lines, on loopback addresses of their own. */

/** Linux answers on all of 127.0.0.0/8; elsewhere an address would have to be added first. */
export const canUseLoopback = process.platform === 'linux';

export async function bound(address: string, port = 0): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(port, address);
  await once(socket, 'listening');
  return socket;
}

/** A port that is free for UDP and TCP alike. The agent's listeners need one that is known beforehand. */
export async function freePort(address: string): Promise<number> {
  for (;;) {
    const udp = await bound(address);
    const { port } = udp.address();
    const tcp = createServer();
    const free = await new Promise<boolean>((resolve) => {
      tcp.once('error', () => resolve(false)).listen(port, address, () => resolve(true));
    });
    udp.close();
    if (free) {
      tcp.close();
      await once(tcp, 'close');
      return port;
    }
  }
}

/** Answers every request but ACK with 200 and its own name in Server. */
export class EchoPbx {
  readonly name: string;
  readonly port: number;
  /** Requests seen, by method. */
  readonly requests = new Map<string, number>();
  readonly #socket: Socket;

  private constructor(name: string, socket: Socket) {
    this.name = name;
    this.#socket = socket;
    this.port = socket.address().port;
    socket.on('message', (bytes, from) => this.#answer(bytes, from));
  }

  static async start(name: string, address: string): Promise<EchoPbx> {
    return new EchoPbx(name, await bound(address));
  }

  close(): void {
    this.#socket.close();
  }

  #answer(bytes: Buffer, from: RemoteInfo): void {
    const request = readMessage(bytes.toString('latin1'));
    if (!request.method) return;
    this.requests.set(request.method, (this.requests.get(request.method) ?? 0) + 1);
    if (request.method === 'ACK') return;
    const lines = [
      'SIP/2.0 200 OK',
      ...values(request, 'via').map((via) => `Via: ${via}`),
      ...['from', 'to', 'call-id', 'cseq'].map((name) => `${name}: ${value(request, name)}`),
      `Server: ${this.name}`,
      'Content-Length: 0',
    ];
    this.#socket.send(`${lines.join('\r\n')}\r\n\r\n`, from.port, from.address);
  }
}

/** One request of `user`, complete enough for any proxy. */
export const request = (
  method: string,
  user: string,
  callId: string,
  via: { address: string; port: number },
  more: readonly string[] = [],
): string =>
  [
    `${method} sip:${user}@example.test SIP/2.0`,
    `Via: SIP/2.0/UDP ${via.address}:${via.port};rport;branch=z9hG4bK-${callId}`,
    'Max-Forwards: 70',
    `From: <sip:${user}@example.test>;tag=${callId}`,
    `To: <sip:${user}@example.test>`,
    `Call-ID: ${callId}`,
    `CSeq: 1 ${method}`,
    `Contact: <sip:${user}@${via.address}:${via.port}>`,
    ...more,
    'Content-Length: 0',
    '',
    '',
  ].join('\r\n');

/** Requests wait this long for an answer before they are sent again: a receive buffer may overflow. */
const RESEND_MS = 500;
const RESENDS = 40;

/** A client that sends requests and learns which PBX answered. */
export class Client {
  readonly #socket: Socket;
  readonly #waiting = new Map<string, (server: string) => void>();
  #sequence = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (bytes) => {
      const response = readMessage(bytes.toString('latin1'));
      if (response.status === 200) this.#waiting.get(value(response, 'call-id'))?.(value(response, 'server'));
    });
  }

  static async start(address: string): Promise<Client> {
    return new Client(await bound(address));
  }

  get address(): { address: string; port: number } {
    return this.#socket.address();
  }

  /** Raw bytes, whatever they are. */
  send(bytes: Uint8Array | string, to: { address: string; port: number }): void {
    this.#socket.send(bytes, to.port, to.address);
  }

  /** Resolves with the name of the PBX that answered 200. */
  ask(
    method: string,
    user: string,
    to: { address: string; port: number },
    more: readonly string[] = [],
  ): Promise<string> {
    const callId = `${method}-${user}-${this.#sequence++}`;
    const text = request(method, user, callId, this.#socket.address(), more);
    return new Promise((resolve, reject) => {
      let sent = 0;
      const send = () => {
        if (sent++ < RESENDS) return this.send(text, to);
        finish();
        reject(new Error(`no answer to ${method} of ${user} from ${to.address}:${to.port}`));
      };
      const timer = setInterval(send, RESEND_MS);
      const finish = () => {
        clearInterval(timer);
        this.#waiting.delete(callId);
      };
      this.#waiting.set(callId, (server) => {
        finish();
        resolve(server);
      });
      send();
    });
  }

  close(): void {
    this.#socket.close();
  }
}
