import { TRANSPORT } from '../ports.ts';
import { HEADER } from '../sip/header.ts';
import { DEFAULT_BASE, timerValues } from '../transaction/timers.ts';
import { type Context, HOP } from './context.ts';
import { type Attempt, type Exchange, TIMER } from './exchange.ts';
import { forwardToBackend } from './forward.ts';
import { ended } from './observe.ts';
import { reload } from './target.ts';
import { forwardToClient } from './to-client.ts';

/** One attempt of an exchange: what is sent on its way, and when again. */

/** Retransmission timers aside, a proxy waits as long on a stream as on UDP: its other side may be UDP. */
export const UDP = timerValues(DEFAULT_BASE, false);
/** Silence before a non-INVITE request is tried elsewhere: a registrar may ask a database. */
const NON_INVITE_PATIENCE_MS = 4000;
/** How often an attempt that got nothing but a 100 is asked whether its backend is still up. */
export const TRYING_CHECK_MS = 1000;

export function startAttempt(ctx: Context, exchange: Exchange, now: number): void {
  const exchanges = ctx.exchanges!;
  const { current } = exchange;
  current.interval = DEFAULT_BASE.T1;
  current.repeats = ctx.target.transport === TRANSPORT.udp;
  // Timer E also counts the time to the 100 of RFC 4320 §4.1, which is owed over any transport.
  if (current.repeats || !exchange.invite) exchanges.startAttempt(exchange, current, now);
  if (exchange.fresh && exchange.listener.farm.pool.size > 1)
    exchanges.start(exchange, TIMER.patience, now + patience(exchange));
}

export const patience = (exchange: Exchange): number =>
  exchange.invite
    ? exchange.listener.farm.plan.failover.timeoutMs
    : Math.max(NON_INVITE_PATIENCE_MS, exchange.listener.farm.plan.failover.timeoutMs);

/** From now on the request of an attempt is sent again and again, over whatever transport. */
export function repeat(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  attempt.repeats = true;
  attempt.interval = DEFAULT_BASE.T1;
  ctx.exchanges!.startAttempt(exchange, attempt, ctx.output.now());
}

/** Nobody waits for this attempt any more: it is not sent again, and is cancelled if something works on it, or as soon as something does (RFC 3261 §9.1). */
export function endAttempt(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  if (attempt.cancels > 0) return;
  if (exchange.invite && attempt.state === 'proceeding') cancelAttempt(ctx, exchange, attempt);
  else ctx.exchanges!.stopAttempt(exchange, attempt);
}

export function cancelAttempt(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  if (attempt.cancels > 0) return;
  attempt.cancels = 1;
  attempt.reason = exchange.reason;
  attempt.interval = DEFAULT_BASE.T1;
  sendAgain(ctx, exchange, attempt, HOP.cancel);
  // The CANCEL is a transaction of its own: retransmitted until it is answered, or its INVITE is.
  if (ctx.target.transport === TRANSPORT.udp) ctx.exchanges!.startAttempt(exchange, attempt, ctx.output.now());
  else ctx.exchanges!.stopAttempt(exchange, attempt);
}

/** Runs the kept request along an attempt's way again: the request itself (byte for byte the same), its CANCEL or its ACK. */
export function sendAgain(ctx: Context, exchange: Exchange, attempt: Attempt, hop: number): void {
  if (!reload(ctx, exchange)) return;
  ctx.exchange = exchange;
  ctx.hop = hop;
  ctx.reason = attempt.reason;
  try {
    if (attempt.backend >= 0)
      forwardToBackend(ctx, exchange.from, exchange.listener, attempt.backend, exchange.source, exchange.fresh);
    else forwardToClient(ctx, exchange.from, exchange.listener, exchange.source);
  } finally {
    ctx.hop = HOP.request;
  }
}

/** ACK of a failure, hop by hop (RFC 3261 §16.7 item 8 NOTE, §17.1.1.3). Keeps ctx.message: the response is not passed on yet. */
export function acknowledge(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  const { message } = ctx;
  const line = message.first[HEADER.to]!;
  ctx.ackTo = message.bytes.slice(message.lineStart[line]!, message.lineEnd[line]!);
  const { bytes, start } = message;
  const end = message.end;
  sendAgain(ctx, exchange, attempt, HOP.ack);
  ctx.message.parse(bytes, start, end);
}

/** Ends an exchange. `status`: the final one that went out, remembered for retransmissions; 0: none did. */
export function finish(ctx: Context, exchange: Exchange, status: number): void {
  ended(ctx, exchange, status);
  ctx.exchanges!.finish(exchange, status, ctx.output.now());
}

export function countRequest(ctx: Context, exchange: Exchange, backend: number): void {
  // Counters are numbered by the running plan; an exchange may have begun under the one before.
  if (backend >= 0 && ctx.runtime === exchange.listener.farm.runtime)
    ctx.counters.requestTo(exchange.listener.farm.backends[backend]!.global, exchange.method);
}
