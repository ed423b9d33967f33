import { NONE } from '../balancer/pool.ts';
import { type Endpoint, TRANSPORT } from '../ports.ts';
import { copyEndpoint } from '../sip/endpoint.ts';
import { HEADER } from '../sip/header.ts';
import { inviteClient, nonInviteClient, responseInput, step } from '../transaction/machines.ts';
import { DEFAULT_BASE, nextInterval, timerValues } from '../transaction/timers.ts';
import { passToClient, toClient } from './back.ts';
import { type Context, HOP } from './context.ts';
import { type Attempt, type Exchange, MAX_ATTEMPTS, TIMER } from './exchange.ts';
import { forwardToBackend } from './forward.ts';
import { releaseOf } from './hop.ts';
import { failedOver } from './observe.ts';
import { EXTRA, reply } from './reply.ts';
import { choose, elsewhere, reload } from './target.ts';
import { forwardToClient } from './to-client.ts';

/**
 * The response context of RFC 3261 §16: one request, the attempts it led to, and what the client is told. Transitions of the client
 * transactions come from transaction/machines.ts; here is what a proxy does about them. Completed and Accepted transactions shrink to an
 * entry of transaction/finished.ts as soon as nothing but retransmissions can come.
 */

/** Retransmission timers aside, a proxy waits as long on a stream as on UDP: its other side may be UDP. */
const UDP = timerValues(DEFAULT_BASE, false);
/** Silence before a non-INVITE request is tried elsewhere: a registrar may ask a database. */
const NON_INVITE_PATIENCE_MS = 4000;
/** How often an attempt that got nothing but a 100 is asked whether its backend is still up. */
const TRYING_CHECK_MS = 1000;

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

function startAttempt(ctx: Context, exchange: Exchange, now: number): void {
  const exchanges = ctx.exchanges!;
  exchange.interval = DEFAULT_BASE.T1;
  if (ctx.target.transport === TRANSPORT.udp) exchanges.start(exchange, TIMER.retransmit, now + exchange.interval);
  else exchanges.stop(exchange, TIMER.retransmit);
  if (exchange.fresh && exchange.listener.farm.pool.size > 1)
    exchanges.start(exchange, TIMER.patience, now + patience(exchange));
}

const patience = (exchange: Exchange): number =>
  exchange.invite
    ? exchange.listener.farm.plan.failover.timeoutMs
    : Math.max(NON_INVITE_PATIENCE_MS, exchange.listener.farm.plan.failover.timeoutMs);

/** The same request once more: the client gets what it got last, or its 100. */
export function retransmitted(ctx: Context, exchange: Exchange, from: Endpoint): void {
  if (exchange.responseLength > 0) resend(ctx, exchange);
  else if (exchange.invite && exchange.finalStatus === 0) reply(ctx, from, exchange.listener, 100);
}

function resend(ctx: Context, exchange: Exchange): void {
  ctx.splice.reset();
  ctx.splice.add(exchange.response, 0, exchange.responseLength);
  toClient(ctx, exchange);
}

/** The ACK of a failure that we passed on (Timer I follows: the backend may not have heard our own ACK). */
export function acknowledged(ctx: Context, exchange: Exchange): void {
  if (exchange.finalStatus < 300) return;
  exchange.state = 'confirmed';
  ctx.exchanges!.stop(exchange, TIMER.retransmit);
  ctx.exchanges!.start(exchange, TIMER.lifetime, ctx.output.now() + UDP.I);
}

/** The caller gives up (RFC 3261 §16.10). Its CANCEL was answered already. An attempt without a provisional is cancelled when one comes (§9.1). */
export function cancelled(ctx: Context, exchange: Exchange): void {
  if (exchange.finalStatus > 0 || exchange.cancelled) return;
  exchange.cancelled = true;
  const exchanges = ctx.exchanges!;
  exchanges.stop(exchange, TIMER.patience);
  exchanges.start(exchange, TIMER.lifetime, ctx.output.now() + UDP.B);
  for (let i = 0; i < exchange.count; i++)
    if (exchange.attempts[i]!.state === 'proceeding') cancelAttempt(ctx, exchange, exchange.attempts[i]!);
}

function cancelAttempt(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  if (attempt.cancelSent) return;
  attempt.cancelSent = true;
  sendAgain(ctx, exchange, attempt, HOP.cancel);
  if (attempt !== exchange.current) return;
  // The CANCEL is a transaction of its own, retransmitted until the INVITE is answered.
  exchange.interval = DEFAULT_BASE.T1;
  if (ctx.target.transport === TRANSPORT.udp)
    ctx.exchanges!.start(exchange, TIMER.retransmit, ctx.output.now() + exchange.interval);
}

/** Runs the kept request along an attempt's way again: the request itself (byte for byte the same), its CANCEL or its ACK. */
function sendAgain(ctx: Context, exchange: Exchange, attempt: Attempt, hop: number): void {
  if (!reload(ctx, exchange)) return;
  ctx.hop = hop;
  if (attempt.backend >= 0)
    forwardToBackend(ctx, exchange.from, exchange.listener, attempt.backend, exchange.source, exchange.fresh);
  else forwardToClient(ctx, exchange.from, exchange.listener, exchange.source);
  ctx.hop = HOP.request;
}

/** A response whose branch belongs to an exchange. ctx.message holds it, ctx.via its top Via, which is ours. */
export function onResponse(ctx: Context, exchange: Exchange, key: number): void {
  const { message } = ctx;
  // The answer to our own CANCEL says nothing about the INVITE.
  if (message.method !== exchange.method) return;
  const attempt = exchange.attempts.find((a, i) => i < exchange.count && a.key === key)!;
  const input = responseInput(message.status);
  const transition = step(exchange.invite ? inviteClient : nonInviteClient, attempt.state, input);
  if (transition === undefined) return;
  attempt.state = transition.next;
  if (transition.actions.includes('send-ack')) acknowledge(ctx, exchange, attempt);
  if (!transition.actions.includes('pass')) return;
  if (message.status < 200) onProvisional(ctx, exchange, attempt);
  else if (message.status < 300) onSuccess(ctx, exchange, attempt);
  else onFailure(ctx, exchange, attempt);
}

/** ACK of a failure, hop by hop (RFC 3261 §16.7 item 8 NOTE, §17.1.1.3). Keeps ctx.message: the response is not passed on yet. */
function acknowledge(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  const { message } = ctx;
  const line = message.first[HEADER.to]!;
  ctx.ackTo = message.bytes.slice(message.lineStart[line]!, message.lineEnd[line]!);
  const { bytes, start } = message;
  const end = message.end;
  sendAgain(ctx, exchange, attempt, HOP.ack);
  ctx.message.parse(bytes, start, end);
}

function onProvisional(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  const exchanges = ctx.exchanges!;
  const now = ctx.output.now();
  const current = attempt === exchange.current;
  if (exchange.invite && current && !attempt.cancelSent) exchanges.stop(exchange, TIMER.retransmit);
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
  if (!passToClient(ctx, exchange)) return;
  if (exchange.invite) exchange.keepResponse(ctx.splice);
}

function onSuccess(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  const exchanges = ctx.exchanges!;
  const now = ctx.output.now();
  const { status } = ctx.message;
  const answered = exchange.finalStatus > 0;
  if (exchange.invite && answered && attempt.abandoned && exchange.listener.farm.plan.failover.release)
    return release(ctx, exchange, attempt);
  passToClient(ctx, exchange);
  if (!exchange.invite) return exchanges.finish(exchange, status, now);
  exchange.finalStatus = status;
  exchange.responseLength = 0;
  // One attempt only, or all others through: later 2xx of its forks need no memory of ours.
  if (!pending(exchange, attempt)) return exchanges.finish(exchange, status, now);
  exchanges.stop(exchange, TIMER.retransmit);
  exchanges.stop(exchange, TIMER.patience);
  exchanges.start(exchange, TIMER.lifetime, now + UDP.L);
  for (let i = 0; i < exchange.count; i++) {
    const other = exchange.attempts[i]!;
    if (other !== attempt && other.state === 'proceeding') cancelAttempt(ctx, exchange, other);
  }
}

/** Some other attempt may still answer. */
function pending(exchange: Exchange, but: Attempt): boolean {
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

function onFailure(ctx: Context, exchange: Exchange, attempt: Attempt): void {
  if (attempt.abandoned || exchange.finalStatus > 0) return;
  const { status } = ctx.message;
  if (!exchange.cancelled && triedElsewhere(ctx, exchange, attempt, status)) return;
  // Trying the next one took the message's place only where there was one.
  passToClient(ctx, exchange);
  failed(ctx, exchange, status);
}

/** Not found, temporarily unavailable: what a registrar says of a user who is not registered there. */
const isMisplaced = (status: number): boolean => status === 404 || status === 480;

/** Tries another candidate where the status asks for it; false: it is passed on. What a phone itself says after it rang stands. */
function triedElsewhere(ctx: Context, exchange: Exchange, attempt: Attempt, status: number): boolean {
  if (exchange.listener.farm.plan.failover.codes.includes(status)) return tryNext(ctx, exchange, status);
  return isMisplaced(status) && !attempt.ringing && tryNext(ctx, exchange, status, true);
}

/** The client was told a final failure, which stands in ctx.splice: retransmitted and acknowledged, if an INVITE's (RFC 3261 §17.2.1). */
function failed(ctx: Context, exchange: Exchange, status: number): void {
  const exchanges = ctx.exchanges!;
  const now = ctx.output.now();
  if (!exchange.invite) return exchanges.finish(exchange, status, now);
  exchange.finalStatus = status;
  exchange.state = 'completed';
  exchange.keepResponse(ctx.splice);
  exchanges.stop(exchange, TIMER.patience);
  exchanges.start(exchange, TIMER.lifetime, now + UDP.H);
  exchange.interval = DEFAULT_BASE.T1;
  if (exchange.from.transport === TRANSPORT.udp) exchanges.start(exchange, TIMER.retransmit, now + exchange.interval);
  else exchanges.stop(exchange, TIMER.retransmit);
}

/**
 * Gives the current attempt up for the next candidate. `status`: what it answered, 0: nothing; `misplaced`: only for one where the callee may be registered instead.
 * False where there is none: nothing has changed then.
 */
function tryNext(ctx: Context, exchange: Exchange, status = 0, misplaced = false): boolean {
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
  if (before.state === 'proceeding') cancelAttempt(ctx, exchange, before);
  if (!reload(ctx, exchange)) return false;
  forwardToBackend(ctx, exchange.from, exchange.listener, backend, exchange.source, true);
  ctx.exchanges!.attempt(exchange, ctx.branch, backend);
  failedOver(ctx, before.key, status);
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

/** A timer of an exchange is due. */
export function onTimer(ctx: Context, exchange: Exchange, timer: number): void {
  if (timer === TIMER.retransmit) onRetransmit(ctx, exchange);
  else if (timer === TIMER.patience) onPatience(ctx, exchange);
  else onLifetime(ctx, exchange);
}

function onRetransmit(ctx: Context, exchange: Exchange): void {
  const { current } = exchange;
  let timer: 'A' | 'E' | 'G' = 'E';
  if (exchange.state === 'completed') {
    timer = 'G';
    resend(ctx, exchange);
  } else if (current.cancelSent) sendAgain(ctx, exchange, current, HOP.cancel);
  else {
    if (exchange.invite) timer = 'A';
    sendAgain(ctx, exchange, current, HOP.request);
    if (current.backend >= 0 && ctx.runtime === exchange.listener.farm.runtime)
      ctx.counters.retransmission(exchange.listener.farm.backends[current.backend]!.global);
  }
  exchange.interval = nextInterval(timer, exchange.interval, DEFAULT_BASE);
  ctx.exchanges!.start(exchange, TIMER.retransmit, ctx.output.now() + exchange.interval);
}

function onPatience(ctx: Context, exchange: Exchange): void {
  if (exchange.cancelled || exchange.finalStatus > 0) return;
  const { current } = exchange;
  const silent = current.state === 'calling' || current.state === 'trying';
  const lost =
    current.state === 'proceeding' && !current.ringing && !exchange.listener.farm.pool.serves(current.backend);
  if ((silent || lost) && tryNext(ctx, exchange)) return;
  // Nobody else to try, or it works on it: ask again later.
  ctx.exchanges!.start(exchange, TIMER.patience, ctx.output.now() + Math.max(TRYING_CHECK_MS, patience(exchange)));
}

/** Timers B, C, F, H, I and L. */
function onLifetime(ctx: Context, exchange: Exchange): void {
  const exchanges = ctx.exchanges!;
  const now = ctx.output.now();
  if (exchange.finalStatus > 0) return exchanges.finish(exchange, exchange.finalStatus, now);
  // RFC 4320 §4.1: a 408 for a non-INVITE request would come too late for everybody.
  if (!exchange.invite || !reload(ctx, exchange)) return exchanges.finish(exchange, 0, now);
  for (let i = 0; i < exchange.count; i++)
    if (exchange.attempts[i]!.state === 'proceeding') cancelAttempt(ctx, exchange, exchange.attempts[i]!);
  reload(ctx, exchange);
  const status = exchange.cancelled ? 487 : 408;
  reply(ctx, exchange.from, exchange.listener, status, EXTRA.none);
  failed(ctx, exchange, status);
}

function countRequest(ctx: Context, exchange: Exchange, backend: number): void {
  // Counters are numbered by the running plan; an exchange may have begun under the one before.
  if (backend >= 0 && ctx.runtime === exchange.listener.farm.runtime)
    ctx.counters.requestTo(exchange.listener.farm.backends[backend]!.global, exchange.method);
}
