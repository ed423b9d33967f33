import { affinityHash } from '../balancer/key.ts';
import { NONE } from '../balancer/pool.ts';
import type { Endpoint } from '../ports.ts';
import { digest, hash32, sipHash24 } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import { parseWords } from '../sip/host.ts';
import { METHOD } from '../sip/method.ts';
import { SCHEME } from '../sip/uri.ts';
import { DROP, type LocalStatus } from '../telemetry/slab.ts';
import { loopHash, readBack, readBranch } from '../transaction/branch.ts';
import type { Context } from './context.ts';
import { forwardToBackend, forwardToClient } from './forward.ts';
import { EXTRA, reply } from './reply.ts';
import { ROUTE, takeOwnRoutes } from './route.ts';
import { isOwn, type Listener } from './runtime.ts';

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
  const source = farm.sources.find(from);
  if (source >= 0) counters.requestFrom(farm.backends[source]!.global, message.method);

  const refusal = validate(ctx, incoming, source);
  if (refusal !== 0) return reply(ctx, from, incoming, refusal, refusal === 200 ? EXTRA.allow : EXTRA.none);

  ctx.edits.reset();
  const route = takeOwnRoutes(ctx, farm, ctx.edits);
  if (route === ROUTE.forged) {
    counters.drop(DROP.forged_token);
    return reply(ctx, from, incoming, 403);
  }
  if (route === ROUTE.token) return byToken(ctx, from, incoming, source);
  const backend = choose(ctx, from, incoming, source);
  if (backend === NONE) {
    counters.drop(DROP.no_backend);
    return reply(ctx, from, incoming, 503, EXTRA.retryAfter);
  }
  forwardToBackend(ctx, from, incoming, backend, source, true);
}

/** 0: go on; else the status to answer with. */
function validate(ctx: Context, incoming: Listener, source: number): LocalStatus | 0 {
  const { message, uri } = ctx;
  const { farm } = incoming;
  const { bytes } = message;
  if (!uri.parse(bytes, message.uriStart, message.uriEnd)) return uri.scheme === SCHEME.other ? 416 : 400;
  if (message.maxForwards === 0) return message.method === METHOD.OPTIONS ? 200 : 483;
  // RFC 3261 §16.3 item 5: no option tag is needed of this proxy that it knows.
  if (message.first[HEADER.proxyRequire]! >= 0) return 420;
  if (message.method === METHOD.OPTIONS && uri.userEnd === uri.userStart) {
    // A keepalive of a phone or a monitor, meant for this element itself (RFC 3261 §11).
    if (isOwn(farm, parseWords(bytes, uri.hostStart, uri.hostEnd), uri.port)) return 200;
  }
  ctx.loop = loopHash(message, source);
  return looped(ctx, incoming) ? 482 : 0;
}

/**
 * The message passed here before and nothing that routing depends on has changed (RFC 3261 §16.3 item 4, RFC 5393 §4.2).
 * Only a Via with a branch that we made can say so; most requests have one Via, a phone's.
 */
function looped(ctx: Context, incoming: Listener): boolean {
  const { message, via } = ctx;
  const { bytes } = message;
  const top = message.first[HEADER.via]!;
  const { keys } = incoming.farm;
  if (message.times[HEADER.via] === 1 && via.end >= message.valueEnd[top]!)
    return readBranch(keys, bytes, via.branchStart, via.branchEnd) && readBack.loop === ctx.loop;
  let found = false;
  for (let line = top; line < message.headerCount; line++) {
    if (message.code[line] !== HEADER.via) continue;
    const end = message.valueEnd[line]!;
    for (let at = message.valueStart[line]!; at < end && via.parse(bytes, at, end); at = via.end + 1)
      found ||= readBranch(keys, bytes, via.branchStart, via.branchEnd) && readBack.loop === ctx.loop;
  }
  // Everybody else means the top one.
  via.parse(bytes, message.valueStart[top]!, message.valueEnd[top]!);
  return found;
}

/** A request with a token of ours: its side of the dialog decides where it goes; no balancing any more. */
function byToken(ctx: Context, from: Endpoint, incoming: Listener, source: number): void {
  const { message, token, counters } = ctx;
  const { farm } = incoming;
  const fromInitiator = hash32(message.bytes, message.fromTagStart, message.fromTagEnd) === token.fromTag;
  const towardsBackend = !token.path && fromInitiator !== token.initiatorIsBackend;
  if (towardsBackend) {
    const backend = farm.byId.get(token.backend);
    if (backend !== undefined) return forwardToBackend(ctx, from, incoming, backend, source, false);
    // The backend left the configuration: what is left of its dialogs goes to whoever the key names.
    const other = choose(ctx, from, incoming, source);
    if (other !== NONE) return forwardToBackend(ctx, from, incoming, other, source, false);
    counters.drop(DROP.no_backend);
    return reply(ctx, from, incoming, 503, EXTRA.retryAfter);
  }
  // A client that saw another's token must not ring it past the PBX: only PBXs may reach clients.
  if (source < 0) {
    counters.drop(DROP.forged_token);
    return reply(ctx, from, incoming, 403);
  }
  if (forwardToClient(ctx, from, incoming, source)) return;
  counters.drop(DROP.unknown_flow);
  reply(ctx, from, incoming, 430);
}

/** A backend for a request outside of any dialog that we know; never the one that sent it (the seed's server A → server B). */
function choose(ctx: Context, from: Endpoint, incoming: Listener, source: number): number {
  const { message, uri, runtime, output } = ctx;
  const { pool, plan } = incoming.farm;
  if (plan.strategy === 'hash') return pool.byHash(affinityHash(plan.key, message, uri, from), source);
  const callId = message.first[HEADER.callId]!;
  sipHash24(incoming.farm.keys[0]!.key, message.bytes, message.valueStart[callId]!, message.valueEnd[callId]!);
  return pool.inTurn(digest[0]! ^ runtime.worker, digest[1]!, source, output.seconds());
}
