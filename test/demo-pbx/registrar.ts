import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import {
  type DigestAlgorithm,
  type DigestCredentials,
  formatChallenge,
  parseCredentials,
  secretOf,
  verifyCredentials,
} from '../../edge-agent/src/sip/digest.ts';
import { parameter, type SipMessage, uriOf } from '../../edge-agent/src/sip/text-message.ts';
import { REALM } from './users.ts';

/** Seconds. Short, so that a phone finds its way again soon after a PBX went away. */
const EXPIRES = { min: 10, max: 120 } as const;
const NONCE_LIFE_MS = 60_000;
/** What is offered and accepted. RFC 8760 §2.3: the preferred algorithm on top. */
export const ALGORITHMS = ['SHA-256', 'MD5'] as const satisfies DigestAlgorithm[];
export type Algorithm = (typeof ALGORITHMS)[number];

export interface RegistrarOptions {
  passwordOf(user: string): string | undefined;
  algorithms?: readonly Algorithm[];
  now?: () => number;
}

const MAX_CONTACTS = 8;

export interface Binding {
  /** The Contact's URI: the Request-URI of what is sent there. */
  uri: string;
  /** Route set towards it (RFC 3327 §5.3), topmost first. */
  path: string[];
  callId: string;
  cseq: number;
  expiresAt: number;
  updatedAt: number;
}

/** RFC 3261 §10.3 with digest authentication and Path; bindings are kept in memory. */
export class Registrar {
  readonly #passwordOf: (user: string) => string | undefined;
  readonly #algorithms: readonly Algorithm[];
  readonly #now: () => number;
  readonly #key = randomBytes(16);
  readonly #bindings = new Map<string, Binding[]>();

  constructor({ passwordOf, algorithms = ALGORITHMS, now = Date.now }: RegistrarOptions) {
    this.#passwordOf = passwordOf;
    this.#algorithms = algorithms;
    this.#now = now;
  }

  knows(user: string): boolean {
    return this.#passwordOf(user) !== undefined;
  }

  /** Live bindings, the one that registered last first. */
  bindings(user: string): Binding[] {
    const live = (this.#bindings.get(user) ?? []).filter((b) => b.expiresAt > this.#now());
    this.#bindings.set(user, live);
    return live.toSorted((a, b) => b.updatedAt - a.updatedAt);
  }

  register(request: SipMessage): SipMessage {
    const user = uriOf(request.get('to') ?? '')?.user ?? '';
    const refusal = this.#authenticate(request, user);
    if (refusal) return refusal;
    const contacts = request.list('contact');
    const expires = contacts.map((c) => expiresOf(c, request));
    if (expires.some((e) => e > 0 && e < EXPIRES.min)) {
      const brief = request.reply(423, 'Interval Too Brief');
      brief.set('Min-Expires', [String(EXPIRES.min)]);
      return brief;
    }
    if (contacts.includes('*')) {
      if (contacts.length > 1 || request.get('expires') !== '0') return request.reply(400, 'Bad Contact');
      this.#bindings.delete(user);
    } else {
      const error = this.#bind(request, user, contacts, expires);
      if (error) return error;
    }
    return this.#accepted(request, user);
  }

  #bind(request: SipMessage, user: string, contacts: string[], expires: number[]): SipMessage | undefined {
    const callId = request.get('call-id') ?? '';
    let bindings = this.bindings(user);
    for (const [i, contact] of contacts.entries()) {
      const uri = uriOf(contact)?.text;
      if (uri === undefined) return request.reply(400, 'Bad Contact');
      const old = bindings.find((b) => b.uri === uri);
      // RFC 3261 §10.3 step 7: an older REGISTER that comes late changes nothing.
      if (old && old.callId === callId && old.cseq > request.cseq) return request.reply(500, 'CSeq Out Of Order');
      bindings = bindings.filter((b) => b !== old);
      const seconds = Math.min(expires[i]!, EXPIRES.max);
      const [expiresAt, updatedAt] = [this.#now() + seconds * 1000, this.#now()];
      if (seconds > 0)
        bindings.push({ uri, path: request.list('path'), callId, cseq: request.cseq, expiresAt, updatedAt });
    }
    if (bindings.length > MAX_CONTACTS) return request.reply(503, 'Too Many Contacts');
    this.#bindings.set(user, bindings);
    return undefined;
  }

  #accepted(request: SipMessage, user: string): SipMessage {
    const ok = request.reply(200, 'OK', randomBytes(6).toString('hex'));
    const seconds = (b: Binding) => Math.ceil((b.expiresAt - this.#now()) / 1000);
    ok.set(
      'Contact',
      this.bindings(user).map((b) => `<${b.uri}>;expires=${seconds(b)}`),
    );
    // RFC 3327 §5.3: the phone learns by which way it will be reached.
    ok.set('Path', request.list('path'));
    ok.set('Date', [new Date(this.#now()).toUTCString()]);
    return ok;
  }

  /** Undefined where the request proves who it is; else the response that refuses it. */
  #authenticate(request: SipMessage, user: string): SipMessage | undefined {
    const credentials = request
      .all('authorization')
      .map(parseCredentials)
      .find((c) => c?.realm === REALM);
    if (!credentials) return this.#challenge(request, false);
    const good = credentials.username === user && this.#proves(credentials, request.method);
    const nonce = this.#nonceState(credentials.nonce);
    if (nonce === 'foreign' || nonce === 'old') return this.#challenge(request, good && nonce === 'old');
    return good ? undefined : request.reply(403, 'Forbidden');
  }

  #proves(credentials: DigestCredentials, method: string): boolean {
    const { algorithm, username, realm } = credentials;
    const password = this.#passwordOf(username);
    // A response without qop (RFC 2069) can be replayed to any server: not accepted where qop was offered.
    if (password === undefined || credentials.qop === undefined || !this.#algorithms.some((a) => a === algorithm))
      return false;
    return verifyCredentials(credentials, secretOf(algorithm, username, realm, password), method);
  }

  #challenge(request: SipMessage, stale: boolean): SipMessage {
    const response = request.reply(401, 'Unauthorized', randomBytes(6).toString('hex'));
    const nonce = this.#nonce(this.#now());
    const challenges = this.#algorithms.map((algorithm) => ({ realm: REALM, nonce, algorithm, qop: ['auth'], stale }));
    response.set('WWW-Authenticate', challenges.map(formatChallenge));
    return response;
  }

  /** The time it was made and a MAC over it: nothing to remember until it comes back. */
  #nonce(time: number): string {
    const stamp = time.toString(16);
    return `${stamp}.${createHmac('sha256', this.#key).update(stamp).digest('hex').slice(0, 32)}`;
  }

  #nonceState(nonce: string): 'good' | 'old' | 'foreign' {
    const time = Number.parseInt(nonce.split('.')[0] ?? '', 16);
    const expected = Buffer.from(this.#nonce(Number.isSafeInteger(time) ? time : 0));
    const given = Buffer.from(nonce);
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return 'foreign';
    return this.#now() - time > NONCE_LIFE_MS ? 'old' : 'good';
  }
}

function expiresOf(contact: string, request: SipMessage): number {
  const text = parameter(contact, 'expires') ?? request.get('expires') ?? String(EXPIRES.max);
  return /^\d{1,10}$/.test(text) ? Number(text) : EXPIRES.max;
}
