import { createHash } from 'node:crypto';
import {
  type AgentKey,
  type AgentKeys,
  type AgentReport,
  CheckSchedule,
  KeyChain,
  parseWith,
  type RunCheckResult,
  SIGNATURE_HEADER,
  Target,
} from '@sipfleet/contract';
import { AgentError } from '../errors.ts';
import type { Asked, SocketAnswer } from './exchanges.ts';
import { type Answer, exchange, problemOf, Refusal, readJson } from './http.ts';
import type { SealedSecrets } from './secret-keeper.ts';
import type { ServerClock } from './server-clock.ts';

/** A snapshot as it came: its ETag is the SHA-256 of exactly these bytes. */
export interface FetchedSnapshot {
  etag: string;
  body: Buffer;
  /** Of the contract's signature header; null where there is none. */
  signature: string | null;
}

/** A check schedule as it came. */
export interface FetchedSchedule {
  etag: string;
  schedule: CheckSchedule;
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A base URL under which the API stands; a path in it (a stage of an API gateway) is kept. */
export function baseUrl(text: string): URL {
  return new URL(text.endsWith('/') ? text : `${text}/`);
}

const JSON_BODY = { 'content-type': 'application/json' };

/** The other way, where the control plane offers it. Undefined: not over this one, or not answered. */
export type AskOverSocket = (asked: Asked) => Promise<SocketAnswer | undefined>;

/**
 * The control plane's API, as far as an agent uses it. Reports and snapshots go over the push socket where they can: a fleet that is hinted to at once opens no
 * connection more. All else, and whatever is not answered there, goes by HTTP. Every method throws AgentError LINK.
 */
export class ControlPlaneClient {
  readonly #base: URL;
  readonly #token: () => Promise<string>;
  readonly #clock: Pick<ServerClock, 'observe'>;
  readonly #signal: AbortSignal;
  readonly #askOverSocket: AskOverSocket;

  constructor(
    base: URL,
    token: () => Promise<string>,
    clock: Pick<ServerClock, 'observe'>,
    signal: AbortSignal,
    askOverSocket: AskOverSocket = async () => undefined,
  ) {
    this.#base = base;
    this.#token = token;
    this.#clock = clock;
    this.#signal = signal;
    this.#askOverSocket = askOverSocket;
  }

  /** What this agent should run; undefined if that is what `running` names. */
  async snapshot(running: string | undefined): Promise<FetchedSnapshot | undefined> {
    const said = await this.#overSocket({ type: 'snapshot', running: running ?? null }, [200, 304]);
    const { status, etag, body, signature } = said
      ? { ...said.head, body: Buffer.from(said.body) }
      : await this.#snapshotByHttp(running);
    if (status === 304) return undefined;
    const found = sha256(body);
    if (etag !== found)
      throw new AgentError(
        'LINK',
        `GET ${this.#url('snapshot').href}: the body's SHA-256 is ${found}, its ETag ${etag}`,
      );
    return { etag, body, signature: signature ?? null };
  }

  async #snapshotByHttp(running: string | undefined) {
    const sent = running === undefined ? {} : { 'if-none-match': `"${running}"` };
    const { status, headers, body } = await this.#exchange('snapshot', { headers: sent }, [200, 304]);
    const etag = /^(?:W\/)?"([0-9a-f]{64})"$/.exec(headers.get('etag') ?? '')?.[1];
    return { status, etag, body, signature: headers.get(SIGNATURE_HEADER) };
  }

  /** The Secrets of this agent's site, sealed to it. A Refusal of 409: it has no key to seal to there. */
  async secrets(): Promise<SealedSecrets> {
    const { body, headers } = await this.#exchange('secrets', {}, [200]);
    return { bundle: body.toString('utf8'), signature: headers.get(SIGNATURE_HEADER) };
  }

  /** Has Secrets sealed to this key from now on: the `x` of its X25519 JWK. */
  async registerSealKey(x: string): Promise<void> {
    const keys: AgentKeys = { sealKey: { kty: 'OKP', crv: 'X25519', x } };
    await this.#exchange('keys', { method: 'PUT', body: JSON.stringify(keys), headers: JSON_BODY }, [204]);
  }

  /** Has this agent's requests verified with another key from now on. */
  async registerKey(key: AgentKey): Promise<void> {
    await this.#exchange('key', { method: 'PUT', body: JSON.stringify(key), headers: JSON_BODY }, [204]);
  }

  /** Every key that the control plane ever signed with. */
  async signingKeys(): Promise<KeyChain> {
    const answer = await this.#exchange('keys', {}, [200]);
    return readJson(`GET ${this.#url('keys').href}`, answer, (json) => parseWith(KeyChain, json));
  }

  /** Tells what runs, and learns what should. */
  async report(report: AgentReport): Promise<Target> {
    const said = await this.#overSocket({ type: 'report', report }, [200]);
    const init = { method: 'POST', body: JSON.stringify(report), headers: JSON_BODY };
    const answer = said ? { body: Buffer.from(said.body) } : await this.#exchange('report', init, [200]);
    return readJson(`POST ${this.#url('report').href}`, answer, (json) => parseWith(Target, json));
  }

  /** The check schedule of this agent; undefined if that is what `known` names. */
  async schedule(known: string | undefined): Promise<FetchedSchedule | undefined> {
    const headers = known === undefined ? {} : { 'if-none-match': `"${known}"` };
    const response = await this.#exchange('schedule', { headers }, [200, 304]);
    if (response.status === 304) return undefined;
    const etag = /^(?:W\/)?"([0-9a-f]{64})"$/.exec(response.headers.get('etag') ?? '')?.[1] ?? '';
    const read = (json: unknown) => parseWith(CheckSchedule, json);
    return { etag, schedule: readJson(`GET ${this.#url('schedule').href}`, response, read) };
  }

  /** Hands in what a check found that an operator waits for. */
  async checkResult(result: RunCheckResult): Promise<void> {
    const init = { method: 'POST', body: JSON.stringify(result), headers: JSON_BODY };
    await this.#exchange('check-results', init, [204]);
  }

  /** Undefined: to be asked by HTTP, which says no more clearly. Throws where the control plane has too much to do: another way would be more of it. */
  async #overSocket(asked: Asked, expected: readonly number[]): Promise<SocketAnswer | undefined> {
    const said = await this.#askOverSocket(asked);
    if (said === undefined || expected.includes(said.head.status)) return said;
    const { status } = said.head;
    if (status !== 429 && status < 500) return undefined;
    throw new AgentError('LINK', `${asked.type} over the push socket: ${status} ${problemOf(Buffer.from(said.body))}`);
  }

  #url(path: string): URL {
    return new URL(`v1/agent/${path}`, this.#base);
  }

  /** Once more where a token was refused and the answer shows that the clocks differ: signed by the clock of the control plane. */
  async #exchange(path: string, init: RequestInit, expected: readonly number[]): Promise<Answer> {
    const ask = async (): Promise<Answer> => {
      const headers = { authorization: `Bearer ${await this.#token()}` };
      return exchange(this.#url(path), init, expected, { headers, signal: this.#signal });
    };
    try {
      const answer = await ask();
      this.#clock.observe(answer.headers.get('date'));
      return answer;
    } catch (error) {
      const { cause } = error as Error;
      if (!(cause instanceof Refusal) || !this.#clock.observe(cause.date) || cause.status !== 401) throw error;
      return ask();
    }
  }
}
