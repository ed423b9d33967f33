import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import { SipMessage, uriOf } from '../../edge-agent/src/sip/text-message.ts';
import { bound } from './loopback.ts';

/** What a scripted peer does with a request of one method. */
export type Script = (request: SipMessage, from: RemoteInfo) => void;

/** A SIP peer on a plain UDP socket that does what a test says, for what no decent program does. */
export class ScriptedUas {
  /** Everything that came in, retransmissions included. */
  readonly requests: SipMessage[] = [];
  readonly responses: SipMessage[] = [];
  readonly scripts: Record<string, Script>;
  readonly #socket: Socket;
  readonly #arrivals = new EventEmitter().setMaxListeners(0);

  private constructor(socket: Socket, scripts: Record<string, Script>) {
    this.#socket = socket;
    this.scripts = { BYE: (r, from) => this.reply(r, from, '200 OK'), CANCEL: (r, from) => this.#cancel(r, from) };
    Object.assign(this.scripts, scripts);
    socket.on('message', (bytes, from) => this.#take(bytes, from));
  }

  /** Methods without a script are not answered, but for BYE (200) and CANCEL (200, and 487 for the INVITE). */
  static async start(scripts: Record<string, Script> = {}): Promise<ScriptedUas> {
    return new ScriptedUas(await bound('127.0.0.1'), scripts);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** `sip:clyde@127.0.0.1:PORT` */
  get uri(): string {
    return `sip:clyde@127.0.0.1:${this.port}`;
  }

  count(method: string): number {
    return this.requests.filter((r) => r.method === method).length;
  }

  /** Different requests, so that retransmissions count once. */
  distinct(method: string): SipMessage[] {
    const seen = new Set<string>();
    return this.requests.filter(
      (r) => r.method === method && !seen.has(r.list('via')[0]!) && seen.add(r.list('via')[0]!),
    );
  }

  /** Resolves with the first request of a method, at once if it has come already. */
  async sees(method: string, matching: (request: SipMessage) => boolean = () => true): Promise<SipMessage> {
    for (;;) {
      const found = this.requests.find((r) => r.method === method && matching(r));
      if (found) return found;
      await once(this.#arrivals, 'message');
    }
  }

  /** Resolves with the first response to a request that this peer sent. */
  async answered(method: string): Promise<SipMessage> {
    for (;;) {
      const found = this.responses.find((r) => r.method === method);
      if (found) return found;
      await once(this.#arrivals, 'message');
    }
  }

  /** Answers a request; `tag` is To's, `sdp` the port where audio is wanted or a whole description. */
  reply(
    request: SipMessage,
    from: RemoteInfo,
    status: string,
    options: { tag?: string; sdp?: number | string; headers?: [string, string][] } = {},
  ): void {
    const [code, ...reason] = status.split(' ');
    const response = request.reply(
      Number(code),
      reason.join(' '),
      Number(code) > 100 ? (options.tag ?? 'peer') : undefined,
    );
    response.set('Contact', [`<sip:clyde@127.0.0.1:${this.port}>`]);
    for (const [name, value] of options.headers ?? []) response.set(name, [value]);
    if (options.sdp !== undefined) {
      if (!response.get('content-type')) response.set('Content-Type', ['application/sdp']);
      response.body = typeof options.sdp === 'string' ? options.sdp : sdp(options.sdp);
    }
    this.send(response, from);
  }

  /** A request of this peer within the dialog of an INVITE that it has answered. */
  ask(method: string, invite: SipMessage, from: RemoteInfo, body = '', sequence = 1): void {
    const uri = uriOf(invite.get('contact')!)!.text;
    const request = new SipMessage(`${method} ${uri} SIP/2.0`, [
      ['Via', `SIP/2.0/UDP 127.0.0.1:${this.port};rport;branch=z9hG4bK-${method}-${sequence}`],
      ['Max-Forwards', '70'],
      ['From', `${invite.get('to')};tag=peer`],
      ['To', invite.get('from')!],
      ['Call-ID', invite.get('call-id')!],
      ['CSeq', `${sequence} ${method}`],
      ['Contact', `<sip:clyde@127.0.0.1:${this.port}>`],
      ...(body ? [['Content-Type', 'application/sdp'] as const] : []),
    ]);
    request.body = body;
    this.send(request, from);
  }

  send(message: SipMessage, to: { port: number; address: string }): void {
    this.#socket.send(message.toBytes(), to.port, to.address);
  }

  close(): void {
    this.#socket.close();
  }

  #take(bytes: Buffer, from: RemoteInfo): void {
    const message = SipMessage.parse(bytes)!;
    if (!message.isRequest) this.responses.push(message);
    else {
      this.requests.push(message);
      this.scripts[message.method]?.(message, from);
    }
    this.#arrivals.emit('message');
  }

  #cancel(request: SipMessage, from: RemoteInfo): void {
    this.reply(request, from, '200 OK');
    const callId = request.get('call-id');
    const invite = this.requests.find(
      (r) => r.method === 'INVITE' && r.cseq === request.cseq && r.get('call-id') === callId,
    );
    if (invite) this.reply(invite, from, '487 Request Terminated');
  }
}

/** A description of PCMU audio at a port of 127.0.0.1. */
export const sdp = (port: number, direction = 'sendrecv'): string =>
  `v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio ${port} RTP/AVP 0\r\na=\r\na=${direction}\r\n`;

/** The far end of the audio: echoes, or only listens, or does something else with every packet. */
export class AudioPeer {
  received = 0;
  readonly #socket: Socket;

  private constructor(socket: Socket, packet: (bytes: Buffer) => Buffer | undefined) {
    this.#socket = socket;
    socket.on('message', (bytes, from) => {
      this.received++;
      const back = packet(bytes);
      if (back) socket.send(back, from.port, from.address);
    });
  }

  static async start(packet: (bytes: Buffer) => Buffer | undefined): Promise<AudioPeer> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new AudioPeer(socket, packet);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Sends PCMU packets, unasked, to where an INVITE wants its audio. */
  play(packets: number, invite: SipMessage): void {
    const port = Number(/^m=audio (\d+)/m.exec(invite.body)![1]);
    for (let i = 0; i < packets; i++) {
      const bytes = Buffer.alloc(172, 0x20);
      bytes.writeUInt16BE(0x8000, 0);
      bytes.writeUInt16BE(i, 2);
      bytes.writeUInt32BE(i * 160, 4);
      bytes.writeUInt32BE(7, 8);
      this.#socket.send(bytes, port, '127.0.0.1');
    }
  }

  close(): void {
    this.#socket.close();
  }
}

export const echo = (bytes: Buffer): Buffer => bytes;
export const deaf = (): undefined => undefined;
