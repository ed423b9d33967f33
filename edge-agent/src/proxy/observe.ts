import type { Endpoint } from '../ports.ts';
import { hash32, hash51 } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { METHOD } from '../sip/method.ts';
import { binding, grantedExpiry, readBinding } from './binding.ts';
import type { Context } from './context.ts';
import type { Exchange } from './exchange.ts';
import { type Listener, SOURCE } from './runtime.ts';

/**
 * What the control thread is told about calls: facts of the message at hand, as numbers. It puts them together (telemetry/calls); here
 * nothing is kept, so a stateless farm tells as much as a stateful one.
 */

/** Methods that session and registration statistics are made from (RFC 6076), and UPDATE, which says that a dialog still stands. */
const OBSERVED = new Uint8Array(16);
for (const method of [METHOD.INVITE, METHOD.BYE, METHOD.REGISTER, METHOD.UPDATE]) OBSERVED[method] = 1;

// As in telemetry/events.ts, which the packet path does not import.
const FROM_CLIENT = 0;
const TO_CLIENT = 1;
const BETWEEN = 2;
const IN_DIALOG = 1;
const CREDENTIALS = 2;
const UNREGISTER = 4;
const UNRECORDED = 8;

/** The message that just came in, parsed as far as it could be and not yet changed. */
export function record(
  ctx: Context,
  bytes: Uint8Array,
  start: number,
  end: number,
  from: Endpoint,
  listener: number,
): void {
  const { message, tape, events } = ctx;
  if (!tape.active && !events.active) return;
  tape.call = callOf(message);
  tape.received(tape.call, bytes, start, end, from, listener);
}

/** The request in ctx.message was forwarded under the branch ctx.branch. `backend`: −1 to a client. `token`: one in it decided. */
export function requestSent(ctx: Context, incoming: Listener, backend: number, source: number, token: boolean): void {
  const { message, events, exchange } = ctx;
  const { method } = message;
  if (exchange !== undefined && exchange.watched.began > 0) return sentAgain(exchange, backend);
  // What a peer agent passes on was told by it.
  if (!events.active || OBSERVED[method] !== 1 || source === SOURCE.peer || ctx.runtime !== incoming.farm.runtime)
    return;
  const dialog = message.hasToTag;
  let flags = flagsOf(ctx);
  let bound = 0;
  if (method === METHOD.REGISTER && readBinding(message)) {
    bound = binding.hash;
    if (binding.removed) flags |= UNREGISTER;
  }
  const known = token && dialog && !ctx.token.path;
  let leg = source >= 0 ? TO_CLIENT : FROM_CLIENT;
  if (source >= 0 && backend >= 0) leg = BETWEEN;
  else if (known) leg = ctx.token.initiatorIsBackend ? TO_CLIENT : FROM_CLIENT;
  if (exchange !== undefined) {
    const { watched } = exchange;
    watched.method = method;
    watched.call = ctx.tape.call;
    watched.plan = events.plan;
    watched.farm = incoming.plan.farm;
    watched.leg = leg;
    watched.flags = flags;
    watched.backend = backend;
    watched.source = source;
    watched.dialogStart = known ? ctx.token.start : -1;
    watched.binding = bound;
    watched.began = ctx.output.now();
    watched.provisional = watched.failovers = 0;
    watched.sent = watched.attempts = 1;
    return;
  }
  events.request(
    method,
    ctx.tape.call,
    ctx.branch,
    transactionOf(ctx),
    incoming.plan.farm,
    leg,
    flags,
    backend,
    source,
    known ? ctx.token.start : -1,
    bound,
  );
}

/** To the backend of the attempt under way, or to another one: then an attempt more. */
function sentAgain({ watched, attempts, count }: Exchange, backend: number): void {
  watched.sent++;
  if (count === 0 || attempts[count - 1]!.backend === backend) return;
  watched.attempts++;
  watched.backend = backend;
}

/** The response in ctx.message, which belongs to the attempt ctx.answering, is passed on. `exchange`: the one that it belongs to, if any. */
export function responsePassed(ctx: Context, exchange?: Exchange): void {
  const { message, events } = ctx;
  const { method, status } = message;
  if (!events.active || OBSERVED[method] !== 1 || status === 100) return;
  const value = method === METHOD.REGISTER && status >= 200 && status < 300 ? grantedExpiry(message) : 0;
  if (exchange === undefined) events.response(method, ctx.tape.call, ctx.answering, status, value);
  else if (status >= 200) ended(ctx, exchange, status, value);
  else if (exchange.watched.provisional === 0) exchange.watched.provisional = ctx.output.now();
}

/** An exchange has come to its end, or has its final response. Told once. `status` 0: silence. */
export function ended(ctx: Context, { watched }: Exchange, status: number, value = 0): void {
  if (watched.began === 0) return;
  ctx.events.transaction(watched, status, value);
  watched.began = 0;
}

/** We answer the request in ctx.message ourselves. ctx.via holds its top Via. */
export function answeredHere(ctx: Context, incoming: Listener, status: number): void {
  const { message, events, exchange } = ctx;
  if (exchange !== undefined && exchange.watched.began > 0)
    return status < 200 ? undefined : ended(ctx, exchange, status);
  if (!events.active || status < 200 || OBSERVED[message.method] !== 1 || ctx.runtime !== incoming.farm.runtime) return;
  // A malformed request is answered too, but belongs to no call.
  if (message.first[HEADER.callId]! < 0 || message.first[HEADER.cseq]! < 0) return;
  events.answered(message.method, ctx.tape.call, transactionOf(ctx), incoming.plan.farm, flagsOf(ctx), status);
}

/** An attempt of the exchange was given up for another one. */
export function failedOver({ watched }: Exchange): void {
  watched.failovers++;
}

/** Hash of a message's Call-ID; 0 where it has none. */
export function callOf(message: MessageView): number {
  const line = message.first[HEADER.callId]!;
  return line < 0 ? 0 : hash51(message.bytes, message.valueStart[line]!, message.valueEnd[line]!);
}

/** The same for a retransmission, another one for everything else of the call: the received branch and the CSeq number (RFC 3261 §17.2.3). */
const transactionOf = ({ message, via }: Context): number =>
  hash32(message.bytes, via.branchStart, via.branchEnd) ^ Math.imul(message.cseq, 0x9e3779b1);

function flagsOf({ message, tape }: Context): number {
  const credentials = message.first[HEADER.authorization]! >= 0 || message.first[HEADER.proxyAuthorization]! >= 0;
  return (message.hasToTag ? IN_DIALOG : 0) | (credentials ? CREDENTIALS : 0) | (tape.muted ? UNRECORDED : 0);
}
