import { NONE } from '../balancer/pool.ts';
import { TRANSPORT } from '../ports.ts';
import { DEFAULT_BASE } from '../transaction/timers.ts';
import { countRequest, endAttempt, finish, repeat, sendAgain, startAttempt, UDP } from './attempt.ts';
import { forClient, passToClient, toClient } from './back.ts';
import { type Context, HOP } from './context.ts';
import { type Attempt, type Exchange, MAX_ATTEMPTS, TIMER } from './exchange.ts';
import { forwardToBackend } from './forward.ts';
import { failedOver, responsePassed } from './observe.ts';
import { EXTRA, reply } from './reply.ts';
import { choose, elsewhere, reload } from './target.ts';

/** What a proxy does when an attempt fails: the next one, or the best of the failures to the client. */

/**
 * How little a failure is worth to the client (RFC 3261 §16.7 item 6): a 6xx is final for all, else the lowest class, and in it those that tell
 * the client how to ask again.
 */
function rank(status: number): number {
  if (status >= 600) return 0;
  const tells = status === 401 || status === 407 || status === 415 || status === 420 || status === 484;
  return Math.floor(status / 100) * 10 + (tells ? 0 : 1);
}

/** Not found, temporarily unavailable: what a registrar says of a user who is not registered there. */
const isMisplaced = (status: number): boolean => status === 404 || status === 480;

/** The callee may be registered elsewhere. */
const lags = (ctx: Context, { listener, method }: Exchange): boolean =>
  listener.farm.lag.holds(method, ctx.output.seconds());

/** A failure response of an attempt, in ctx.message. */
export function onFailure(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  if (exchange.finalStatus > 0) return;
  const { status } = ctx.message;
  // What our own CANCEL brought about is no answer.
  if (attempt.cancels > 0 && attempt.abandoned && status === 487) return;
  // RFC 4320 §4.1: no element sends a 408 for a non-INVITE request.
  if (!exchange.invite && status === 408) return finish(ctx, exchange, status);
  const everywhere = status >= 600;
  const listed = exchange.listener.farm.plan.failover.codes.includes(status);
  // What a phone itself says after it rang stands.
  const misplaced = !listed && isMisplaced(status) && !attempt.ringing && lags(ctx, exchange);
  const again = (listed || misplaced) && !exchange.cancelled && exchange.fresh && exchange.count < MAX_ATTEMPTS;
  if (!everywhere && (attempt.abandoned || again)) keepIfBest(ctx, exchange, status);
  if (attempt.abandoned && !everywhere) return;
  if (again && tryNext(ctx, exchange, misplaced)) return;
  if (betterKept(exchange, status)) return concludeWithKept(ctx, exchange);
  // Trying the next one took the message's place only where there was one.
  passToClient(ctx, exchange);
  // After a 6xx nobody else is to ring, and who answers all the same is released (RFC 3261 §16.7 item 5).
  if (everywhere) exchange.current.abandoned = true;
  failed(ctx, exchange, status);
}

/** Keeps the failure in ctx.message, as the client would get it, unless a better one is kept. */
function keepIfBest(ctx: Context, exchange: Exchange, status: number): void {
  if (exchange.bestStatus > 0 && rank(exchange.bestStatus) <= rank(status)) return;
  const { message } = ctx;
  const { bytes, start, end } = message;
  if (forClient(ctx, exchange)) exchange.keepBest(ctx.splice, status, ctx.answering);
  message.parse(bytes, start, end);
}

const betterKept = (exchange: Exchange, status: number): boolean =>
  exchange.bestStatus > 0 && rank(exchange.bestStatus) < rank(status);

function concludeWithKept(ctx: Context, exchange: Exchange): void {
  ctx.splice.reset();
  ctx.splice.add(exchange.best, 0, exchange.best.length);
  toClient(ctx, exchange);
  ctx.message.parse(exchange.best, 0, exchange.best.length);
  ctx.answering = exchange.bestKey;
  responsePassed(ctx, exchange);
  failed(ctx, exchange, exchange.bestStatus);
}

/** Nobody answers any more: the client gets the best that was kept, or else `status` as if it had come (RFC 3261 §16.7 item 6, §16.8, §16.9). */
export function conclude(ctx: Context, exchange: Exchange, status: 408 | 487 | 503): void {
  if (status !== 487 && betterKept(exchange, status)) return concludeWithKept(ctx, exchange);
  if (!reload(ctx, exchange)) return finish(ctx, exchange, 0);
  ctx.exchange = exchange;
  reply(ctx, exchange.from, exchange.listener, status, status === 503 ? EXTRA.retryAfter : EXTRA.none);
  failed(ctx, exchange, status);
}

/**
 * The client was told a final failure, which stands in ctx.splice: retransmitted and acknowledged, if an INVITE's (RFC 3261 §17.2.1). Whoever
 * has not answered is not waited for.
 */
function failed(ctx: Context, exchange: Exchange, status: number): void {
  const exchanges = ctx.exchanges!;
  const now = ctx.output.now();
  if (!exchange.invite) return finish(ctx, exchange, status);
  exchange.finalStatus = status;
  exchange.state = 'completed';
  exchange.keepResponse(ctx.splice);
  exchanges.stop(exchange, TIMER.patience);
  exchanges.start(exchange, TIMER.lifetime, now + UDP.H);
  exchange.interval = DEFAULT_BASE.T1;
  if (exchange.from.transport === TRANSPORT.udp && exchange.responseLength > 0)
    exchanges.start(exchange, TIMER.response, now + exchange.interval);
  for (let i = 0; i < exchange.count; i++) endAttempt(ctx, exchange, exchange.attempts[i]!);
}

/**
 * Gives the current attempt up for the next candidate. `misplaced`: only for one where the callee may be registered instead. False where there
 * is none: nothing has changed then.
 */
export function tryNext(ctx: Context, exchange: Exchange, misplaced = false): boolean {
  if (!exchange.fresh || exchange.count === MAX_ATTEMPTS) return false;
  const before = exchange.current;
  const { bytes, start, end } = ctx.message;
  if (!reload(ctx, exchange)) return false;
  const backend = misplaced
    ? elsewhere(ctx, exchange)
    : choose(ctx, exchange.from, exchange.listener, exchange.source, exchange);
  if (backend === NONE) {
    ctx.message.parse(bytes, start, end);
    return false;
  }
  before.abandoned = true;
  endAttempt(ctx, exchange, before);
  if (!reload(ctx, exchange)) return false;
  ctx.exchange = exchange;
  forwardToBackend(ctx, exchange.from, exchange.listener, backend, exchange.source, true);
  ctx.exchanges!.attempt(exchange, ctx.branch, backend);
  failedOver(exchange);
  if (ctx.runtime === exchange.listener.farm.runtime) {
    const { global } = exchange.listener.farm.backends[before.backend]!;
    if (misplaced) ctx.counters.sought(global);
    else ctx.counters.failover(global);
  }
  countRequest(ctx, exchange, backend);
  const now = ctx.output.now();
  ctx.exchanges!.start(exchange, TIMER.lifetime, now + UDP.B);
  startAttempt(ctx, exchange, now);
  return true;
}

/**
 * The current attempt's backend cannot be reached (`refused`), or the connection to it has ended, which says nothing yet: what was under way
 * on it goes out once more over a new one, since the PBX that this one belongs to may just have closed an idle connection. Then the next
 * backend, or 503 (RFC 3261 §16.9). A request within a dialog goes on being sent, over any transport: nobody else has its dialog, and its PBX
 * may be back in a second; so does a call that rings.
 */
export function attemptFailed(ctx: Context, exchange: Exchange, refused: boolean): void {
  ctx.tape.call = exchange.call;
  const { current } = exchange;
  if (!refused && !current.redialed) {
    current.redialed = true;
    return sendAgain(ctx, exchange, current, HOP.request);
  }
  if (tryNext(ctx, exchange) || current.state === 'proceeding') return;
  if (exchange.fresh) return conclude(ctx, exchange, 503);
  if (!current.repeats) repeat(ctx, exchange, current);
}
