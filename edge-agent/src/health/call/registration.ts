import { hostText, SipMessage } from '../../sip/text-message.ts';
import { newCallId, newTag } from '../identifiers.ts';
import type { UserAgent } from './agent.ts';
import { MAX_FORWARDS } from './dialog.ts';
import { ProbeFault } from './fault.ts';
import { hostPort, type Place } from './locate.ts';

/** One binding at a registrar (RFC 3261 §10), made and taken back. */
export class Registration {
  readonly #agent: UserAgent;
  readonly #domain: string;
  readonly #aor: string;
  readonly #callId = newCallId();
  readonly #tag = newTag();
  #sequence = 0;
  #expires: number;
  /** The registrar may hold our binding: it said so, or it never answered. */
  bound = false;

  /** `seconds`: how long a binding lives that nobody takes back, because the probe was killed. */
  constructor(agent: UserAgent, from: Place, seconds: number) {
    this.#agent = agent;
    this.#domain = from.port ? hostPort(from.host, from.port) : hostText(from.host);
    this.#aor = `<sip:${from.user}@${this.#domain}>`;
    this.#expires = seconds;
  }

  /** Resolves with the 2xx; rejects with a ProbeFault for everything else. */
  async register(signal: AbortSignal): Promise<SipMessage> {
    let response = await this.#send(this.#expires, signal);
    const least = Number(response.get('min-expires'));
    // §10.2.8; a registrar that wants more than a day is not humoured.
    if (response.status === 423 && least > this.#expires && least <= 86_400) {
      this.#expires = least;
      response = await this.#send(this.#expires, signal);
    }
    this.bound = response.status < 300;
    if (this.bound) return response;
    throw new ProbeFault(`REGISTER refused: ${statusOf(response)}`, { code: response.status });
  }

  /** Takes our binding back, and no other (§10.2.2). Resolves with the response. */
  async unregister(signal: AbortSignal): Promise<SipMessage> {
    const response = await this.#send(0, signal);
    if (response.status < 300) this.bound = false;
    return response;
  }

  async #send(expires: number, signal: AbortSignal): Promise<SipMessage> {
    if (expires > 0) this.bound = true;
    try {
      return await this.#agent.request(() => this.#build(expires), signal);
    } catch (error) {
      // A challenge that we cannot satisfy left nothing behind.
      if (error instanceof ProbeFault && error.code !== undefined) this.bound = false;
      throw error;
    }
  }

  #build(expires: number): SipMessage {
    return new SipMessage(`REGISTER sip:${this.#domain} SIP/2.0`, [
      ['Max-Forwards', MAX_FORWARDS],
      ['From', `${this.#aor};tag=${this.#tag}`],
      ['To', this.#aor],
      ['Call-ID', this.#callId],
      ['CSeq', `${++this.#sequence} REGISTER`],
      ['Contact', `${this.#agent.contact};expires=${expires}`],
      ['Expires', String(expires)],
    ]);
  }
}

/** `486 Busy Here` */
export const statusOf = (response: SipMessage): string =>
  response.start
    .replace(/^SIP\/2\.0 /, '')
    .trim()
    .slice(0, 120);
