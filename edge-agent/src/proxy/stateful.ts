import { type Endpoint, TRANSPORT } from '../ports.ts';
import { copyEndpoint } from '../sip/endpoint.ts';
import { inviteClient, nonInviteClient, responseInput, step } from '../transaction/machines.ts';
import { DEFAULT_BASE, nextInterval } from '../transaction/timers.ts';
import {
  acknowledge,
  cancelAttempt,
  countRequest,
  endAttempt,
  finish,
  patience,
  sendAgain,
  startAttempt,
  TRYING_CHECK_MS,
  UDP,
} from './attempt.ts';
import { passToClient, toClient } from './back.ts';
import { type Context, HOP } from './context.ts';
import { type Attempt, type Exchange, TIMER } from './exchange.ts';
import { conclude, onFailure, tryNext } from './failover.ts';
import { ELSEWHERE, reasonOf, releaseOf } from './hop.ts';
import { reply } from './reply.ts';
import { reload } from './target.ts';

/**
 * The response context of RFC 3261 §16: one request, the attempts it led to, and what the client is told. Transitions of the client
 * transactions come from transaction/machines.ts; here is what a proxy does about them. Completed and Accepted transactions shrink to an
 * entry of transaction/finished.ts as soon as nothing but retransmissions can come.
 */

/** Starts an exchange for the request just forwarded (ctx.branch). `backend`: −1 for a client. Its bytes were kept before the forwarding. */
export function begin(ctx: Context, exchange: Exchange, backend: number): void {
  const exchanges = ctx.exchanges!;
  const now = ctx.output.now();
  exchanges.attempt(exchange, ctx.branch, backend);
  countRequest(ctx, exchange, backend);
  exchanges.start(exchange, TIMER.lifetime, now + UDP.B);
  startAttempt(ctx, exchange, now);
  if (exchange.invite) reply(ctx, exchange.from, exchange.listener, 100);
}

/** The same request once more: the client gets what it got last, or its 100. */
export function retransmitted(ctx: Context, exchange: Exchange, from: Endpoint): void {
  if (exchange.responseLength > 0) resend(ctx, exchange);
  else if (exchange.state === 'proceeding') reply(ctx, from, exchange.listener, 100);
}

function resend(ctx: Context, exchange: Exchange): void {
  ctx.splice.reset();
  ctx.splice.add(exchange.response, 0, exchange.responseLength);
  toClient(ctx, exchange);
}

/**
 * The ACK of a failure that we passed on. Timer I follows, since the backend may not have heard our own ACK; or what is left of Timer H, where
 * somebody else may still ring, and has to be cancelled.
 */
export function acknowledged(ctx: Context, exchange: Exchange): void {
  if (exchange.finalStatus < 300) return;
  exchange.state = 'confirmed';
  ctx.exchanges!.stop(exchange, TIMER.response);
  if (!pending(exchange)) ctx.exchanges!.start(exchange, TIMER.lifetime, ctx.output.now() + UDP.I);
}

/** The caller gives up (RFC 3261 §16.10). Its CANCEL was answered already. An attempt without a provisional is cancelled when one comes (§9.1). */
export function cancelled(ctx: Context, exchange: Exchange): void {
  if (exchange.finalStatus > 0 || exchange.cancelled) return;
  exchange.cancelled = true;
  exchange.reason = reasonOf(ctx.message);
  const exchanges = ctx.exchanges!;
  exchanges.stop(exchange, TIMER.patience);
  exchanges.start(exchange, TIMER.lifetime, ctx.output.now() + UDP.B);
  for (let i = 0; i < exchange.count; i++)
    if (exchange.attempts[i]!.state === 'proceeding') cancelAttempt(ctx, exchange, exchange.attempts[i]!);
}

/** A response whose branch belongs to an exchange. ctx.message holds it, ctx.via its top Via, which is ours. */
export function onResponse(ctx: Context, exchange: Exchange, key: number): void {
  const { message } = ctx;
  const attempt = exchange.attemptOf(key);
  // The answer to our own CANCEL says nothing about the INVITE.
  if (message.method !== exchange.method) {
    if (attempt.cancels === 0) return;
    if (message.status >= 200) ctx.exchanges!.stopAttempt(exchange, attempt);
    // Somebody works on it: from now on it is asked at the longest interval only (RFC 3261 §17.1.2.2).
    else attempt.interval = DEFAULT_BASE.T2;
    return;
  }
  const input = responseInput(message.status);
  const transition = step(exchange.invite ? inviteClient : nonInviteClient, attempt.state, input);
  if (transition === undefined) return;
  attempt.state = transition.next;
  if (message.status >= 200) ctx.exchanges!.stopAttempt(exchange, attempt);
  if (transition.actions.includes('send-ack')) acknowledge(ctx, exchange, attempt);
  if (!transition.actions.includes('pass')) return;
  if (message.status < 200) onProvisional(ctx, exchange, attempt);
  else if (message.status < 300) onSuccess(ctx, exchange, attempt);
  else onFailure(ctx, exchange, attempt);
}

function onProvisional(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  const exchanges = ctx.exchanges!;
  const now = ctx.output.now();
  const current = attempt === exchange.current;
  if (exchange.invite && attempt.cancels === 0) exchanges.stopAttempt(exchange, attempt);
  if (exchange.invite && (attempt.abandoned || exchange.cancelled || exchange.finalStatus > 0)) {
    passProvisional(ctx, exchange, attempt);
    return cancelAttempt(ctx, exchange, attempt);
  }
  if (current) {
    if (ctx.message.status > 100) {
      attempt.ringing = true;
      exchanges.stop(exchange, TIMER.patience);
      // Timer C starts anew with every provisional but 100 (RFC 3261 §16.7 item 2).
      if (exchange.invite) exchanges.start(exchange, TIMER.lifetime, now + UDP.C);
    } else if (exchange.fresh) exchanges.start(exchange, TIMER.patience, now + TRYING_CHECK_MS);
    if (exchange.invite && ctx.message.status === 100 && !attempt.ringing)
      exchanges.start(exchange, TIMER.lifetime, now + UDP.C);
  }
  passProvisional(ctx, exchange, attempt);
}

/** 101–199 go to the client at once (RFC 3261 §16.7 item 5); a 100 is ours alone. */
function passProvisional(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  if (ctx.message.status === 100 || attempt.abandoned || exchange.finalStatus > 0) return;
  // RFC 4320 §4.1: no element sends one for a non-INVITE request.
  if (!exchange.invite) return;
  if (passToClient(ctx, exchange)) exchange.keepResponse(ctx.splice);
}

function onSuccess(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  const exchanges = ctx.exchanges!;
  const now = ctx.output.now();
  const { status } = ctx.message;
  const answered = exchange.finalStatus > 0;
  if (exchange.invite && answered && attempt.abandoned && exchange.listener.farm.plan.failover.release)
    return release(ctx, exchange, attempt);
  passToClient(ctx, exchange);
  if (!exchange.invite) return finish(ctx, exchange, status);
  exchange.finalStatus = status;
  exchange.responseLength = 0;
  // One attempt only, or all others through: later 2xx of its forks need no memory of ours.
  if (!pending(exchange, attempt)) return finish(ctx, exchange, status);
  exchanges.stop(exchange, TIMER.patience);
  exchanges.start(exchange, TIMER.lifetime, now + UDP.L);
  if (!exchange.cancelled) exchange.reason = ELSEWHERE;
  for (let i = 0; i < exchange.count; i++) endAttempt(ctx, exchange, exchange.attempts[i]!);
}

/** Some attempt, or some other one, may still answer. */
function pending(exchange: Exchange, but?: Attempt): boolean {
  for (let i = 0; i < exchange.count; i++) {
    const other = exchange.attempts[i]!;
    if (other !== but && (other.state === 'calling' || other.state === 'proceeding' || other.state === 'accepted'))
      return true;
  }
  return false;
}

/** A 2xx from an attempt given up, after another one's: the caller has its call, this one is acknowledged and ended for it. */
function release(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  const { message, output, target } = ctx;
  const { farm } = exchange.listener;
  const backend = farm.backends[attempt.backend]!;
  const leaving = exchange.listener.towards[attempt.backend]!;
  const messages = releaseOf(message.bytes.slice(message.start, message.end), leaving);
  if (messages === undefined) return;
  for (const bytes of messages) {
    ctx.splice.reset();
    ctx.splice.add(bytes, 0, bytes.length);
    copyEndpoint(target, backend.endpoint);
    if (target.transport === TRANSPORT.udp) output.datagram(leaving, target, ctx.splice);
    else output.dial(leaving, target, ctx.splice);
  }
}

/** A timer of an exchange is due. */
export function onTimer(ctx: Context, exchange: Exchange, timer: number): void {
  ctx.tape.call = exchange.call;
  if (timer >= TIMER.attempt) onRetransmit(ctx, exchange, exchange.attempts[timer - TIMER.attempt]!);
  else if (timer === TIMER.response) onTimerG(ctx, exchange);
  else if (timer === TIMER.patience) onPatience(ctx, exchange);
  else onLifetime(ctx, exchange);
}

function onTimerG(ctx: Context, exchange: Exchange): void {
  resend(ctx, exchange);
  exchange.interval = nextInterval('G', exchange.interval, DEFAULT_BASE);
  ctx.exchanges!.start(exchange, TIMER.response, ctx.output.now() + exchange.interval);
}

/** Times that Timer E lets a CANCEL be sent before Timer F ends it: at 0, 0.5, 1.5, 3.5, then every 4 s. */
const MAX_CANCELS = 11;

/** Timer A or E of an attempt, or Timer E of its CANCEL. */
function onRetransmit(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  if (attempt.cancels === MAX_CANCELS) return;
  if (attempt.cancels > 0) {
    attempt.cancels++;
    sendAgain(ctx, exchange, attempt, HOP.cancel);
  } else if (attempt.repeats) retransmit(ctx, exchange, attempt);
  const timer = exchange.invite && attempt.cancels === 0 ? 'A' : 'E';
  attempt.interval = nextInterval(timer, attempt.interval, DEFAULT_BASE);
  ctx.exchanges!.startAttempt(exchange, attempt, ctx.output.now());
  if (!exchange.invite && exchange.state === 'trying' && attempt.interval === DEFAULT_BASE.T2) trying(ctx, exchange);
}

function retransmit(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  const { backend } = attempt;
  sendAgain(ctx, exchange, attempt, HOP.request);
  if (backend >= 0 && ctx.runtime === exchange.listener.farm.runtime)
    ctx.counters.retransmission(exchange.listener.farm.backends[backend]!.global);
}

/** The 100 of a non-INVITE request: due when Timer E has been reset to T2, and not before (RFC 4320 §4.1). */
function trying(ctx: Context, exchange: Exchange): void {
  exchange.state = 'proceeding';
  if (reload(ctx, exchange)) reply(ctx, exchange.from, exchange.listener, 100);
}

function onPatience(ctx: Context, exchange: Exchange): void {
  if (exchange.cancelled || exchange.finalStatus > 0) return;
  const { current } = exchange;
  const { pool } = exchange.listener.farm;
  const silent = isSilent(current);
  const lost = current.state === 'proceeding' && !current.ringing && !pool.serves(current.backend);
  if ((silent || lost) && tryNext(ctx, exchange)) {
    if (silent) timedOut(exchange, current);
    return;
  }
  // Nobody else to try, or it works on it: ask again later.
  ctx.exchanges!.start(exchange, TIMER.patience, ctx.output.now() + Math.max(TRYING_CHECK_MS, patience(exchange)));
}

const isSilent = ({ state }: Attempt): boolean => state === 'calling' || state === 'trying';

function timedOut(exchange: Exchange, { backend }: Attempt): void {
  if (backend >= 0) exchange.listener.farm.signals.saw(backend, 'timeout');
}

/** Timers B, C, F, H, I and L. */
function onLifetime(ctx: Context, exchange: Exchange): void {
  if (exchange.finalStatus > 0) return finish(ctx, exchange, exchange.finalStatus);
  if (isSilent(exchange.current)) timedOut(exchange, exchange.current);
  // RFC 4320 §4.1: a 408 for a non-INVITE request would come too late for everybody.
  if (!exchange.invite) return finish(ctx, exchange, 0);
  conclude(ctx, exchange, exchange.cancelled ? 487 : 408);
}
