import { answerChallenge, type DigestChallenge, formatCredentials, parseChallenges } from '../../sip/digest.ts';
import type { SipMessage } from '../../sip/text-message.ts';
import { randomHex } from '../identifiers.ts';
import { ProbeFault } from './fault.ts';

/** RFC 3261 §22: who asks with what, and where the answer stands. */
const FIELDS = {
  401: { ask: 'www-authenticate', answer: 'Authorization' },
  407: { ask: 'proxy-authenticate', answer: 'Proxy-Authorization' },
} as const;
type Field = (typeof FIELDS)[keyof typeof FIELDS];

interface Known {
  challenge: DigestChallenge;
  field: Field;
  /** Uses of the nonce so far. */
  count: number;
}

/** A realm that takes a nonce for old again and again is not going to be satisfied. */
const MAX_STALE = 2;

/** Answers the challenges of one probe: those of several realms side by side, none of them twice. */
export class Authenticator {
  readonly #credentials: { username: string; password: string } | undefined;
  readonly #known = new Map<string, Known>();
  #stale = 0;

  constructor(credentials: { username: string; password: string } | undefined) {
    this.#credentials = credentials;
  }

  static isChallenge = (response: SipMessage): boolean => response.status === 401 || response.status === 407;

  /** Puts the credentials for everything learnt so far into a request. */
  apply(request: SipMessage): void {
    if (!this.#credentials || request.method === 'ACK' || request.method === 'CANCEL') return;
    const values = new Map<Field, string[]>();
    for (const known of this.#known.values()) {
      const about = { method: request.method, uri: request.uri };
      const client = { cnonce: randomHex(8), nc: ++known.count };
      const answer = answerChallenge(known.challenge, this.#credentials, about, client);
      if (answer) values.set(known.field, [...(values.get(known.field) ?? []), formatCredentials(answer)]);
    }
    for (const [field, list] of values) request.set(field.answer, list);
  }

  /**
   * Learns from a 401 or 407 to `request`. Returns if the request is worth another try with new credentials.
   * @throws {ProbeFault} where it is not: no credentials, wrong ones, or nothing in it that is spoken here.
   */
  learn(response: SipMessage, request: SipMessage): void {
    const { status, method } = response;
    const fault = (why: string): ProbeFault => new ProbeFault(`${status} to ${method}: ${why}`, { code: status });
    const field = FIELDS[status as keyof typeof FIELDS];
    const challenges = parseChallenges(response.all(field.ask));
    if (!this.#credentials) throw fault('a user name and a password are asked for');
    const usable = firstOfEachRealm(challenges);
    if (usable.length === 0) throw fault('no challenge in it that can be answered (Digest with qop auth)');
    for (const challenge of usable) {
      const key = `${field.answer} ${challenge.realm}`;
      const before = this.#known.get(key);
      // Credentials for this realm were in the request and did not do (RFC 7616 §3.3, stale).
      const tried = before !== undefined && request.get(field.answer.toLowerCase()) !== undefined;
      if (tried && (!challenge.stale || ++this.#stale > MAX_STALE))
        throw fault(`password of ${this.#credentials.username} refused (realm ${challenge.realm})`);
      this.#known.set(key, { challenge, field, count: 0 });
    }
  }
}

/** RFC 8760 §2.3, §2.4: the topmost challenge of a realm that is understood is the server's preference. */
function firstOfEachRealm(challenges: readonly DigestChallenge[]): DigestChallenge[] {
  const usable = challenges.filter(({ qop }) => qop.length === 0 || qop.includes('auth'));
  return usable.filter(({ realm }, i) => usable.findIndex((other) => other.realm === realm) === i);
}
