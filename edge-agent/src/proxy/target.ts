import { affinityHash } from '../balancer/key.ts';
import type { Excluded } from '../balancer/pool.ts';
import type { Endpoint } from '../ports.ts';
import { digest, sipHash24 } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import { PARSE } from '../sip/message.ts';
import { loopHash } from '../transaction/branch.ts';
import type { Context } from './context.ts';
import type { Exchange } from './exchange.ts';
import { takeOwnRoutes } from './route.ts';
import type { Listener } from './runtime.ts';

/**
 * A backend for a request outside of any dialog that we know; never the one that sent it (the seed's server A → server B), nor one that was
 * tried. The answer to a challenge goes to who made it.
 */
export function choose(ctx: Context, from: Endpoint, incoming: Listener, source: number, excluded?: Excluded): number {
  const { message, uri, runtime, output } = ctx;
  const { pool, plan, nonces } = incoming.farm;
  const challenger = nonces.find(message);
  if (challenger >= 0 && challenger < pool.size && challenger !== source && pool.serves(challenger))
    if (!excluded?.tried(challenger)) return challenger;
  if (plan.strategy === 'hash') return pool.byHash(affinityHash(plan.key, message, uri, from), source, excluded);
  const callId = message.first[HEADER.callId]!;
  sipHash24(incoming.farm.keys[0]!.key, message.bytes, message.valueStart[callId]!, message.valueEnd[callId]!);
  return pool.inTurn(digest[0]! ^ runtime.worker, digest[1]!, source, output.seconds(), excluded);
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
  ctx.loop = loopHash(message, exchange.source);
  ctx.startSecond = exchange.startSecond;
  ctx.edits.reset();
  takeOwnRoutes(ctx, exchange.listener.farm, ctx.edits);
  return true;
}
