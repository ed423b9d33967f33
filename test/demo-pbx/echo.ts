import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type Peer, SipMessage, uriOf } from '../../edge-agent/src/sip/text-message.ts';
import { answerEcho, offerAudio } from './sdp.ts';

/** RFC 3261 §17.1.1.1, milliseconds. */
const T1 = 500;
const T2 = 4000;
const MAX_DIALOGS = 1000;
/** A forgotten phone ends at some time. */
const MAX_CALL_MS = 3_600_000;
const ALLOW = 'INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE';

interface EchoDialog {
  callId: string;
  remoteTag: string;
  localTag: string;
  /** From of our own requests, To of theirs. */
  local: string;
  remote: string;
  target: string;
  /** RFC 3261 §12.1.1: the Record-Route of the request, in its order. */
  routes: string[];
  inviteCseq: number;
  media: Socket;
  version: number;
  /** The 200 that waits for its ACK. */
  answer: SipMessage;
  resend: NodeJS.Timeout | undefined;
  end: NodeJS.Timeout;
}

export interface EchoOptions {
  /** Contact of the extension, `sip:echo@host:port`. */
  contact: string;
  /** The address that goes into SDP and that media sockets are bound to. */
  mediaHost: string;
  /** Nothing is sent back: calls come about and are silent. */
  mute?: boolean;
  /** Sends a request of our own; Via is put on by the sender. */
  send(request: SipMessage, to: Peer): void;
}

/** The extension `echo`: a UAS (RFC 3261 §8.2, §12, §13.3) that answers at once and sends every RTP packet back to where it came from. */
export class Echo {
  readonly #options: EchoOptions;
  readonly #dialogs = new Map<string, EchoDialog>();

  constructor(options: EchoOptions) {
    this.#options = options;
  }

  /** Calls up at this moment. */
  get calls(): number {
    return this.#dialogs.size;
  }

  /** Takes a request; `reply` sends a response to it. */
  async handle(request: SipMessage, reply: (response: SipMessage) => void): Promise<void> {
    const key = `${request.get('call-id')} ${request.tag('from')}`;
    const dialog = this.#dialogs.get(key);
    if (request.method === 'ACK') {
      if (dialog && request.cseq === dialog.inviteCseq) stopResending(dialog);
      return;
    }
    if (request.method === 'OPTIONS') return reply(withHeaders(request.reply(200, 'OK', token()), { Allow: ALLOW }));
    // The INVITE was answered at once, so there is nothing left to cancel (RFC 3261 §9.2).
    if (request.method === 'CANCEL')
      return reply(request.reply(dialog ? 200 : 481, dialog ? 'OK' : 'No Such Call', token()));
    if (request.method === 'INVITE' && request.tag('to') === undefined)
      return this.#invite(key, dialog, request, reply);
    if (!dialog || request.tag('to') !== dialog.localTag) return reply(request.reply(481, 'No Such Call'));
    this.#inDialog(key, dialog, request, reply);
  }

  async #invite(key: string, known: EchoDialog | undefined, request: SipMessage, reply: (r: SipMessage) => void) {
    // A retransmission is answered by the resending of the 200 that goes on anyway.
    if (known) return reply(known.answer);
    if (this.#dialogs.size >= MAX_DIALOGS) return reply(request.reply(486, 'Busy Here', token()));
    const target = uriOf(request.get('contact') ?? '')?.text;
    if (target === undefined) return reply(request.reply(400, 'Missing Contact', token()));
    const localTag = token();
    reply(request.reply(180, 'Ringing', localTag));
    const media = createSocket(this.#options.mediaHost.includes(':') ? 'udp6' : 'udp4');
    if (!this.#options.mute) media.on('message', (packet, from) => media.send(packet, from.port, from.address));
    // A phone that hung up answers with ICMP; there is nobody to tell.
    media.on('error', () => {});
    const dialog: EchoDialog = {
      callId: request.get('call-id') ?? '',
      remoteTag: request.tag('from') ?? '',
      localTag,
      local: `${request.get('to')};tag=${localTag}`,
      remote: request.get('from') ?? '',
      target,
      routes: request.list('record-route'),
      inviteCseq: request.cseq,
      media,
      version: 0,
      answer: request.reply(180, 'Ringing', localTag),
      resend: undefined,
      end: setTimeout(() => this.#hangUp(key), MAX_CALL_MS),
    };
    this.#dialogs.set(key, dialog);
    media.bind(0, this.#options.mediaHost);
    await once(media, 'listening');
    if (this.#dialogs.get(key) === dialog) this.#answer(key, dialog, request, reply);
  }

  /** 200 with SDP, again and again until its ACK comes (RFC 3261 §13.3.1.4). */
  #answer(key: string, dialog: EchoDialog, request: SipMessage, reply: (r: SipMessage) => void): void {
    const { mediaHost, contact } = this.#options;
    const { port } = dialog.media.address() as AddressInfo;
    const version = ++dialog.version;
    const sdp =
      request.body === '' ? offerAudio(mediaHost, port, version) : answerEcho(request.body, mediaHost, port, version);
    if (sdp === undefined) {
      if (version === 1) this.#drop(key);
      return reply(
        withHeaders(request.reply(488, 'Not Acceptable Here', dialog.localTag), {
          Warning: '305 demo "RTP/AVP audio only"',
        }),
      );
    }
    const ok = request.reply(200, 'OK', dialog.localTag);
    ok.set('Record-Route', request.all('record-route'));
    dialog.answer = withHeaders(ok, { Contact: `<${contact}>`, Allow: ALLOW, 'Content-Type': 'application/sdp' });
    ok.body = sdp;
    dialog.inviteCseq = request.cseq;
    stopResending(dialog);
    const started = performance.now();
    const send = (wait: number) => {
      if (performance.now() - started > 64 * T1) return this.#hangUp(key);
      reply(ok);
      dialog.resend = setTimeout(send, wait, Math.min(wait * 2, T2));
    };
    send(T1);
  }

  #inDialog(key: string, dialog: EchoDialog, request: SipMessage, reply: (r: SipMessage) => void): void {
    switch (request.method) {
      case 'INVITE':
        if (request.cseq === dialog.inviteCseq) return reply(dialog.answer);
        return this.#answer(key, dialog, request, reply);
      case 'BYE':
        this.#drop(key);
        return reply(request.reply(200, 'OK'));
      case 'INFO':
        return reply(request.reply(200, 'OK'));
      case 'UPDATE':
        return reply(
          request.reply(request.body === '' ? 200 : 488, request.body === '' ? 'OK' : 'Not Acceptable Here'),
        );
      default:
        return reply(withHeaders(request.reply(405, 'Method Not Allowed'), { Allow: ALLOW }));
    }
  }

  #hangUp(key: string): void {
    const dialog = this.#dialogs.get(key);
    if (!dialog) return;
    this.#drop(key);
    const bye = new SipMessage(`BYE ${dialog.target} SIP/2.0`, [
      ['Max-Forwards', '70'],
      ...dialog.routes.map((route) => ['Route', route] as const),
      ['From', dialog.local],
      ['To', dialog.remote],
      ['Call-ID', dialog.callId],
      ['CSeq', '1 BYE'],
    ]);
    const next = uriOf(dialog.routes[0] ?? dialog.target);
    if (next) this.#options.send(bye, next);
  }

  #drop(key: string): void {
    const dialog = this.#dialogs.get(key);
    if (!dialog) return;
    this.#dialogs.delete(key);
    stopResending(dialog);
    clearTimeout(dialog.end);
    dialog.media.close();
  }

  close(): void {
    for (const key of [...this.#dialogs.keys()]) this.#drop(key);
  }
}

const token = (): string => randomBytes(6).toString('hex');

function stopResending(dialog: EchoDialog): void {
  clearTimeout(dialog.resend);
  dialog.resend = undefined;
}

function withHeaders(message: SipMessage, headers: Record<string, string>): SipMessage {
  for (const [name, value] of Object.entries(headers)) message.set(name, [value]);
  return message;
}
