import type { KeptMessage } from '../recorder/kept-call.ts';
import { partsOf, type SipParts } from './sip-parts.ts';

/** A request that was sent on to one target: a client transaction (RFC 3261 §17.1), named by its branch. */
export interface Attempt {
  request: SipParts;
  /** Responses that came, the CANCEL's among them, and what was sent again or beside it under the same branch. */
  beside: SipParts[];
}

/** A request that came in and what became of it: a server transaction (RFC 3261 §17.2) with its attempts. */
export interface KeptExchange {
  /** The request as it came in; where its record was overwritten, or it is the agent's own, as it was first sent. */
  request: SipParts;
  /** Attempt of the same call that this request came out of: a PBX passed it on through us. */
  cause: Attempt | undefined;
  attempts: Attempt[];
  /** Responses that were sent, and retransmissions, CANCEL and ACK that came. */
  beside: SipParts[];
}

/** Puts the messages of a call, in the order of time, together again. What belongs to nothing is left out. */
export function exchangesOf(messages: readonly KeptMessage[]): KeptExchange[] {
  const call = new Assembly();
  for (const message of messages) {
    const parts = partsOf(message);
    if (parts) call.add(parts);
  }
  return call.exchanges;
}

class Assembly {
  readonly exchanges: KeptExchange[] = [];
  readonly #attempts = new Map<string, Attempt>();

  add(parts: SipParts): void {
    const { message, status } = parts;
    if (status > 0) return message.sent ? this.#answered(parts) : void this.#attemptOf(parts)?.beside.push(parts);
    if (message.sent) this.#sent(parts);
    else this.#received(parts);
  }

  #received(parts: SipParts): void {
    const known = this.exchanges.find((x) => isSame(x.request, parts)) ?? this.#acknowledged(parts);
    if (known) known.beside.push(parts);
    else if (parts.method !== 'ACK' && parts.method !== 'CANCEL') this.#begin(parts);
  }

  /** The ACK of a 2xx is a transaction of its own, known by its CSeq (RFC 3261 §13.2.2.4). */
  #acknowledged({ method, cseq }: SipParts): KeptExchange | undefined {
    if (method !== 'ACK') return undefined;
    return this.exchanges.findLast(({ request }) => request.method === 'INVITE' && request.cseq === cseq);
  }

  #begin(request: SipParts): KeptExchange {
    const cause = request.branches.slice(1).flatMap((branch) => this.#attempts.get(branch) ?? [])[0];
    const exchange = { request, cause, attempts: [], beside: [] };
    this.exchanges.push(exchange);
    return exchange;
  }

  #sent(parts: SipParts): void {
    const known = this.#attemptOf(parts);
    if (known) known.beside.push(parts);
    if (known || parts.method === 'ACK' || parts.method === 'CANCEL') return;
    const [branch, received] = parts.branches as [string, string | undefined];
    const exchange = this.exchanges.findLast(
      ({ request }) => request.branches[0] === received && request.method === parts.method,
    );
    const attempt = { request: parts, beside: [] };
    this.#attempts.set(branch, attempt);
    (exchange ?? this.#begin(parts)).attempts.push(attempt);
  }

  #answered(parts: SipParts): void {
    this.exchanges.findLast(({ request }) => isSame(request, parts))?.beside.push(parts);
  }

  #attemptOf({ branches: [branch = ''] }: SipParts): Attempt | undefined {
    return this.#attempts.get(branch);
  }
}

/** RFC 3261 §17.2.3: same branch and sent-by, and a CANCEL or ACK belongs to its INVITE. */
const isSame = (request: SipParts, other: SipParts): boolean =>
  request.branches[0] === other.branches[0] &&
  request.sentBy === other.sentBy &&
  request.cseq === other.cseq &&
  (request.method === other.method || other.method === 'CANCEL' || other.method === 'ACK');
