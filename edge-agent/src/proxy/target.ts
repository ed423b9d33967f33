import { affinityHash } from '../balancer/key.ts';
import { type Excluded, NOBODY, NONE, type Pool } from '../balancer/pool.ts';
import type { Endpoint } from '../ports.ts';
import { digest, sipHash24 } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import { PARSE } from '../sip/message.ts';
import { METHOD } from '../sip/method.ts';
import { loopHash } from '../transaction/branch.ts';
import type { Context } from './context.ts';
import type { Exchange } from './exchange.ts';
import { readTarget } from './route.ts';
import type { Listener } from './runtime.ts';

/**
 * A backend for a request outside of any dialog that we know; never the one that sent it (the seed's server A → server B), nor one that was
 * tried. The answer to a challenge goes to who made it.
 */
export function choose(
  ctx: Context,
  from: Endpoint,
  incoming: Listener,
  source: number,
  excluded: Excluded = NOBODY,
): number {
  const { message, uri, output } = ctx;
  const { pool, plan, lag, nonces } = incoming.farm;
  const now = output.seconds();
  const challenger = challengerOf(nonces.find(message, now), pool, message.method);
  if (challenger !== NONE && challenger !== source && !excluded.tried(challenger)) return challenger;
  if (plan.strategy === 'hash') {
    const hash = affinityHash(plan.key, message, uri, from);
    const formerly = lag.holds(message.method, now)
      ? lag.whereRegistered(message, uri, from, hash, source, now, excluded)
      : NONE;
    return formerly !== NONE ? formerly : pool.byHash(hash, source, excluded);
  }
  const callId = message.first[HEADER.callId]!;
  sipHash24(pool.calls!.key, message.bytes, message.valueStart[callId]!, message.valueEnd[callId]!);
  // A PBX that passes a call on as a proxy keeps its Call-ID: what it was given says nothing of what the caller was.
  return pool.inTurn(digest[0]! ^ (source + 1), digest[1]!, source, now, excluded, message.method);
}

/** Who challenged, if it can take the answer: a registration that began before its PBX drained is not completed there. */
function challengerOf(challenger: number, pool: Pool, method: number): number {
  if (challenger < 0 || challenger >= pool.size) return NONE;
  return (method === METHOD.REGISTER ? pool.admits(challenger) : pool.serves(challenger)) ? challenger : NONE;
}

/** Backends that were asked about one call: by this request, and by those before it that were challenged. */
const asked = {
  exchange: undefined as Exchange | undefined,
  before: new Uint8Array(256),
  tried: (backend: number): boolean => asked.before[backend] === 1 || (asked.exchange?.tried(backend) ?? false),
};

/**
 * Another backend where the callee may be registered, for an exchange whose request stands in ctx again; {@link NONE} where registrations do not
 * lag, or all such were asked.
 */
export function elsewhere(ctx: Context, exchange: Exchange): number {
  const { message, uri, output } = ctx;
  const { listener, from, source } = exchange;
  const { lag, plan } = listener.farm;
  const now = output.seconds();
  if (plan.strategy !== 'hash' || !lag.holds(message.method, now)) return NONE;
  const hash = affinityHash(plan.key, message, uri, from);
  const place = () => lag.whereRegistered(message, uri, from, hash, source, now, asked);
  // Who answers a challenge begins with the backend that made it. What comes before that one was asked already, and would only challenge again.
  const first = exchange.attempts[0]!.backend;
  asked.exchange = undefined;
  asked.before.fill(0);
  let before = place();
  while (before !== NONE && before !== first) {
    asked.before[before] = 1;
    before = place();
  }
  if (before === NONE) asked.before.fill(0);
  asked.exchange = exchange;
  return place();
}

/** The longest message that a stream or a datagram can bring, with room. */
const scratch = new Uint8Array(128 << 10);

/** Reads an exchange's request again into ctx, ready to be forwarded: edits are made in a copy, so that it can be read any number of times. */
export function reload(ctx: Context, exchange: Exchange): boolean {
  const { message, via, uri } = ctx;
  const length = exchange.requestLength;
  scratch.set(exchange.request.subarray(0, length));
  if (message.parse(scratch, 0, length) !== PARSE.ok) return false;
  const line = message.first[HEADER.via]!;
  via.parse(scratch, message.valueStart[line]!, message.valueEnd[line]!);
  uri.parse(scratch, message.uriStart, message.uriEnd);
  ctx.identity = exchange.serverKey;
  ctx.loop = loopHash(message, exchange.source);
  ctx.startSecond = exchange.startSecond;
  ctx.edits.reset();
  readTarget(ctx, exchange.listener.farm, ctx.edits);
  return true;
}
