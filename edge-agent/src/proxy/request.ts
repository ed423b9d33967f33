import { NONE } from '../balancer/pool.ts';
import type { Endpoint } from '../ports.ts';
import { copyEndpoint } from '../sip/endpoint.ts';
import { hash32 } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { METHOD } from '../sip/method.ts';
import { readDecimal, toBytes, toText } from '../sip/text.ts';
import { SCHEME } from '../sip/uri.ts';
import { DROP, type LocalStatus } from '../telemetry/slab.ts';
import { identify, loopHash, readBack, readBranch } from '../transaction/branch.ts';
import { contactsFit } from './contact.ts';
import type { Context } from './context.ts';
import type { Exchange } from './exchange.ts';
import { forwardToBackend } from './forward.ts';
import { callOf } from './observe.ts';
import { EXTRA, reply } from './reply.ts';
import { ROUTE, readTarget } from './route.ts';
import { isOwn, type Listener, SOURCE } from './runtime.ts';
import { acknowledged, begin, cancelled, retransmitted } from './stateful.ts';
import { endsInvite, sendToCandidates } from './takeover.ts';
import { choose } from './target.ts';
import { forwardToClient, sourceOf } from './to-client.ts';
import { responsePort } from './via.ts';

/**
 * Routes one request (RFC 3261 §16). The steps in order: validate (§16.3) → own Routes and their token (§16.4) → target:
 * the token's backend or client, or, without a token, a backend by affinity → forward (§16.6).
 */
export function handleRequest(ctx: Context, from: Endpoint, incoming: Listener): void {
  const { message, via, counters } = ctx;
  const { farm } = incoming;
  const viaLine = message.first[HEADER.via]!;
  if (!via.parse(message.bytes, message.valueStart[viaLine]!, message.valueEnd[viaLine]!))
    return counters.drop(DROP.malformed);
  const source = sourceOf(ctx, from, incoming);
  if (source >= 0) counters.requestFrom(farm.backends[source]!.global, message.method);

  ctx.exchange = undefined;
  ctx.identity = 0;
  if (isKnown(ctx, from, incoming)) return;
  if (ctx.overload.share > 0 && isNewWork(ctx, source) && !ctx.overload.admits(callHash(ctx), ctx.output.seconds()))
    return turnAway(ctx, from, incoming);
  const refusal = validate(ctx, incoming, source);
  if (refusal !== 0) return refuse(ctx, from, incoming, refusal);

  ctx.startSecond = ctx.output.seconds();
  ctx.edits.reset();
  const route = readTarget(ctx, farm, ctx.edits);
  if (route === ROUTE.tooMany) return refuse(ctx, from, incoming, 400);
  if (route === ROUTE.forged) {
    counters.drop(DROP.forged_token);
    return reply(ctx, from, incoming, 403);
  }
  // A Record-Route of another call, preloaded into a request that starts a dialog, must not choose the backend: balanced as new.
  if (route === ROUTE.token && (ctx.token.path || message.hasToTag)) return byToken(ctx, from, incoming, source);
  balance(ctx, from, incoming, source, true);
}

/** Of a client, and outside of any dialog. What a PBX sends belongs to a call that was let in; CANCEL and ACK end what there is. */
const isNewWork = ({ message }: Context, source: number): boolean =>
  source === SOURCE.client && !message.hasToTag && message.method !== METHOD.ACK && message.method !== METHOD.CANCEL;

/** The Call-ID's: the parts of a call's setup (challenge and answer) share one fate. */
function callHash({ message }: Context): number {
  const line = message.first[HEADER.callId]!;
  return hash32(message.bytes, message.valueStart[line]!, message.valueEnd[line]!);
}

function turnAway(ctx: Context, from: Endpoint, incoming: Listener): void {
  ctx.counters.refused('overload');
  reply(ctx, from, incoming, 503, EXTRA.retryAfter);
}

/** Of what is refused in overload, one request in so many is recorded. */
const RECORDED = 16;

/**
 * Refuses the request at hand before anything was done about it, where that is its fate: what is refused must cost far less than what is served, or
 * the more comes, the less is served. So most of it is not recorded; counted and told it is. False: it goes the way of all others.
 */
export function refusedAtOnce(ctx: Context, from: Endpoint, incoming: Listener): boolean {
  const { message, via, overload, exchanges, tape } = ctx;
  const line = message.first[HEADER.via]!;
  if (!via.parse(message.bytes, message.valueStart[line]!, message.valueEnd[line]!)) return false;
  if (!isNewWork(ctx, sourceOf(ctx, from, incoming))) return false;
  if (overload.hopeless) {
    ctx.counters.drop(DROP.overload);
    return true;
  }
  const hash = callHash(ctx);
  if (hash % RECORDED === 0 || overload.admits(hash, ctx.output.seconds())) return false;
  if (exchanges !== undefined && incoming.farm.plan.stateful) {
    const key = identify(incoming.farm.keys[0]!.key, message, via);
    if (exchanges.find(key) !== undefined || exchanges.finished.find(key, ctx.output.now())) return false;
  }
  ctx.exchange = undefined;
  tape.call = callOf(message);
  tape.muted = true;
  try {
    turnAway(ctx, from, incoming);
  } finally {
    tape.muted = false;
  }
  return true;
}

/**
 * Finds the request's transaction (RFC 3261 §17.2.3) and does what it says. True: nothing else is to be done. False: it is new, or is
 * forwarded statelessly; its key then stands in ctx.serverKey (0: no transaction is made for it).
 */
function isKnown(ctx: Context, from: Endpoint, incoming: Listener): boolean {
  const { message, exchanges } = ctx;
  const { method } = message;
  ctx.serverKey = 0;
  ctx.preferred = NONE;
  if (exchanges === undefined || !incoming.farm.plan.stateful) return false;
  const key = identify(incoming.farm.keys[0]!.key, message, ctx.via);
  ctx.identity = key;
  if (method !== METHOD.ACK && method !== METHOD.CANCEL) ctx.serverKey = key;
  const exchange = exchanges.find(key);
  if (exchange !== undefined) {
    if (method === METHOD.ACK) {
      if (exchange.finalStatus < 300) return false;
      acknowledged(ctx, exchange);
    } else if (method === METHOD.CANCEL) {
      reply(ctx, from, incoming, 200);
      cancelled(ctx, exchange);
    } else retransmitted(ctx, exchange, from);
    return true;
  }
  if (!exchanges.finished.find(key, ctx.output.now())) return false;
  // Ended: a late ACK or INVITE is absorbed, a CANCEL has no effect (§9.2); another request goes where it went, to be answered again.
  const { status, backend } = exchanges.finished;
  if (method === METHOD.CANCEL) reply(ctx, from, incoming, 200);
  else if (method === METHOD.ACK) return status >= 300;
  else if (method !== METHOD.INVITE) {
    ctx.preferred = backend;
    return false;
  }
  return true;
}

/** To a backend by the farm's strategy. `fresh`: a dialog that this starts gets a token. */
function balance(ctx: Context, from: Endpoint, incoming: Listener, source: number, fresh: boolean): void {
  if (fresh && endsInvite(ctx, incoming)) {
    if (!sendToCandidates(ctx, from, incoming, source)) nowhere(ctx, from, incoming);
    return;
  }
  const backend = ctx.preferred !== NONE ? ctx.preferred : choose(ctx, from, incoming, source);
  if (backend !== NONE) return toBackend(ctx, from, incoming, backend, source, fresh);
  nowhere(ctx, from, incoming);
}

function nowhere(ctx: Context, from: Endpoint, incoming: Listener): void {
  ctx.counters.drop(DROP.no_backend);
  reply(ctx, from, incoming, 503, EXTRA.retryAfter);
}

function toBackend(
  ctx: Context,
  from: Endpoint,
  incoming: Listener,
  backend: number,
  source: number,
  fresh: boolean,
): void {
  const exchange = open(ctx, from, incoming, source, fresh);
  if (exchange === undefined && ctx.serverKey !== 0 && fresh) {
    // Memory is for calls that stand: new work is refused, what belongs to a dialog goes on statelessly.
    ctx.counters.refused('transaction_limit');
    return reply(ctx, from, incoming, 503, EXTRA.retryAfter);
  }
  forwardToBackend(ctx, from, incoming, backend, source, fresh);
  if (exchange !== undefined) begin(ctx, exchange, backend);
  else ctx.counters.requestTo(incoming.farm.backends[backend]!.global, ctx.message.method);
}

/** A record of the request at hand as it came, before anything in it is changed; undefined where none is made. */
function open(ctx: Context, from: Endpoint, incoming: Listener, source: number, fresh: boolean): Exchange | undefined {
  const { message, via, exchanges } = ctx;
  ctx.exchange = undefined;
  if (ctx.serverKey === 0) return undefined;
  const exchange = exchanges!.create(ctx.serverKey, message.end - message.start);
  if (exchange === undefined) return undefined;
  exchange.method = message.method;
  exchange.invite = message.method === METHOD.INVITE;
  exchange.state = exchange.invite ? 'proceeding' : 'trying';
  exchange.listener = incoming;
  exchange.source = source;
  copyEndpoint(exchange.from, from);
  exchange.replyPort = responsePort(message.bytes, via, from);
  exchange.fresh = fresh;
  exchange.startSecond = ctx.startSecond;
  exchange.call = ctx.tape.call;
  exchange.keepRequest(message.bytes, message.start, message.end);
  ctx.exchange = exchange;
  return exchange;
}

/** Answers what validation refused; an ACK is never answered, and so counted as dropped. */
function refuse(ctx: Context, from: Endpoint, incoming: Listener, status: LocalStatus): void {
  const { message, counters } = ctx;
  if (message.method === METHOD.ACK) return counters.drop(DROP.malformed);
  if (status === 420) return reply(ctx, from, incoming, 420, unsupported(message));
  reply(ctx, from, incoming, status, status === 200 ? EXTRA.allow : EXTRA.none);
}

/** `Unsupported` with what the request's first Proxy-Require asked for (RFC 3261 §16.3 item 5). */
function unsupported(message: MessageView): Uint8Array {
  const line = message.first[HEADER.proxyRequire]!;
  const value = toText(
    message.bytes,
    message.valueStart[line]!,
    Math.min(message.valueEnd[line]!, message.valueStart[line]! + 200),
  );
  return toBytes(`Unsupported: ${value.replace(/[^A-Za-z0-9\-.!%*_+`'~, ]/g, '')}\r\n`);
}

/** 0: go on; else the status to answer with. */
function validate(ctx: Context, incoming: Listener, source: number): LocalStatus | 0 {
  const { message, uri } = ctx;
  const { farm } = incoming;
  const { bytes } = message;
  if (!uri.parse(bytes, message.uriStart, message.uriEnd)) return uri.scheme === SCHEME.other ? 416 : 400;
  if (message.maxForwards === 0) return message.method === METHOD.OPTIONS ? 200 : 483;
  if (message.first[HEADER.maxBreadth]! >= 0 && message.method !== METHOD.ACK && breadth(message) === 0) return 440;
  if (message.method === METHOD.REGISTER && source < 0 && farm.plan.registration === 'contact')
    if (!contactsFit(message, farm)) return 400;
  // RFC 3261 §16.3 item 5: no option tag is needed of this proxy that it knows.
  if (message.first[HEADER.proxyRequire]! >= 0) return 420;
  // A keepalive of a phone or a monitor, meant for this element itself (RFC 3261 §11).
  if (message.method === METHOD.OPTIONS && uri.userEnd === uri.userStart && isOwn(farm, bytes, uri)) return 200;
  ctx.loop = loopHash(message, source);
  return looped(ctx);
}

/**
 * How many branches the request may still be on at a time (RFC 5393 §5). With the single one that a proxy without parallel forking makes, the value
 * goes on as it came; a request without one gets none.
 */
function breadth(message: MessageView): number {
  const line = message.first[HEADER.maxBreadth]!;
  return readDecimal(message.bytes, message.valueStart[line]!, message.valueEnd[line]!);
}

/**
 * 482 where the message passed here before and nothing that routing depends on has changed (RFC 3261 §16.3 item 4, RFC 5393 §4.2);
 * 400 where a Via cannot be read. Only a Via with a branch of ours can say so; most requests have one Via, a phone's.
 */
function looped(ctx: Context): 482 | 400 | 0 {
  const { message, via } = ctx;
  const { bytes } = message;
  const top = message.first[HEADER.via]!;
  const ours = () => readBranch(bytes, via.branchStart, via.branchEnd) && readBack.loop === ctx.loop;
  if (message.times[HEADER.via] === 1 && via.end >= message.valueEnd[top]!) return ours() ? 482 : 0;
  let result: 482 | 400 | 0 = 0;
  for (let line = top; line < message.headerCount; line++) {
    if (message.code[line] !== HEADER.via) continue;
    const end = message.valueEnd[line]!;
    for (let at = message.valueStart[line]!; at < end; at = via.end + 1) {
      if (!via.parse(bytes, at, end)) {
        result ||= 400;
        break;
      }
      if (ours()) result = 482;
    }
  }
  // Everybody else means the top one.
  via.parse(bytes, message.valueStart[top]!, message.valueEnd[top]!);
  return result;
}

/** A request with a token of ours: its side of the dialog decides where it goes; no balancing any more. */
function byToken(ctx: Context, from: Endpoint, incoming: Listener, source: number): void {
  const { message, token, counters } = ctx;
  const { farm } = incoming;
  const fromInitiator = hash32(message.bytes, message.fromTagStart, message.fromTagEnd) === token.fromTag;
  const towardsBackend = !token.path && fromInitiator !== token.initiatorIsBackend;
  if (towardsBackend) {
    const backend = farm.byId.get(token.backend);
    if (backend !== undefined) return toBackend(ctx, from, incoming, backend, source, false);
    // The backend left the configuration: what is left of its dialogs goes to whoever the key names.
    return balance(ctx, from, incoming, source, false);
  }
  // A client that saw another's token must not ring it past the PBX: only PBXs may reach clients, and agents on their behalf.
  if (source === SOURCE.client) {
    counters.drop(DROP.forged_token);
    return reply(ctx, from, incoming, 403);
  }
  // The other side of a call between two PBXs is one of them: reached at its own address, not by the connection that it once opened.
  const peer = farm.sources.find(token.client);
  if (peer >= 0) return toBackend(ctx, from, incoming, peer, source, false);
  const exchange = open(ctx, from, incoming, source, false);
  if (forwardToClient(ctx, from, incoming, source)) {
    if (exchange !== undefined) begin(ctx, exchange, NONE);
    return;
  }
  if (exchange !== undefined) ctx.exchanges!.finish(exchange, 0, 0);
  ctx.exchange = undefined;
  counters.drop(DROP.unknown_flow);
  reply(ctx, from, incoming, 430);
}
