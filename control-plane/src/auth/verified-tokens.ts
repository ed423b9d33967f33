/** More than the agents of a large fleet; beyond it the oldest go first. */
const MAX_KEPT = 20_000;

interface Verified {
  readonly agentId: string;
  /** The key that it was verified with. */
  readonly publicKey: string;
  /** Seconds since the epoch. */
  readonly expiresAt: number;
}

/**
 * JWTs whose signature was found to be right. An agent uses one for some minutes, and a signature is most of what a report costs. Whether its agent
 * is still there, and still has this key, is asked of the store each time.
 */
export class VerifiedTokens {
  readonly #kept = new Map<string, Verified>();

  get(jwt: string): Verified | undefined {
    return this.#kept.get(jwt);
  }

  add(jwt: string, verified: Verified): void {
    if (this.#kept.size >= MAX_KEPT) this.#kept.delete(this.#kept.keys().next().value as string);
    this.#kept.set(jwt, verified);
  }
}
