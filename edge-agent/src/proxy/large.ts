import { type Context, HOP } from './context.ts';
import type { Backend, FarmRuntime } from './runtime.ts';

/**
 * Requests that are too large for a datagram (RFC 3261 §18.1.1): fragments get lost in firewalls and NATs, so they go over TCP where the backend
 * has `tcpAbove`. Our Via and Record-Route then say so.
 */

/** Max-Forwards, and `received` and `rport` of the Via below ours, which are written last. */
const STILL_TO_COME = 80;
/** After TCP was refused, this long nobody asks for it again. */
const REFUSAL_SECONDS = 60;

/**
 * Whether the request at hand goes to `backend` over TCP. `own`: length of what stands on top of it by now. A function of the request, its start and the
 * last refusal, so that an INVITE's CANCEL, ACK and retransmissions take its way.
 */
export function goesByTcp(ctx: Context, farm: FarmRuntime, backend: Backend, own: number): boolean {
  const { message, edits } = ctx;
  if (message.end - message.start + edits.growth + own + STILL_TO_COME <= backend.plan.tcpAbove) return false;
  const byTcp = backend.tcpRefusedAt <= ctx.startSecond - REFUSAL_SECONDS;
  // Counters are numbered by the running plan; an exchange may have begun under the one before.
  if (ctx.hop === HOP.request && ctx.runtime === farm.runtime) ctx.counters.largeRequest(backend.global, byTcp);
  return byTcp;
}
