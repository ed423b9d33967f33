import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, type Server, type Socket as Stream } from 'node:net';
import { bound, request } from '../e2e/loopback.ts';
import { onMessages } from '../interop/phone-line.ts';
import { readMessage, value, values, type WireMessage } from '../netns/wire.ts';
import { mutate, setLength } from './mutate.ts';
import { Random } from './random.ts';
import { streamPbx } from './stream-pbx.ts';

/**
 * Phones and PBXs that keep calls open through a real agent and answer each other at random, half of the time wrongly: with branches, flows and tokens of the
 * agent's own that are damaged, or another call's. So what is changed here meets a transaction, and the agent's state after it.
 */

type Message = Pick<WireMessage, 'startLine' | 'method' | 'status' | 'headers'>;

/** Messages that both sides of one call send in all: after these they answer no more. */
const BUDGET = 24;
/** Values of the agent's own that are remembered. */
const REMEMBERED = 400;
const PREFIX = 'open-';
const STATUSES = [100, 180, 183, 200, 200, 202, 302, 401, 404, 407, 480, 481, 486, 487, 500, 500, 504, 600, 699];
const METHODS = ['INVITE', 'INVITE', 'INVITE', 'INVITE', 'MESSAGE', 'SUBSCRIBE', 'REGISTER', 'BYE'];
const IN_DIALOG = ['BYE', 'INVITE', 'UPDATE', 'NOTIFY', 'PRACK', 'REFER', 'ACK', 'CANCEL'];
/** What the agent made: branches, the `w` of its Vias, users of its Record-Routes and Paths. */
const OWN = /(?<=branch=z9hG4bK)[\w-]{20,}|(?<=;w=)[\w-]+|(?<=<sip:)[\w-]{40,70}(?=@)/g;

const lines = (m: Message, ...names: string[]): string[] =>
  names.flatMap((name) => values(m, name).map((v) => `${name}: ${v}`));
const message = (start: string, head: readonly string[]): string =>
  [start, ...head, 'Content-Length: 0', '', ''].join('\r\n');
const tagged = (to: string, tag: string): string => (/;tag=/.test(to) ? to : `${to};tag=${tag}`);

/** The answer to a request, as it should be. */
export function answerTo(m: Message, status: number, tag: string, contact: string): string {
  return message(`SIP/2.0 ${status} X`, [
    ...lines(m, 'via', 'record-route', 'from', 'call-id', 'cseq'),
    `to: ${status === 100 ? value(m, 'to') : tagged(value(m, 'to'), tag)}`,
    `contact: <sip:x@${contact}>`,
  ]);
}

interface About {
  /** Where its Via says that it comes from. */
  via: string;
  /** CANCEL or ACK of the very transaction, else a request of its dialog. */
  hop?: boolean;
  /** From who received it, else from who sent it. */
  reverse?: boolean;
  /** Without the tag that would make it one of the dialog. */
  fresh?: boolean;
  /** As a strict router sends it: the Routes' first stands in the Request-URI, and that last in the Routes (RFC 3261 §16.6 item 6). */
  strict?: boolean;
}

/** A request about the one at hand. */
function about(m: Message, method: string, { via, hop, reverse, fresh, strict }: About): string {
  const [from, to] = reverse ? [tagged(value(m, 'to'), 'pbx'), value(m, 'from')] : [value(m, 'from'), value(m, 'to')];
  const routes = [...values(m, 'path'), ...values(m, 'record-route')];
  if (!reverse) routes.reverse();
  let uri = `sip:x@${via.split(':')[0]}`;
  if (strict && routes.length > 0) {
    routes.push(`<${uri}>`);
    uri = routes.shift()!.replace(/[<>]/g, '');
  }
  const cseq = Number.parseInt(value(m, 'cseq'), 10) + (hop ? 0 : 1);
  return message(`${method} ${uri} SIP/2.0`, [
    hop ? lines(m, 'via').at(-1)! : `Via: SIP/2.0/UDP ${via};rport;branch=z9hG4bK-${Math.random()}`,
    ...routes.map((route) => `Route: ${route}`),
    ...[`From: ${from}`, `To: ${fresh ? to.replace(/;tag=.*/, '') : to}`, `Call-ID: ${value(m, 'call-id')}`],
    ...[`CSeq: ${cseq} ${method}`, 'Max-Forwards: 70'],
  ]);
}

type Send = (text: string) => void;

/** Ports of the agent. */
interface Service {
  address: string;
  udp: number;
  tcp: number;
}

export class OpenCalls {
  /** Everything sent since {@link begin}. */
  readonly sent: string[] = [];
  /** The PBX on TCP. */
  readonly server: AddressInfo;
  readonly #service: Service;
  readonly #phone: Socket;
  readonly #server: Server;
  /** Of each call that goes on: the messages that it may still take. */
  readonly #left = new Map<string, number>();
  /** Requests that PBXs got last, for answers that come late. */
  readonly #asked: { m: Message; via: string; send: Send }[] = [];
  readonly #own: string[] = [];
  #random = new Random(0);
  /** A phone on TCP, until the agent has enough of it. */
  #stream: Stream | undefined;

  private constructor(service: Service, phone: Socket, pbxs: readonly Socket[], server: Server) {
    this.#service = service;
    this.#phone = phone;
    this.#server = server;
    this.server = server.address() as AddressInfo;
    phone.on('message', (bytes) => this.#atPhone(bytes.toString('latin1'), this.#fromPhone));
    for (const pbx of pbxs) {
      const own = pbx.address();
      pbx.on('message', (bytes, { address, port }) => {
        const send: Send = (text) => pbx.send(Buffer.from(text, 'latin1'), port, address);
        this.#atPbx(bytes.toString('latin1'), `${own.address}:${own.port}`, send);
      });
    }
  }

  /** `pbxs`, and the one on TCP at `tcpPbx`, answer every request with 200 that is not of these calls. */
  static async start(service: Service, phone: string, pbxs: readonly Socket[], tcpPbx: string): Promise<OpenCalls> {
    let calls: OpenCalls | undefined;
    const server = await streamPbx(tcpPbx, (text, send, hangUp) => calls?.atStreamPbx(text, send, hangUp));
    calls = new OpenCalls(service, await bound(phone), pbxs, server);
    return calls;
  }

  /** Starts `count` calls, which go on by themselves. */
  async begin(count: number, random: Random): Promise<void> {
    this.#random = random;
    this.sent.length = 0;
    this.#left.clear();
    this.#asked.length = 0;
    this.#stream?.destroy();
    const stream = connect(this.#service.tcp, this.#service.address);
    this.#stream = stream.on('error', () => {});
    await once(stream, 'connect');
    const send: Send = (text) => stream.write(Buffer.from(setLength(text), 'latin1'));
    onMessages(stream, (text) => this.#atPhone(text, send));
    for (let i = 0; i < count; i++) {
      const method = random.pick(METHODS);
      const id = `${PREFIX}${random.next()}`;
      this.#left.set(id, BUDGET);
      const text = request(method, random.pick(['bonnie', 'clyde', 'blanche']), id, this.#phone.address());
      if (i % 4 > 0) this.#write(text, this.#fromPhone);
      else this.#write(text.replace('SIP/2.0/UDP', 'SIP/2.0/TCP'), send);
    }
  }

  close(): void {
    this.#stream?.destroy();
    this.#phone.close();
    this.#server.close();
  }

  /** Breaks its connection off now and then. */
  atStreamPbx(text: string, send: Send, hangUp: () => void): void {
    this.#atPbx(text, `${this.server.address}:${this.server.port}`, (answer) => send(setLength(answer)));
    if (text.includes(PREFIX) && this.#random.oneIn(20)) hangUp();
  }

  readonly #fromPhone: Send = (text) =>
    this.#phone.send(Buffer.from(text, 'latin1'), this.#service.udp, this.#service.address);

  /** A phone got an answer: it acknowledges, gives up, asks again; or it was asked for something. */
  #atPhone(text: string, send: Send): void {
    const m = this.#read(text);
    if (!m) return;
    const random = this.#random;
    const { address, port } = this.#phone.address();
    const via = `${address}:${port}`;
    if (m.method !== '') return this.#answer(m, 'phone', via, send);
    if (random.oneIn(4)) return;
    const method =
      m.status >= 200 ? random.pick(['ACK', 'ACK', 'ACK', ...IN_DIALOG]) : random.pick(['CANCEL', 'PRACK']);
    const hop = method === 'CANCEL' || (method === 'ACK' && m.status >= 300);
    for (let times = random.pick([1, 1, 2]); times > 0; times--)
      this.#write(this.#spoilt(about(m, method, { via, hop, strict: random.oneIn(8) })), send);
  }

  /** A PBX was asked for something: it answers, says nothing, answers what it was asked before, or asks for something itself. */
  #atPbx(text: string, via: string, send: Send): void {
    const plain = readMessage(text);
    if (!value(plain, 'call-id').startsWith(PREFIX)) {
      if (plain.method !== '' && plain.method !== 'ACK') send(answerTo(plain, 200, 'pbx', via));
      return;
    }
    const m = this.#read(text);
    if (!m || m.method === '') return;
    const random = this.#random;
    this.#answer(m, 'pbx', via, send);
    if (random.oneIn(3)) {
      const late = this.#asked.findLast((asked) => value(asked.m, 'call-id') === value(m, 'call-id'));
      if (late) this.#answer(late.m, 'late', late.via, late.send);
    }
    this.#asked.push({ m, via, send });
    if (!random.oneIn(4)) return;
    const [method, fresh, strict] = [random.pick(IN_DIALOG), random.oneIn(3), random.oneIn(8)];
    this.#write(this.#spoilt(about(m, method, { via, reverse: true, fresh, strict })), send);
  }

  #answer(m: Message, tag: string, via: string, send: Send): void {
    const random = this.#random;
    for (let times = random.pick([0, 1, 1, 2, 3]); times > 0; times--)
      this.#write(this.#spoilt(answerTo(m, random.pick(STATUSES), `${tag}${random.below(2)}`, via)), send);
  }

  /** Undefined where it belongs to no call of these, or to one that has said enough. */
  #read(text: string): Message | undefined {
    const m = readMessage(text);
    const id = value(m, 'call-id');
    const left = this.#left.get(id) ?? 0;
    if (left <= 0) return undefined;
    this.#left.set(id, left - 1);
    for (const [found] of text.matchAll(OWN)) this.#own[this.#random.below(REMEMBERED)] = found;
    return m;
  }

  #write(text: string, send: Send): void {
    this.sent.push(text);
    send(text);
  }

  /** Half of the time the message as it is. */
  #spoilt(text: string): string {
    const random = this.#random;
    if (random.oneIn(2)) return text;
    return random.pick(SPOILERS)(random, text, this.#own) ?? mutate(random, [text, ...this.sent.slice(-20)]);
  }
}

/** Changes one of the agent's own values in a message; undefined where it has none. */
function withOwn(random: Random, text: string, change: (own: string) => string): string | undefined {
  const found = [...text.matchAll(OWN)];
  if (found.length === 0) return undefined;
  const { 0: own, index } = random.pick(found);
  return text.slice(0, index) + change(own) + text.slice(index + own.length);
}

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

type Spoiler = (random: Random, text: string, own: readonly string[]) => string | undefined;
const SPOILERS: readonly Spoiler[] = [
  function oneDigit(random, text) {
    const digit = random.pick([...DIGITS]);
    return withOwn(random, text, (own) => {
      const at = random.below(own.length);
      return own.slice(0, at) + digit + own.slice(at + 1);
    });
  },
  function ofAnotherCall(random, text, own) {
    const known = own.filter(Boolean);
    return known.length === 0 ? undefined : withOwn(random, text, () => random.pick(known));
  },
  (random, text) => withOwn(random, text, (own) => own.slice(0, random.below(own.length))),
  (random, text) => withOwn(random, text, (own) => own + own.slice(random.below(own.length))),
  (random, text) => text.replace(/^(cseq: \d+) \w+/im, `$1 ${random.pick(METHODS)}`),
  (random, text) => text.replace(/^(cseq:) \d+/im, `$1 ${random.next()}`),
  (random, text) => text.replace(/;tag=\w+/, `;tag=${random.below(9)}`),
  (_random, text) => text.replace(/^via: .*\r\n/im, ''),
  (_random, text) => text.replace(/^(via: .*\r\n)/im, '$1$1'),
  (_random, text) => text.replace(/^(via: .*\r\n)(via: .*\r\n)/im, '$2$1'),
  () => undefined,
  () => undefined,
];
