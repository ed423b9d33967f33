import { createHash } from 'node:crypto';
import { readMessage, value, values, type WireMessage } from '../netns/wire.ts';
import { asCaller, type Dialog, isReliable, type Message, tagOf, uriOf } from './phone-dialog.ts';
import { type PhoneLine, within } from './phone-line.ts';

export interface PhoneOptions {
  user: string;
  password: string;
  domain: string;
  /** Rings with a provisional response that is to be acknowledged (RFC 3262), where the caller understands that. */
  reliable?: boolean;
  /** False: it does not say that it supports Path. */
  path?: boolean;
  /** UUID by which it says which device it is (RFC 5626 §4.1). */
  device?: string;
}

/** Between ringing and answering: a PBX with several processes lets two messages overtake each other. */
const PICK_UP_MS = 100;

/** One established call, as one side of it sees it. */
export interface Call {
  /** The INVITE that made it, as it was received; of the caller: as it was answered. */
  readonly first: Message;
  /** `CALL-ID;to-tag=…;from-tag=…` as the other side reads it (RFC 3891). */
  readonly replaces: string;
  /** A request within it; resolves with the final answer. An INVITE's is acknowledged. */
  ask(method: string, lines?: string[]): Promise<Message>;
  /** Resolves with the first request of a method that came in within it, which was answered with 200. */
  takes(method: string): Promise<Message>;
  /** Ends it; resolves with the answer to the BYE. */
  hangUp(): Promise<Message>;
  /** Resolves when the other side has ended it. */
  ended(): Promise<void>;
}

/**
 * A user agent of a few lines for what SIPp and baresip do not speak: written from RFC 3261 and RFC 7118, with nothing of the product in it.
 * Answers every call.
 */
export class Phone {
  /** Everything received, in order. */
  readonly received: Message[] = [];
  /** Calls that came in and were acknowledged, in order. */
  readonly calls: Call[] = [];
  /** Call-IDs that the other side has ended. */
  readonly ended = new Set<string>();
  /** INVITEs answered and not acknowledged yet, by Call-ID. */
  readonly #answered = new Map<string, Message>();
  /** Final answers by Call-ID and CSeq. */
  readonly #finals = new Map<string, Message>();
  #line: PhoneLine;
  /** A browser's name of its own outlives its connections. */
  readonly #name: string;
  readonly #options: PhoneOptions;
  readonly #watchers = new Set<() => void>();
  #sequence = 0;

  constructor(line: PhoneLine, options: PhoneOptions) {
    this.#line = line;
    this.#name = line.host;
    this.#options = options;
    this.#hear(line);
  }

  /** Goes on by another line, as after its connection was lost. What still comes by the one of before is not heard. */
  moveTo(line: PhoneLine): void {
    this.#line = line;
    this.#hear(line);
  }

  #hear(line: PhoneLine): void {
    line.onMessage((text) => {
      if (line === this.#line) this.#take(readMessage(text));
    });
  }

  get contact(): string {
    const { uriTransport } = this.#line;
    const host = uriTransport === 'ws' ? this.#name : this.#line.host;
    const { user, device } = this.#options;
    return `<sip:${user}@${host};transport=${uriTransport}>${device ? `;+sip.instance="<urn:uuid:${device}>"` : ''}`;
  }

  /** REGISTER → 401 → REGISTER with credentials → 200. Resolves with the statuses seen. */
  async register(): Promise<number[]> {
    const { user, domain } = this.#options;
    const uri = `sip:${domain}`;
    const own = `<sip:${user}@${domain}>`;
    const id = this.#id('reg');
    const supported = this.#options.path === false ? [] : ['Supported: path'];
    const extra = [`Contact: ${this.contact}`, 'Expires: 600', ...supported];
    const statuses = await this.#authenticated('REGISTER', uri, id, `${own};tag=${id}`, own, extra);
    return statuses.map((m) => m.status);
  }

  /** Calls a user, with credentials where asked for. */
  async call(callee: string, lines: string[] = []): Promise<Call> {
    const { user, domain } = this.#options;
    const uri = `sip:${callee}@${domain}`;
    const id = this.#id('call');
    const local = `<sip:${user}@${domain}>;tag=${id}`;
    const extra = [`Contact: ${this.contact}`, ...(this.#options.reliable ? ['Supported: 100rel'] : []), ...lines];
    const answers = await this.#authenticated('INVITE', uri, id, local, `<${uri}>`, extra);
    const ok = answers.at(-1) as Message;
    if (ok.status !== 200) throw new Error(`${ok.startLine} to the INVITE of ${user} for ${callee}`);
    const dialog = asCaller(ok);
    this.#inDialog('ACK', dialog, dialog.sequence);
    // The PRACKs counted on.
    dialog.sequence += this.received.filter((m) => isReliable(m) && value(m, 'call-id') === id).length;
    return this.#asCall(ok, dialog);
  }

  /** The next call that comes in, from the one numbered `after` on; answered, and acknowledged by the caller. */
  async called(after = 0): Promise<Call> {
    const invite = (await this.#sees(() => this.#requests('INVITE')[after])) as Message;
    const callId = value(invite, 'call-id');
    await this.#sees(() => this.#requests('ACK').find((m) => value(m, 'call-id') === callId));
    return this.#taken(invite);
  }

  close(): void {
    this.#line.close();
  }

  /** A call that this side has answered. */
  #taken(invite: Message): Call {
    return this.#asCall(invite, {
      callId: value(invite, 'call-id'),
      local: this.#answeredTo(invite),
      remote: value(invite, 'from'),
      target: uriOf(value(invite, 'contact')),
      route: values(invite, 'record-route'),
      sequence: 1,
    });
  }

  #asCall(first: Message, dialog: Dialog): Call {
    const ask = async (method: string, lines: string[] = []) => {
      const sequence = ++dialog.sequence;
      this.#inDialog(method, dialog, sequence, [`Contact: ${this.contact}`, ...lines]);
      const answer = await this.#final(dialog.callId, `${sequence} ${method}`);
      if (method === 'INVITE') this.#inDialog('ACK', dialog, sequence);
      return answer;
    };
    const takes = (method: string) =>
      this.#sees(() =>
        this.#requests(method).find((m) => value(m, 'call-id') === dialog.callId && value(m, 'to').includes('tag=')),
      );
    return {
      first,
      replaces: `${dialog.callId};to-tag=${tagOf(dialog.remote)};from-tag=${tagOf(dialog.local)}`,
      ask,
      takes,
      hangUp: () => ask('BYE'),
      ended: async () => {
        await takes('BYE');
      },
    };
  }

  #id(what: string): string {
    return `${what}-${this.#options.user}-${process.pid}-${Math.random().toString(36).slice(2)}`;
  }

  #requests(method: string): Message[] {
    return this.received.filter((m) => m.method === method);
  }

  /** A request outside of a dialog, repeated once with credentials if challenged. Resolves with the final answers. */
  async #authenticated(
    method: string,
    uri: string,
    callId: string,
    from: string,
    to: string,
    extra: string[],
  ): Promise<Message[]> {
    const answers: Message[] = [];
    for (let sequence = 1, credentials: string[] = []; sequence <= 2; sequence++) {
      const cseq = `${sequence} ${method}`;
      this.#send(method, uri, [
        `From: ${from}`,
        `To: ${to}`,
        `Call-ID: ${callId}`,
        `CSeq: ${cseq}`,
        ...extra,
        ...credentials,
      ]);
      const answer = await this.#final(callId, cseq);
      answers.push(answer);
      if (answer.status !== 401 && answer.status !== 407) break;
      if (method === 'INVITE') this.#acknowledge(answer, uri, from, callId, sequence);
      credentials = [this.#credentials(answer, method, uri)];
    }
    return answers;
  }

  /** RFC 3261 §17.1.1.3: the ACK of a failure belongs to the INVITE's transaction. */
  #acknowledge(answer: Message, uri: string, from: string, callId: string, sequence: number): void {
    const lines = [`From: ${from}`, `To: ${value(answer, 'to')}`, `Call-ID: ${callId}`, `CSeq: ${sequence} ACK`];
    this.#write('ACK', uri, [`Via: ${values(answer, 'via')[0]}`, ...lines]);
  }

  #credentials(challenge: Message, method: string, uri: string): string {
    const { user, password } = this.#options;
    const [header, name] =
      challenge.status === 401 ? ['www-authenticate', 'Authorization'] : ['proxy-authenticate', 'Proxy-Authorization'];
    const text = value(challenge, header);
    const of = (field: string) => new RegExp(`\\b${field}="([^"]*)"`).exec(text)?.[1] ?? '';
    const md5 = (input: string) => createHash('md5').update(input).digest('hex');
    const response = md5(`${md5(`${user}:${of('realm')}:${password}`)}:${of('nonce')}:${md5(`${method}:${uri}`)}`);
    return `${name}: Digest username="${user}", realm="${of('realm')}", nonce="${of('nonce')}", uri="${uri}", response="${response}"`;
  }

  #inDialog(
    method: string,
    { local, remote, target, route, callId }: Dialog,
    sequence: number,
    lines: string[] = [],
  ): void {
    const routes = route.map((r) => `Route: ${r}`);
    this.#send(method, target, [
      ...routes,
      `From: ${local}`,
      `To: ${remote}`,
      `Call-ID: ${callId}`,
      `CSeq: ${sequence} ${method}`,
      ...lines,
    ]);
  }

  #send(method: string, uri: string, lines: string[]): void {
    const { viaTransport, host } = this.#line;
    const branch = `z9hG4bK-${this.#options.user}-${++this.#sequence}-${Math.random().toString(36).slice(2)}`;
    this.#write(method, uri, [`Via: SIP/2.0/${viaTransport} ${host};rport;branch=${branch}`, ...lines]);
  }

  #write(method: string, uri: string, lines: string[]): void {
    this.#line.send(
      [`${method} ${uri} SIP/2.0`, ...lines, 'Max-Forwards: 70', 'Content-Length: 0', '', ''].join('\r\n'),
    );
  }

  #final(callId: string, cseq: string): Promise<Message> {
    return this.#sees(() => this.#finals.get(`${callId} ${cseq}`));
  }

  #sees<T>(found: () => T | undefined): Promise<T> {
    const seen = new Promise<T>((resolve) => {
      const look = () => {
        const result = found();
        if (result === undefined) return;
        this.#watchers.delete(look);
        resolve(result);
      };
      this.#watchers.add(look);
      look();
    });
    return within(
      seen,
      () => `${this.#options.user} received only:\n${this.received.map((m) => m.startLine).join('\n')}`,
    );
  }

  #take(message: Message): void {
    this.received.push(message);
    const callId = value(message, 'call-id');
    if (message.status >= 200) this.#finals.set(`${callId} ${value(message, 'cseq')}`, message);
    else if (message.method === 'INVITE' && !this.#answered.has(callId)) this.#answered.set(callId, message);
    else if (message.method === 'BYE') this.ended.add(callId);
    const invite = message.method === 'ACK' ? this.#answered.get(callId) : undefined;
    if (invite && this.#answered.delete(callId)) this.calls.push(this.#taken(invite));
    if (message.method === 'INVITE' && !value(message, 'to').includes('tag=')) this.#ring(message);
    else if (message.method !== '' && message.method !== 'ACK') this.#answer(message, '200 OK');
    if (message.method === 'PRACK')
      // Acknowledged: now the call itself may be answered (RFC 3262 §3).
      this.#answer(this.#requests('INVITE').find((m) => value(m, 'call-id') === value(message, 'call-id'))!, '200 OK');
    if (isReliable(message)) this.#acknowledgeProvisional(message);
    for (const look of [...this.#watchers]) look();
  }

  #ring(invite: Message): void {
    if (this.#options.reliable && value(invite, 'supported').includes('100rel'))
      return this.#answer(invite, '183 Session Progress', ['Require: 100rel', 'RSeq: 7']);
    this.#answer(invite, '180 Ringing');
    setTimeout(() => this.#answer(invite, '200 OK'), PICK_UP_MS);
  }

  #acknowledgeProvisional(progress: Message): void {
    const dialog = asCaller(progress);
    const rack = `RAck: ${value(progress, 'rseq')} ${value(progress, 'cseq')}`;
    this.#inDialog('PRACK', dialog, dialog.sequence + 1, [rack]);
  }

  #answeredTo(request: Message): string {
    const to = value(request, 'to');
    return to.includes('tag=') ? to : `${to};tag=answered-${value(request, 'call-id').length}`;
  }

  #answer(request: Pick<WireMessage, 'headers' | 'method'>, status: string, extra: string[] = []): void {
    const copied = ['via', 'record-route'].flatMap((name) => values(request, name).map((v) => `${name}: ${v}`));
    const lines = [
      `SIP/2.0 ${status}`,
      ...copied,
      ...['from', 'call-id', 'cseq'].map((name) => `${name}: ${value(request, name)}`),
      `To: ${this.#answeredTo(request as Message)}`,
      `Contact: ${this.contact}`,
      ...extra,
      'Content-Length: 0',
    ];
    this.#line.send(`${lines.join('\r\n')}\r\n\r\n`);
  }
}
