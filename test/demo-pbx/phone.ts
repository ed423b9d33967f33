import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { answerChallenge, formatCredentials, parseChallenges } from '../../edge-agent/src/sip/digest.ts';
import { hostText, parameter, responseTarget, SipMessage, uriOf } from '../../edge-agent/src/sip/text-message.ts';
import { connectTcp, openUdp, type PhoneTransport } from './phone-transport.ts';
import { offerAudio } from './sdp.ts';

/** RFC 3261 §17.1.1.1, milliseconds. */
const T1 = 500;
const T2 = 4000;

export interface PhoneOptions {
  transport: 'udp' | 'tcp';
  /** The outbound proxy: everything goes there. */
  proxy: { host: string; port: number };
  /** Milliseconds before a request is given up; 64*T1 by default. */
  timeoutMs?: number;
}

export interface Account {
  user: string;
  password: string;
}

/** What phones say about themselves; emitted for whoever wants to count or wait. */
export interface PhoneEvents {
  /** A call came in and was answered; its Call-ID. */
  answered: [callId: string];
  /** The other side hung up; its Call-ID. */
  ended: [callId: string];
}

interface Dialog {
  callId: string;
  localTag: string;
  local: string;
  remote: string;
  target: string;
  routes: string[];
  cseq: number;
}

/** An established call that this phone made. */
export interface OutgoingCall {
  callId: string;
  /** Statuses of the INVITE, provisional ones included, retransmissions not. */
  statuses: number[];
  /** The other side's SDP. */
  sdp: string;
  /** Sends BYE; the status of its answer. */
  hangUp(): Promise<number>;
}

/** A request that got a final response of no use. */
export class CallFailed extends Error {
  readonly status: number;
  constructor(what: string, status: number) {
    super(`${what}: ${status}`);
    this.status = status;
  }
}

/** A small phone for demonstrations and tests: registers, calls, answers every call at once with a 180 and a 200. Sends no media. */
export class Phone {
  readonly events = new EventEmitter<PhoneEvents>();
  readonly #transport: PhoneTransport;
  readonly #options: PhoneOptions;
  readonly #responses = new Map<string, (response: SipMessage) => void>();
  readonly #incoming = new Map<string, { tag: string; ok: SipMessage }>();
  /** Established calls that we made: a 200 that comes again gets its ACK again (RFC 3261 §13.2.2.4). */
  readonly #acks = new Map<string, SipMessage>();
  #user = 'phone';

  private constructor(transport: PhoneTransport, options: PhoneOptions) {
    this.#transport = transport;
    this.#options = options;
    transport.onMessage = (bytes) => {
      const message = SipMessage.parse(bytes);
      if (message?.isRequest) this.#handleRequest(message);
      else if (message) this.#handleResponse(message);
    };
  }

  static async open(options: PhoneOptions): Promise<Phone> {
    const transport = await (options.transport === 'udp' ? openUdp(options.proxy) : connectTcp(options.proxy));
    return new Phone(transport, options);
  }

  get address(): { host: string; port: number } {
    return this.#transport.local;
  }

  /** REGISTER, again with credentials after its 401. Resolves with the statuses of both; throws {@link CallFailed}. */
  async register(account: Account, expires = 60): Promise<number[]> {
    this.#user = account.user;
    const { host, port } = this.#options.proxy;
    const registrar = `sip:${hostText(host)}:${port}`;
    const callId = random();
    const aor = `<sip:${account.user}@${hostText(host)}>`;
    const build = (cseq: number, authorization: [string, string][]) =>
      new SipMessage(`REGISTER ${registrar} SIP/2.0`, [
        ['Max-Forwards', '70'],
        ['From', `${aor};tag=${random()}`],
        ['To', aor],
        ['Call-ID', callId],
        ['CSeq', `${cseq} REGISTER`],
        ['Contact', `<${this.#contact()}>`],
        ['Expires', String(expires)],
        ...authorization,
      ]);
    const first = await this.#request(build(1, []));
    if (first.status !== 401) return accepted('REGISTER', [first.status]);
    const [challenge] = parseChallenges(first.all('www-authenticate'));
    const request = { method: 'REGISTER', uri: registrar };
    const who = { username: account.user, password: account.password };
    const credentials = challenge && answerChallenge(challenge, who, request, { cnonce: random(), nc: 1 });
    if (!credentials) throw new CallFailed('REGISTER: no challenge that can be answered', 401);
    const second = await this.#request(build(2, [['Authorization', formatCredentials(credentials)]]));
    return accepted('REGISTER', [first.status, second.status]);
  }

  /** INVITE, ACK. Throws {@link CallFailed} where it is not answered with 2xx. */
  async call(user: string): Promise<OutgoingCall> {
    const { host, port } = this.#options.proxy;
    const localTag = random();
    const dialog: Dialog = {
      callId: random(),
      localTag,
      local: `<sip:${this.#user}@${hostText(host)}>;tag=${localTag}`,
      remote: `<sip:${user}@${hostText(host)}>`,
      target: `sip:${user}@${hostText(host)}:${port}`,
      routes: [],
      cseq: 1,
    };
    const invite = this.#inDialog('INVITE', dialog);
    invite.set('Contact', [`<${this.#contact()}>`]);
    invite.set('Content-Type', ['application/sdp']);
    invite.body = offerAudio(this.address.host, this.address.port, 1);
    const statuses: number[] = [];
    const final = await this.#request(invite, (status) => statuses.push(status));
    statuses.push(final.status);
    if (final.status >= 300) {
      this.#ackFailure(invite, final);
      throw new CallFailed(`INVITE ${user}`, final.status);
    }
    dialog.remote = final.get('to') ?? dialog.remote;
    dialog.target = uriOf(final.get('contact') ?? '')?.text ?? dialog.target;
    dialog.routes = final.list('record-route').reverse();
    const ack = this.#inDialog('ACK', dialog);
    this.#addVia(ack);
    this.#acks.set(dialog.callId, ack);
    this.#transport.send(ack.toBytes());
    return { callId: dialog.callId, statuses, sdp: final.body, hangUp: () => this.#hangUp(dialog) };
  }

  async #hangUp(dialog: Dialog): Promise<number> {
    dialog.cseq++;
    const { status } = await this.#request(this.#inDialog('BYE', dialog));
    this.#acks.delete(dialog.callId);
    return status;
  }

  /** Ends without a word to anybody. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  #contact(): string {
    const { host, port } = this.address;
    const transport = this.#options.transport === 'tcp' ? ';transport=tcp' : '';
    return `sip:${this.#user}@${hostText(host)}:${port}${transport}`;
  }

  #inDialog(method: string, dialog: Dialog): SipMessage {
    return new SipMessage(`${method} ${dialog.target} SIP/2.0`, [
      ...dialog.routes.map((route) => ['Route', route] as const),
      ['Max-Forwards', '70'],
      ['From', dialog.local],
      ['To', dialog.remote],
      ['Call-ID', dialog.callId],
      ['CSeq', `${dialog.cseq} ${method}`],
    ]);
  }

  #addVia(request: SipMessage): string {
    const branch = `z9hG4bK${random()}`;
    const { host, port } = this.address;
    request.prepend(
      'Via',
      `SIP/2.0/${this.#options.transport.toUpperCase()} ${hostText(host)}:${port};branch=${branch};rport`,
    );
    return branch;
  }

  /** RFC 3261 §17.1.1.3: the ACK of a failure belongs to the INVITE's transaction. */
  #ackFailure(invite: SipMessage, response: SipMessage): void {
    const ack = new SipMessage(invite.start.replace('INVITE', 'ACK'), [
      ['Via', invite.get('via') ?? ''],
      ['Max-Forwards', '70'],
      ['From', invite.get('from') ?? ''],
      ['To', response.get('to') ?? ''],
      ['Call-ID', invite.get('call-id') ?? ''],
      ['CSeq', `${invite.cseq} ACK`],
    ]);
    this.#transport.send(ack.toBytes());
  }

  /** A client transaction: sends, over UDP again and again (Timers A and E), until the final response or the timeout. */
  async #request(request: SipMessage, onProvisional?: (status: number) => void): Promise<SipMessage> {
    const { transport, timeoutMs = 64 * T1 } = this.#options;
    const branch = this.#addVia(request);
    const bytes = request.toBytes();
    const done = new AbortController();
    const { promise, resolve, reject } = Promise.withResolvers<SipMessage>();
    let proceeding = false;
    this.#responses.set(branch, (response) => {
      if (response.status >= 200) return resolve(response);
      if (!proceeding || response.status > 100) onProvisional?.(response.status);
      proceeding = true;
    });
    const resend = async () => {
      this.#transport.send(bytes);
      for (let wait = T1; transport === 'udp'; wait = Math.min(wait * 2, T2)) {
        await sleep(wait, undefined, { signal: done.signal });
        if (!(proceeding && request.method === 'INVITE')) this.#transport.send(bytes);
      }
    };
    const timer = setTimeout(() => reject(new CallFailed(`${request.start}: no answer`, 408)), timeoutMs);
    // Ends by being aborted, which is no news.
    resend().catch(() => {});
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      done.abort();
      this.#responses.delete(branch);
    }
  }

  #handleResponse(response: SipMessage): void {
    const waiting = this.#responses.get(parameter(response.list('via')[0] ?? '', 'branch') ?? '');
    if (waiting) return waiting(response);
    const ack = this.#acks.get(response.get('call-id') ?? '');
    if (ack && response.method === 'INVITE' && response.status < 300) this.#transport.send(ack.toBytes());
  }

  #handleRequest(request: SipMessage): void {
    const reply = (response: SipMessage) => {
      const to = responseTarget(response.list('via')[0] ?? '');
      if (to) this.#transport.send(response.toBytes(), to);
    };
    const callId = request.get('call-id') ?? '';
    const known = this.#incoming.get(callId);
    switch (request.method) {
      case 'INVITE':
        return known ? reply(known.ok) : this.#ring(request, reply);
      case 'ACK':
        if (known) this.events.emit('answered', callId);
        return;
      case 'BYE':
        this.#incoming.delete(callId);
        reply(request.reply(known ? 200 : 481, known ? 'OK' : 'No Such Call'));
        if (known) this.events.emit('ended', callId);
        return;
      case 'OPTIONS':
        return reply(request.reply(200, 'OK', random()));
      default:
        return reply(request.reply(405, 'Method Not Allowed'));
    }
  }

  #ring(request: SipMessage, reply: (response: SipMessage) => void): void {
    const tag = random();
    const ringing = request.reply(180, 'Ringing', tag);
    ringing.set('Record-Route', request.all('record-route'));
    reply(ringing);
    const ok = request.reply(200, 'OK', tag);
    ok.set('Record-Route', request.all('record-route'));
    ok.set('Contact', [`<${this.#contact()}>`]);
    ok.set('Content-Type', ['application/sdp']);
    ok.body = offerAudio(this.address.host, this.address.port, 1);
    this.#incoming.set(request.get('call-id') ?? '', { tag, ok });
    reply(ok);
  }
}

const random = (): string => randomBytes(8).toString('hex');

function accepted(what: string, statuses: number[]): number[] {
  const last = statuses.at(-1) ?? 0;
  if (last < 200 || last > 299) throw new CallFailed(what, last);
  return statuses;
}
