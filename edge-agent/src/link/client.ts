import { createHash } from 'node:crypto';
import {
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
import { exchange, getJson, postJson, type RequestOptions } from './http.ts';
import type { SealedSecrets } from './secret-keeper.ts';

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

/** The control plane's HTTP API, as far as an agent uses it. Every method throws AgentError LINK. */
export class ControlPlaneClient {
  readonly #base: URL;
  readonly #token: () => Promise<string>;
  readonly #signal: AbortSignal;

  constructor(base: URL, token: () => Promise<string>, signal: AbortSignal) {
    this.#base = base;
    this.#token = token;
    this.#signal = signal;
  }

  /** What this agent should run; undefined if that is what `running` names. */
  async snapshot(running: string | undefined): Promise<FetchedSnapshot | undefined> {
    const headers = {
      ...(await this.#authorization()),
      ...(running === undefined ? {} : { 'if-none-match': `"${running}"` }),
    };
    const url = new URL('v1/agent/snapshot', this.#base);
    const response = await exchange(url, {}, [200, 304], { headers, signal: this.#signal });
    if (response.status === 304) return undefined;
    const etag = /^(?:W\/)?"([0-9a-f]{64})"$/.exec(response.headers.get('etag') ?? '')?.[1];
    const found = sha256(response.body);
    if (etag !== found)
      throw new AgentError(
        'LINK',
        `GET ${url.href}: the body's SHA-256 is ${found}, its ETag ${response.headers.get('etag')}`,
      );
    return { etag, body: response.body, signature: response.headers.get(SIGNATURE_HEADER) };
  }

  /** The Secrets of this agent's site, sealed to it. A Refusal of 409: it has no key to seal to there. */
  async secrets(): Promise<SealedSecrets> {
    const url = new URL('v1/agent/secrets', this.#base);
    const { body, headers } = await exchange(url, {}, [200], await this.#options());
    return { bundle: body.toString('utf8'), signature: headers.get(SIGNATURE_HEADER) };
  }

  /** Has Secrets sealed to this key from now on: the `x` of its X25519 JWK. */
  async registerSealKey(x: string): Promise<void> {
    const keys: AgentKeys = { sealKey: { kty: 'OKP', crv: 'X25519', x } };
    const init = { method: 'PUT', body: JSON.stringify(keys), headers: { 'content-type': 'application/json' } };
    await exchange(new URL('v1/agent/keys', this.#base), init, [204], await this.#options());
  }

  /** Every key that the control plane ever signed with. */
  async signingKeys(): Promise<KeyChain> {
    const url = new URL('v1/agent/keys', this.#base);
    return getJson(url, (answer) => parseWith(KeyChain, answer), await this.#options());
  }

  /** Tells what runs, and learns what should. */
  async report(report: AgentReport): Promise<Target> {
    const url = new URL('v1/agent/report', this.#base);
    return postJson(url, report, (answer) => parseWith(Target, answer), await this.#options());
  }

  /** The check schedule of this agent; undefined if that is what `known` names. */
  async schedule(known: string | undefined): Promise<FetchedSchedule | undefined> {
    const url = new URL('v1/agent/schedule', this.#base);
    const { signal, headers } = await this.#options();
    const conditional = { ...headers, ...(known === undefined ? {} : { 'if-none-match': `"${known}"` }) };
    const response = await exchange(url, {}, [200, 304], { headers: conditional, signal });
    if (response.status === 304) return undefined;
    const etag = /^(?:W\/)?"([0-9a-f]{64})"$/.exec(response.headers.get('etag') ?? '')?.[1] ?? '';
    try {
      return { etag, schedule: parseWith(CheckSchedule, JSON.parse(response.body.toString('utf8'))) };
    } catch (cause) {
      throw new AgentError('LINK', `GET ${url.href}: the answer is not understood: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  /** Hands in what a check found that an operator waits for. */
  async checkResult(result: RunCheckResult): Promise<void> {
    const init = { method: 'POST', body: JSON.stringify(result), headers: { 'content-type': 'application/json' } };
    await exchange(new URL('v1/agent/check-results', this.#base), init, [204], await this.#options());
  }

  async #options(): Promise<RequestOptions> {
    return { headers: await this.#authorization(), signal: this.#signal };
  }

  async #authorization(): Promise<Record<string, string>> {
    return { authorization: `Bearer ${await this.#token()}` };
  }
}
