import { parameter, type SipMessage } from '../../sip/text-message.ts';
import { DEFAULT_BASE, nextInterval, timerValues } from '../../transaction/timers.ts';
import type { Dialog } from './dialog.ts';

/** Methods that are answered with something else than 405. */
export const ALLOW = 'INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, NOTIFY';
/** Responses kept for retransmitted requests; a peer that sends more requests than this to a probe is not owed more. */
const KEPT = 64;
/** RFC 3261 §13.3.1.4: the 2xx to INVITE is sent again like a final response, by Timers G and H, until its ACK comes. */
const TIMERS = timerValues(DEFAULT_BASE, false);

/** What the probe does with requests of its dialogs. */
export interface IncomingEvents {
  /** The dialog that a request belongs to. */
  dialogOf(request: SipMessage): Dialog | undefined;
  /** The peer hung up. */
  bye(dialog: Dialog): void;
  /** A re-INVITE. Returns the answer to its offer, or our offer where it has none; undefined: not now (491). */
  offer(dialog: Dialog, request: SipMessage): string | undefined;
}

type Reply = (message: SipMessage) => void;

/** The server side of a probe (RFC 3261 §17.2, as far as a caller needs it): answers every request once, and its retransmissions alike. */
export class Incoming {
  readonly #events: IncomingEvents;
  readonly #reliable: boolean;
  readonly #contact: string;
  readonly #answers = new Map<string, SipMessage>();
  /** Timers of 2xx that wait for their ACK, by CSeq number. */
  readonly #unacknowledged = new Map<number, NodeJS.Timeout>();

  constructor(events: IncomingEvents, reliable: boolean, contact: string) {
    this.#events = events;
    this.#reliable = reliable;
    this.#contact = contact;
  }

  receive(request: SipMessage, reply: Reply): void {
    if (request.method === 'ACK') return this.#acknowledged(request.cseq);
    const key = keyOf(request);
    const before = this.#answers.get(key);
    if (before) return reply(before);
    const answer = this.#answer(request, reply);
    if (this.#answers.size === KEPT) this.#answers.delete(this.#answers.keys().next().value as string);
    this.#answers.set(key, answer);
    reply(answer);
  }

  close(): void {
    for (const timer of this.#unacknowledged.values()) clearTimeout(timer);
    this.#unacknowledged.clear();
  }

  #answer(request: SipMessage, reply: Reply): SipMessage {
    const dialog = this.#events.dialogOf(request);
    const tag = request.tag('to') ?? OWN_TAG;
    const say = (status: number, reason: string): SipMessage => {
      const response = request.reply(status, reason, tag);
      response.set('Allow', [ALLOW]);
      return response;
    };
    if (request.method === 'CANCEL') return this.#cancel(request, say);
    if (request.method === 'OPTIONS') return say(200, 'OK');
    if (!ALLOW.split(', ').includes(request.method)) return say(405, 'Method Not Allowed');
    // A probe calls and is not called: a registered probe must not swallow somebody's call.
    if (request.method === 'INVITE' && request.tag('to') === undefined) return say(486, 'Busy Here');
    if (!dialog) return say(481, 'Call/Transaction Does Not Exist');
    if (!dialog.inOrder(request)) return say(500, 'Server Internal Error');
    if (request.method === 'INVITE') return this.#reInvite(dialog, request, say, reply);
    if (request.method === 'BYE') this.#events.bye(dialog);
    return say(200, 'OK');
  }

  #reInvite(dialog: Dialog, request: SipMessage, say: Say, reply: Reply): SipMessage {
    const sdp = this.#events.offer(dialog, request);
    if (sdp === undefined) return say(491, 'Request Pending');
    dialog.refresh(request);
    const response = say(200, 'OK');
    response.set('Contact', [this.#contact]);
    response.set('Content-Type', ['application/sdp']);
    response.body = sdp;
    this.#repeat(request.cseq, () => reply(response));
    return response;
  }

  /** Every INVITE has its final answer at once, so there is never anything left to cancel (§9.2). */
  #cancel(request: SipMessage, say: Say): SipMessage {
    const known = this.#answers.has(keyOf(request).replace(/ CANCEL$/, ' INVITE'));
    return known ? say(200, 'OK') : say(481, 'Call/Transaction Does Not Exist');
  }

  #repeat(sequence: number, send: () => void, wait: number = TIMERS.G, waited = 0): void {
    if (this.#reliable || waited > TIMERS.H) return;
    const again = (): void => {
      send();
      this.#repeat(sequence, send, nextInterval('G', wait, DEFAULT_BASE), waited + wait);
    };
    this.#unacknowledged.set(sequence, setTimeout(again, wait));
  }

  #acknowledged(sequence: number): void {
    clearTimeout(this.#unacknowledged.get(sequence));
    this.#unacknowledged.delete(sequence);
  }
}

type Say = (status: number, reason: string) => SipMessage;

/** Requests outside of a dialog are refused or answered without forming one: any tag will do. */
const OWN_TAG = 'probe';

/** §17.2.3 */
const keyOf = (request: SipMessage): string =>
  `${parameter(request.list('via')[0] ?? '', 'branch') ?? ''} ${request.get('call-id')} ${request.cseq} ${request.method}`;
