import { isIPv4, parseIP } from '@sipfleet/contract';

/** Requests a second, on average; what was left unused for ten seconds may come at once. Undefined: any number. */
export interface Rates {
  readonly agent: number | undefined;
  readonly operator: number | undefined;
  readonly address: number | undefined;
}

/** An agent reports once a minute, and once a second while things change; a pipeline of an operator writes hundreds of resources. */
export const DEFAULT_RATES: Rates = { agent: 10, operator: 100, address: 20 };

/** Who asks has asked too much. The message is fit to be sent. */
export class LimitError extends Error {
  readonly code = 'LIMIT';
  readonly status = 429;
  /** Seconds until the next request is let through. */
  readonly retryAfter: number;
  constructor(message: string, retryAfter: number) {
    super(`${message}: try again in ${retryAfter} s`);
    this.name = 'LimitError';
    this.retryAfter = retryAfter;
  }
}

/**
 * How much one may ask, counted in this process alone. Each throws {@link LimitError} where it is too much. Who proves who they are is counted by that, so that a
 * fleet behind one address hinders nobody; an address is counted where nobody proved anything.
 */
export interface Limits {
  agent(agentId: string): void;
  operator(name: string): void;
  /** Something without proof, or with a wrong one, came from there. Undefined: it is not known from where. */
  address(address: string | undefined): void;
}

export function createLimits(rates: Rates, now: () => number): Limits {
  const [agents, operators, addresses] = [rates.agent, rates.operator, rates.address].map((rate) =>
    rate === undefined ? undefined : new Meter(rate, now),
  );
  const limit = (meter: Meter | undefined, key: string, who: string): void => {
    const wait = meter?.take(key);
    if (wait !== undefined) throw new LimitError(`${who} asks more than ${meter?.perSecond}/s`, wait);
  };
  return {
    agent: (agentId) => limit(agents, agentId, `agent ${agentId}`),
    operator: (name) => limit(operators, name, name),
    address: (address) => limit(addresses, networkOf(address), 'whoever is behind your address'),
  };
}

/** IPv4 counts by address, IPv6 by /64: who has one address there has 2^64. */
function networkOf(address: string | undefined): string {
  const ip = parseIP(address ?? '');
  if (ip === undefined) return 'unknown';
  return isIPv4(ip) ? String(ip[3]) : `${ip[0]}:${ip[1]}`;
}

const BURST_SECONDS = 10;
/** More than a large fleet has agents; beyond it those go first that asked first, which forgives them. */
const MAX_KEYS = 50_000;

/** The generic cell rate algorithm (ITU-T I.371): one number for each who asks, the moment at which all that they asked is worked off. */
export class Meter {
  readonly perSecond: number;
  readonly #now: () => number;
  readonly #until = new Map<string, number>();

  constructor(perSecond: number, now: () => number) {
    this.perSecond = perSecond;
    this.#now = now;
  }

  /** Undefined: go ahead. Else the seconds until it may be tried again; what is refused does not count. */
  take(key: string): number | undefined {
    const now = this.#now();
    const burstMs = BURST_SECONDS * 1000;
    // A clock that was set back must not lock anybody out.
    const until = Math.min(Math.max(this.#until.get(key) ?? now, now), now + burstMs);
    const next = until + 1000 / this.perSecond;
    if (next - now > burstMs) return Math.max(1, Math.ceil((next - now - burstMs) / 1000));
    this.#until.delete(key);
    if (this.#until.size >= MAX_KEYS) this.#until.delete(this.#until.keys().next().value as string);
    this.#until.set(key, next);
    return undefined;
  }
}
