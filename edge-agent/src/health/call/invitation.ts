import { SipMessage } from '../../sip/text-message.ts';
import { newCallId, newTag } from '../identifiers.ts';
import type { UserAgent } from './agent.ts';
import { Authenticator } from './authentication.ts';
import { Dialog, MAX_FORWARDS } from './dialog.ts';
import { ProbeFault } from './fault.ts';
import { abortable, within } from './limit.ts';
import { statusOf } from './registration.ts';

/** Provisional responses that a call may have; 200 are one every minute (RFC 3261 §13.3.1.1) for three hours. */
const MAX_PROVISIONAL = 200;
/** Branches of a fork that are followed. Those beyond are a flood of To tags. */
const MAX_BRANCHES = 32;
/** Rounds of challenges that an INVITE may go through. */
const MAX_ROUNDS = 4;
/** An INVITE that nothing answered cannot be cancelled (RFC 3261 §9.1); this long an answer is waited for. */
const SILENT_MS = 500;

/** Whom to call, and what to offer. */
export interface CallTarget {
  uri: string;
  /** From and To without tags. */
  from: string;
  to: string;
  offer: string;
  /** The waiting INVITE's early dialogs and forks end when this does. */
  hard: AbortSignal;
  /** Every provisional response, in order. */
  progress(response: SipMessage): void;
}

/** What an INVITE came to. No dialog: the final response is no 2xx, but one that was asked for. */
export interface Answered {
  dialog?: Dialog;
  response: SipMessage;
}

/** One INVITE with all that may come of it: challenges, PRACK, forks, CANCEL and answers that come too late. */
export class Invitation {
  readonly #agent: UserAgent;
  readonly #target: CallTarget;
  readonly #callId = newCallId();
  readonly #tag = newTag();
  /** Early and confirmed dialogs by remote tag. */
  readonly #dialogs = new Map<string, Dialog>();
  readonly #confirmed = new Set<Dialog>();
  /** Highest RSeq acknowledged, by remote tag (RFC 3262 §4). */
  readonly #acknowledged = new Map<string, number>();
  /** BYEs of what was answered beside or after the first. */
  readonly #released: Promise<unknown>[] = [];
  readonly #outcome = Promise.withResolvers<Answered>();
  readonly #final = Promise.withResolvers<void>();
  #invite: SipMessage | undefined;
  #quiet: () => void = () => {};
  #accepted: readonly number[] = [];
  #sequence = 0;
  #provisional = 0;
  /** A final response came, so there is nothing to cancel. */
  #ended = false;
  #abandoned = false;
  #provisionalSeen: (() => void) | undefined;

  constructor(agent: UserAgent, target: CallTarget) {
    this.#agent = agent;
    this.#target = target;
    // Who abandons a call does not wait for its outcome.
    this.#outcome.promise.catch(() => {});
  }

  /**
   * Sends the INVITE. Resolves with the first 2xx, acknowledged, or a final response of the accepted codes; rejects with a
   * ProbeFault, or the signal's reason.
   */
  async run(signal: AbortSignal, accepted: readonly number[]): Promise<Answered> {
    this.#accepted = accepted;
    AbortSignal.any([this.#agent.down, signal]).throwIfAborted();
    this.#send(1);
    try {
      return await abortable(this.#outcome.promise, signal);
    } catch (error) {
      this.#abandoned = true;
      throw error;
    }
  }

  /** Ends whatever is open beside the call that {@link run} resolved with. True: the peer has confirmed all of it. */
  async abandon(signal: AbortSignal): Promise<boolean> {
    this.#abandoned = true;
    if (this.#invite && !this.#ended && !this.#agent.down.aborted) await this.#cancel(signal).catch(() => {});
    const released = await abortable(Promise.all(this.#released), signal).catch(() => [false]);
    // Where nothing ever answered, nothing can have been set up, as far as anybody can tell.
    return (this.#ended || this.#provisional === 0) && released.every(Boolean);
  }

  #send(round: number): void {
    const { uri, from, to, offer } = this.#target;
    const invite = new SipMessage(`INVITE ${uri} SIP/2.0`, [
      ['Max-Forwards', MAX_FORWARDS],
      ['From', `${from};tag=${this.#tag}`],
      ['To', to],
      ['Call-ID', this.#callId],
      ['CSeq', `${++this.#sequence} INVITE`],
      ['Supported', '100rel'],
      ['Content-Type', 'application/sdp'],
    ]);
    invite.body = offer;
    this.#invite = this.#agent.stamp(invite);
    const { quiet } = this.#agent.invite(invite, {
      provisional: (response) => this.#progress(response, invite),
      success: (response) => this.#success(response, invite),
      failure: (response) => this.#failure(response, invite, round),
      fault: (fault) => this.#outcome.reject(fault),
    });
    this.#quiet = quiet;
  }

  #progress(response: SipMessage, invite: SipMessage): void {
    if (++this.#provisional > MAX_PROVISIONAL) {
      const text = `flood: more than ${MAX_PROVISIONAL} provisional responses`;
      return this.#outcome.reject(new ProbeFault(text, { code: response.status }));
    }
    this.#provisionalSeen?.();
    if (this.#abandoned) return;
    this.#target.progress(response);
    const reliable = response.list('require').some((option) => option.toLowerCase() === '100rel');
    if (reliable && response.status > 100) this.#prack(response, invite);
  }

  /** RFC 3262 §4: each reliable response in its order, once. */
  #prack(response: SipMessage, invite: SipMessage): void {
    const dialog = this.#dialogOf(response, invite);
    const rseq = Number(response.get('rseq'));
    if (!dialog || !Number.isInteger(rseq)) return;
    const last = this.#acknowledged.get(dialog.remoteTag);
    if (last !== undefined && rseq !== last + 1) return;
    this.#acknowledged.set(dialog.remoteTag, rseq);
    const build = (): SipMessage => {
      const prack = dialog.request('PRACK');
      prack.set('RAck', [`${rseq} ${invite.cseq} INVITE`]);
      return prack;
    };
    // What the peer makes of it shows in what it does next.
    this.#agent.request(build, this.#target.hard, dialog.nextHop).catch(() => {});
  }

  #success(response: SipMessage, invite: SipMessage): void {
    const dialog = this.#dialogOf(response, invite);
    if (!dialog) return;
    const first = !this.#confirmed.has(dialog);
    if (first) dialog.confirm(response);
    this.#confirmed.add(dialog);
    // Every 2xx has its ACK, a retransmitted one too: the ACK before it may be lost (RFC 3261 §13.2.2.4).
    this.#agent.acknowledge(dialog, invite);
    if (!first) return;
    if (this.#ended || this.#abandoned) this.#released.push(this.#release(dialog));
    else this.#outcome.resolve({ dialog, response });
    this.#end();
  }

  #failure(response: SipMessage, invite: SipMessage, round: number): void {
    if (Authenticator.isChallenge(response) && round < MAX_ROUNDS && !this.#abandoned) {
      try {
        this.#agent.identity.authenticator.learn(response, invite);
        return this.#send(round + 1);
      } catch (error) {
        this.#outcome.reject(error);
        return this.#end();
      }
    }
    const text = `INVITE refused: ${statusOf(response)}`;
    if (this.#accepted.includes(response.status)) this.#outcome.resolve({ response });
    else this.#outcome.reject(new ProbeFault(text, { code: response.status }));
    this.#end();
  }

  #dialogOf(response: SipMessage, invite: SipMessage): Dialog | undefined {
    const tag = response.tag('to') ?? '';
    const known = this.#dialogs.get(tag);
    if (known || this.#dialogs.size >= MAX_BRANCHES) return known;
    const dialog = new Dialog(invite, response);
    this.#dialogs.set(tag, dialog);
    return dialog;
  }

  /** BYE for what nobody waits for. Resolves with true once it is answered. */
  #release(dialog: Dialog): Promise<boolean> {
    dialog.over = true;
    const bye = this.#agent.request(() => dialog.request('BYE'), this.#target.hard, dialog.nextHop);
    return bye.then(
      () => true,
      () => false,
    );
  }

  async #cancel(signal: AbortSignal): Promise<void> {
    const invite = this.#invite as SipMessage;
    if (this.#provisional === 0) {
      this.#quiet();
      const limit = within(SILENT_MS, () => new Error('silent'), signal);
      const heard = Promise.withResolvers<void>();
      this.#provisionalSeen = heard.resolve;
      await abortable(Promise.race([heard.promise, this.#final.promise]), limit.signal).finally(limit.done);
      if (this.#ended) return;
    }
    // The answer that counts is the INVITE's own: 487, or a 2xx that was under way.
    this.#agent.cancel(invite, signal).catch(() => {});
    await abortable(this.#final.promise, signal);
  }

  #end(): void {
    this.#ended = true;
    this.#final.resolve();
  }
}
