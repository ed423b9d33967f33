import { SipMessage, uriOf } from '../../sip/text-message.ts';
import { placeOf } from './locate.ts';

/** Requests of a dialog carry this (RFC 3261 §8.1.1.6). */
export const MAX_FORWARDS = '70';

/** The caller's end of a dialog (RFC 3261 §12), early or confirmed. */
export class Dialog {
  readonly callId: string;
  readonly localTag: string;
  readonly remoteTag: string;
  /** From and To of our requests, tags included. */
  readonly #from: string;
  readonly #to: string;
  #target: string;
  #routes: readonly string[];
  #sequence: number;
  #remoteSequence = -1;
  /** BYE has been sent or received. */
  over = false;

  /** From the INVITE and a response with a To tag (§12.1.2). */
  constructor(invite: SipMessage, response: SipMessage) {
    this.callId = invite.get('call-id') ?? '';
    this.localTag = invite.tag('from') ?? '';
    this.remoteTag = response.tag('to') ?? '';
    this.#from = invite.get('from') ?? '';
    this.#to = response.get('to') ?? '';
    this.#target = invite.uri;
    this.#routes = response.list('record-route').reverse();
    this.#sequence = invite.cseq;
    this.refresh(response);
  }

  /** Target refresh (§12.2.1.2): the Contact of a 2xx to (re-)INVITE, or of the peer's re-INVITE. */
  refresh(message: SipMessage): void {
    const contact = uriOf(message.list('contact')[0] ?? '');
    if (contact) this.#target = contact.text;
  }

  /** §12.2.1.1: a confirmed dialog takes its route set from the 2xx, whatever the early one had. */
  confirm(response: SipMessage): void {
    this.#routes = response.list('record-route').reverse();
    this.refresh(response);
  }

  /** A request within the dialog, without Via. ACK takes the number of the INVITE that it is about. */
  request(method: string, sequence?: number): SipMessage {
    const first = this.#routes[0];
    // A strict router expects the next hop in the Request-URI, and the target as the last Route (§12.2.1.1).
    const strict = first !== undefined && !/;lr(?=[;=>?\s]|$)/i.test(first);
    const routes = strict ? [...this.#routes.slice(1), `<${this.#target}>`] : this.#routes;
    const uri = strict ? (uriOf(first)?.text ?? this.#target) : this.#target;
    const number = sequence ?? ++this.#sequence;
    return new SipMessage(`${method} ${uri} SIP/2.0`, [
      ...routes.map((route) => ['Route', route] as const),
      ['Max-Forwards', MAX_FORWARDS],
      ['From', this.#from],
      ['To', this.#to],
      ['Call-ID', this.callId],
      ['CSeq', `${number} ${method}`],
    ]);
  }

  /**
   * Where UDP sends the dialog's requests: the first Route, else the target, where that is a literal address. A name is taken
   * for the peer that the INVITE went to.
   */
  get nextHop(): { address: string; port: number } | undefined {
    const place = placeOf(this.#routes[0] ?? this.#target);
    return place && /^[\d.]+$|:/.test(place.host) ? { address: place.host, port: place.port || 5060 } : undefined;
  }

  /** A request that came in belongs to this dialog. */
  owns(request: SipMessage): boolean {
    return (
      request.get('call-id') === this.callId &&
      request.tag('to') === this.localTag &&
      (request.tag('from') ?? '') === this.remoteTag
    );
  }

  /** False for a request that is older than one seen before (§12.2.2). */
  inOrder(request: SipMessage): boolean {
    if (request.cseq <= this.#remoteSequence) return false;
    this.#remoteSequence = request.cseq;
    return true;
  }
}
