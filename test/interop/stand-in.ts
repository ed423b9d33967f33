import type { RemoteInfo, Socket } from 'node:dgram';
import { createSocket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import { readMessage, value, values } from '../netns/wire.ts';
import { asCaller, type Message, uriOf } from './phone-dialog.ts';
import { within } from './phone-line.ts';

/** Where a phone is, as a registrar keeps it. */
export interface Binding {
  /** The Contact's URI, as it is kept. */
  uri: string;
  /** The URIs of Path, topmost first. */
  path: string[];
  source: { address: string; port: number };
}

/** How a request for a registered phone goes out. */
export interface Way {
  uri: string;
  /** Values of Route. */
  routes: string[];
  to: { address: string; port: number };
}

/** What tells one PBX's registrar from the next. */
export interface Kind {
  name: string;
  /** A status line that refuses a REGISTER, with header lines; undefined: it is accepted. */
  refuse?(register: Message): [status: string, ...lines: string[]] | undefined;
  /** Which binding a REGISTER replaces; left out: that of the same URI. */
  same?(one: Binding, other: Binding): boolean;
  bind(contact: string, register: Message, source: RemoteInfo): Binding;
  /** What stands in Contact of the answer. */
  contact(binding: Binding, asked: string): string;
  /** A call's way to the phone, and that of pings and of message-waiting notifications. */
  call(binding: Binding): Way;
  ping(binding: Binding): Way;
}

/** Address and port of a URI's host. */
export function hostOf(uri: string): { address: string; port: number } {
  const [, address = '', port] = HOST.exec(uri) ?? [];
  return { address, port: Number(port ?? 5060) };
}
export const HOST = /^sips?:(?:[^@]*@)?([^:;>?]+)(?::(\d+))?/;

/**
 * A PBX's registrar and its calls towards phones, on UDP, for PBXs that the tests cannot run: a **stand-in**, written from what their documentation and sources
 * say (stand-in-kinds.ts). Whoever has an Authorization is let in; it retransmits nothing.
 */
export class StandIn {
  readonly kind: Kind;
  readonly address: string;
  /** By user, the newest last. */
  readonly bindings = new Map<string, Binding[]>();
  readonly #socket: Socket;
  readonly #answers = new Map<string, Message>();
  readonly #ended = new Set<string>();
  readonly #arrivals = new EventEmitter();
  #sequence = 0;

  private constructor(kind: Kind, address: string, socket: Socket) {
    this.kind = kind;
    this.address = address;
    this.#socket = socket;
    socket.on('message', (bytes, from) => this.#take(readMessage(bytes.toString('latin1')), from));
  }

  static async start(kind: Kind, address: string): Promise<StandIn> {
    const socket = createSocket('udp4');
    socket.bind(0, address);
    await once(socket, 'listening');
    return new StandIn(kind, address, socket);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Calls a registered phone; resolves when it has answered. */
  async call(user: string): Promise<{ hangUp(): Promise<number>; ended(): Promise<void> }> {
    const way = this.kind.call(this.#newest(user));
    const callId = `${this.kind.name}-${++this.#sequence}`;
    const from = `<sip:pbx@${this.address}>;tag=${callId}`;
    const ask = (method: string, sequence: number, to: string, { uri, routes, to: where }: Way) =>
      this.#send(method, uri, where, [
        ...routes.map((route) => `Route: ${route}`),
        `From: ${from}`,
        `To: ${to}`,
        `Call-ID: ${callId}`,
        `CSeq: ${sequence} ${method}`,
        `Contact: <sip:pbx@${this.address}:${this.port}>`,
      ]);
    ask('INVITE', 1, `<sip:${user}@${this.address}>`, way);
    const answer = await this.#answer(callId, '1 INVITE');
    if (answer.status !== 200) throw new Error(`${answer.startLine} to the INVITE of ${this.kind.name} for ${user}`);
    const { remote, target, route } = asCaller(answer);
    const within = { uri: target, routes: route, to: hostOf(uriOf(route[0] ?? target)) };
    ask('ACK', 1, remote, within);
    return {
      hangUp: async () => {
        ask('BYE', 2, remote, within);
        return (await this.#answer(callId, '2 BYE')).status;
      },
      ended: async () => void (await this.#until(() => this.#ended.has(callId) || undefined, 'a BYE')),
    };
  }

  /** Asks a registered phone for a sign of life; resolves with the status. */
  async ping(user: string, method: 'OPTIONS' | 'NOTIFY' = 'OPTIONS'): Promise<number> {
    const { uri, routes, to } = this.kind.ping(this.#newest(user));
    const callId = `ping-${++this.#sequence}`;
    this.#send(method, uri, to, [
      ...routes.map((route) => `Route: ${route}`),
      `From: <sip:pbx@${this.address}>;tag=${callId}`,
      `To: <sip:${user}@${this.address}>`,
      `Call-ID: ${callId}`,
      `CSeq: 1 ${method}`,
      ...(method === 'NOTIFY' ? ['Event: message-summary', 'Subscription-State: active'] : []),
      `Contact: <sip:pbx@${this.address}:${this.port}>`,
    ]);
    return (await this.#answer(callId, `1 ${method}`)).status;
  }

  async close(): Promise<void> {
    this.#socket.close();
    await once(this.#socket, 'close');
  }

  #newest(user: string): Binding {
    const binding = this.bindings.get(user)?.at(-1);
    if (!binding) throw new Error(`${user} is not registered at the stand-in for ${this.kind.name}`);
    return binding;
  }

  #take(message: Message, from: RemoteInfo): void {
    const callId = value(message, 'call-id');
    if (message.status >= 200) this.#answers.set(`${callId} ${value(message, 'cseq')}`, message);
    else if (message.method === 'REGISTER') this.#register(message, from);
    else if (message.method !== '' && message.method !== 'ACK') {
      if (message.method === 'BYE') this.#ended.add(callId);
      this.#reply(message, from, '200 OK');
    }
    this.#arrivals.emit('message');
  }

  #register(register: Message, from: RemoteInfo): void {
    if (!value(register, 'authorization'))
      return this.#reply(register, from, '401 Unauthorized', ['WWW-Authenticate: Digest realm="pbx", nonce="n"']);
    const [refusal, ...lines] = this.kind.refuse?.(register) ?? [];
    if (refusal) return this.#reply(register, from, refusal, lines);
    const user = /sips?:([^@]+)@/.exec(value(register, 'to'))?.[1] ?? '';
    const contacts = values(register, 'contact').map((asked) => {
      const binding = this.kind.bind(uriOf(asked), register, from);
      const same = this.kind.same ?? ((one, other) => one.uri === other.uri);
      const others = (this.bindings.get(user) ?? []).filter((other) => !same(binding, other));
      this.bindings.set(user, [...others, binding]);
      return `Contact: ${this.kind.contact(binding, asked)};expires=600`;
    });
    this.#reply(register, from, '200 OK', contacts);
  }

  #send(method: string, uri: string, to: { address: string; port: number }, lines: string[]): void {
    const via = `SIP/2.0/UDP ${this.address}:${this.port};rport;branch=z9hG4bK${++this.#sequence}${Math.random()}`;
    const text = [`${method} ${uri} SIP/2.0`, `Via: ${via}`, 'Max-Forwards: 70', ...lines, 'Content-Length: 0', '', ''];
    this.#socket.send(text.join('\r\n'), to.port, to.address);
  }

  #reply(request: Message, from: RemoteInfo, status: string, more: string[] = []): void {
    const to = value(request, 'to');
    const lines = [
      `SIP/2.0 ${status}`,
      ...values(request, 'via').map((via) => `Via: ${via}`),
      ...['from', 'call-id', 'cseq'].map((name) => `${name}: ${value(request, name)}`),
      `To: ${to.includes('tag=') ? to : `${to};tag=pbx`}`,
      ...more,
      'Content-Length: 0',
    ];
    this.#socket.send(`${lines.join('\r\n')}\r\n\r\n`, from.port, from.address);
  }

  #answer(callId: string, cseq: string): Promise<Message> {
    return this.#until(() => this.#answers.get(`${callId} ${cseq}`), `an answer to ${cseq}`);
  }

  async #until<T>(found: () => T | undefined, what: string): Promise<T> {
    const seen = (async () => {
      for (;;) {
        const result = found();
        if (result !== undefined) return result;
        await once(this.#arrivals, 'message');
      }
    })();
    return within(seen, () => `the stand-in for ${this.kind.name} waits for ${what}`);
  }
}
