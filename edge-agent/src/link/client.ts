import { createHash } from 'node:crypto';
import { type AgentReport, parseWith, Target } from '@sipfleet/contract';
import { AgentError } from '../errors.ts';
import { exchange, postJson } from './http.ts';

/** A snapshot as it came: its ETag is the SHA-256 of exactly these bytes. */
export interface FetchedSnapshot {
  etag: string;
  body: Buffer;
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
    return { etag, body: response.body };
  }

  /** Tells what runs, and learns what should. */
  async report(report: AgentReport): Promise<Target> {
    const options = { headers: await this.#authorization(), signal: this.#signal };
    return postJson(new URL('v1/agent/report', this.#base), report, (answer) => parseWith(Target, answer), options);
  }

  async #authorization(): Promise<Record<string, string>> {
    return { authorization: `Bearer ${await this.#token()}` };
  }
}
