export interface JoinTokenResponse {
  token: string;
}
export interface EnrolResponse {
  agentId: string;
}

/** The operators' side of a control plane on this machine. */
export class Api {
  readonly port: number;
  readonly #token: string;

  constructor(port: number, token: string) {
    this.port = port;
    this.#token = token;
  }

  post<T>(path: string, body: object): Promise<T> {
    return this.#ask('POST', path, body, {});
  }

  /** Creates it, or replaces the revision that is given. */
  put<T>(path: string, body: object, revision?: number): Promise<T> {
    const condition: Record<string, string> =
      revision === undefined ? { 'if-none-match': '*' } : { 'if-match': `"${revision}"` };
    return this.#ask('PUT', path, body, condition);
  }

  async #ask<T>(method: string, path: string, body: object, headers: Record<string, string>): Promise<T> {
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }
}
