import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RtpSession } from '../../media/rtp-session.ts';
import type { SipMessage } from '../../sip/text-message.ts';
import type { UserAgent } from './agent.ts';
import type { AudioNegotiation } from './audio.ts';
import { Authenticator } from './authentication.ts';
import type { Dialog } from './dialog.ts';
import { ProbeFault } from './fault.ts';
import { abortable } from './limit.ts';
import { statusOf } from './registration.ts';

/** Rounds of challenges and of glare that a re-INVITE may go through. */
const MAX_ROUNDS = 3;

/** An answered call: audio, re-INVITE, BYE. */
export class Session {
  readonly dialog: Dialog;
  readonly #agent: UserAgent;
  readonly #audio: AudioNegotiation;
  readonly #rtp: RtpSession;
  readonly #hungUp = new AbortController();
  /** Our re-INVITE has no final response yet. */
  #pending = false;

  constructor(agent: UserAgent, dialog: Dialog, audio: AudioNegotiation, rtp: RtpSession) {
    this.dialog = dialog;
    this.#agent = agent;
    this.#audio = audio;
    this.#rtp = rtp;
  }

  /** Sends the files, a re-INVITE before each further one. Resolves with false where the peer hung up before the end. */
  async talk(files: readonly Uint8Array[], signal: AbortSignal): Promise<boolean> {
    const stop = AbortSignal.any([signal, this.#agent.down, this.#hungUp.signal]);
    try {
      for (const [i, file] of files.entries()) {
        if (i > 0) await this.#reInvite(stop);
        await this.#rtp.play(file, stop);
      }
      return true;
    } catch (error) {
      if (this.#hungUp.signal.aborted && !signal.aborted) return false;
      throw error;
    }
  }

  /** BYE. Resolves with its final response; undefined where the dialog has ended already. */
  async hangUp(signal: AbortSignal): Promise<SipMessage | undefined> {
    if (this.dialog.over) return undefined;
    this.dialog.over = true;
    return this.#agent.request(() => this.dialog.request('BYE'), signal, this.dialog.nextHop);
  }

  /** The peer's BYE. */
  ended(): void {
    this.dialog.over = true;
    this.#hungUp.abort(new ProbeFault('hung up by the peer'));
  }

  /** The answer to a re-INVITE of the peer; undefined while our own is under way (RFC 3261 §14.2), or where it fits not. */
  offered(request: SipMessage): string | undefined {
    return this.#pending ? undefined : this.#audio.answer(request);
  }

  /** The same audio, offered anew (RFC 3261 §14.1). Rejects where it is refused. */
  async #reInvite(signal: AbortSignal): Promise<void> {
    for (let round = 1; ; round++) {
      const invite = this.dialog.request('INVITE');
      invite.set('Content-Type', ['application/sdp']);
      invite.body = this.#audio.offer();
      this.#agent.stamp(invite);
      const response = await this.#offer(invite, signal);
      if (response.status < 300) return this.#accept(response);
      const last = round === MAX_ROUNDS;
      if (response.status === 491 && !last) await glareEnds(signal);
      else if (Authenticator.isChallenge(response) && !last) this.#agent.identity.authenticator.learn(response, invite);
      else throw new ProbeFault(`re-INVITE refused: ${statusOf(response)}`, { code: response.status });
    }
  }

  #offer(invite: SipMessage, signal: AbortSignal): Promise<SipMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<SipMessage>();
    const { dialog } = this;
    this.#pending = true;
    this.#agent.invite(
      invite,
      {
        provisional: () => {},
        success: (response) => {
          dialog.refresh(response);
          this.#agent.acknowledge(dialog, invite);
          resolve(response);
        },
        failure: resolve,
        fault: reject,
      },
      dialog.nextHop,
    );
    return abortable(promise, signal).finally(() => {
      this.#pending = false;
    });
  }

  #accept(response: SipMessage): void {
    const wrong = this.#audio.accept(response);
    if (wrong) throw new ProbeFault(`re-INVITE answered with ${wrong}`, { code: response.status });
  }
}

/** RFC 3261 §14.1: who made the Call-ID tries again after 2.1 to 4 s, in steps of 10 ms. */
async function glareEnds(signal: AbortSignal): Promise<void> {
  await sleep(randomInt(210, 401) * 10, undefined, { signal }).catch(() => signal.throwIfAborted());
}
