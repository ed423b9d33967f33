import { type Excluded, NONE } from '../balancer/pool.ts';
import type { Endpoint } from '../ports.ts';
import { METHOD } from '../sip/method.ts';
import { type Context, HOP } from './context.ts';
import { MAX_ATTEMPTS } from './exchange.ts';
import { forwardToBackend } from './forward.ts';
import { reasonOf } from './hop.ts';
import { reply } from './reply.ts';
import { readTarget } from './route.ts';
import type { Listener } from './runtime.ts';
import { choose } from './target.ts';

/** Those that the request at hand was sent to. */
const asked = {
  backends: new Int32Array(MAX_ATTEMPTS),
  count: 0,
  tried(backend: number): boolean {
    for (let i = 0; i < this.count; i++) if (this.backends[i] === backend) return true;
    return false;
  },
} satisfies Excluded & { backends: Int32Array; count: number };

/**
 * Without a token of ours: CANCEL, or ACK, which then is that of a failure. A farm without transactions has sent the INVITE to one candidate only, and
 * leaves the answer to it.
 */
export const endsInvite = ({ message, exchanges }: Context, incoming: Listener): boolean =>
  (message.method === METHOD.CANCEL || message.method === METHOD.ACK) &&
  exchanges !== undefined &&
  incoming.farm.plan.stateful;

/**
 * CANCEL or ACK of an INVITE that was sent on by another agent, or by this one before it was restarted: it may be with any of the candidates that a
 * request is tried at, under a branch that is the same wherever it is made. So all of them get it. Who does not know it ignores an ACK, and
 * answers a CANCEL of ours with a 481 that goes no further (response.ts). False: there is nobody to send it to.
 */
export function sendToCandidates(ctx: Context, from: Endpoint, incoming: Listener, source: number): boolean {
  const { message, edits, counters } = ctx;
  const { farm } = incoming;
  asked.count = 0;
  if (message.method === METHOD.CANCEL) {
    ctx.hop = HOP.cancel;
    ctx.reason = reasonOf(message);
  }
  try {
    while (asked.count < MAX_ATTEMPTS) {
      const backend = choose(ctx, from, incoming, source, asked);
      if (backend === NONE) break;
      asked.backends[asked.count++] = backend;
      edits.reset();
      readTarget(ctx, farm, edits);
      forwardToBackend(ctx, from, incoming, backend, source, true);
      counters.requestTo(farm.backends[backend]!.global, message.method);
    }
  } finally {
    ctx.hop = HOP.request;
  }
  if (asked.count === 0) return false;
  if (message.method === METHOD.CANCEL) reply(ctx, from, incoming, 200);
  return true;
}
