import { type Endpoint, TRANSPORT } from '../ports.ts';
import { copyEndpoint } from '../sip/endpoint.ts';
import { HEADER } from '../sip/header.ts';
import { METHOD } from '../sip/method.ts';
import { DROP } from '../telemetry/slab.ts';
import { branchKey, identify, type ResponseTarget, readBack, readBranch, verifyBranch } from '../transaction/branch.ts';
import { takeOwnVia } from './back.ts';
import type { Context } from './context.ts';
import { createRegistered, readFlow } from './flow.ts';
import { createClientFlow } from './flows.ts';
import { responsePassed } from './observe.ts';
import { type FarmRuntime, type Listener, type Runtime, SOURCE } from './runtime.ts';
import { onResponse } from './stateful.ts';
import { isPeer, peerEndpoint, sourceOf } from './to-client.ts';
import { responseTarget } from './via.ts';

/** A response that a socket of this worker received: what it tells about its sender is noted, then it is passed on. */
export function handleResponse(ctx: Context, from: Endpoint, incoming: Listener): void {
  const { message, counters } = ctx;
  const { farm } = incoming;
  const backend = farm.sources.find(from);
  if (backend >= 0) {
    counters.responseFrom(farm.backends[backend]!.global, message.status);
    if (message.status === 503) farm.signals.saw(backend, 'unavailable');
    else farm.signals.answered(backend);
    if (message.status === 401 || message.status === 407) farm.nonces.learn(message, backend, ctx.output.seconds());
  }
  passResponse(ctx, from, incoming, false);
}

/**
 * Passes a response on: to its exchange, where this worker keeps it, or else by its Vias alone (RFC 3261 §16.11). The top one must be ours,
 * with a branch that we made for just this target; it is taken off, and the next one says where the request came from. The response leaves by
 * the listener that the request came in by, since NATs and firewalls of clients let nothing else through.
 *
 * `handedOver`: another worker received it. It goes no further: what has no exchange here has none in this agent.
 */
export function passResponse(ctx: Context, from: Endpoint, incoming: Listener, handedOver: boolean): void {
  const { message, via, counters, back, target, runtime } = ctx;
  const { bytes } = message;
  const { farm } = incoming;
  const line = message.first[HEADER.via]!;
  if (!via.parse(bytes, message.valueStart[line]!, message.valueEnd[line]!)) return counters.drop(DROP.malformed);
  if (!readBranch(bytes, via.branchStart, via.branchEnd)) return counters.drop(DROP.forged_branch);
  ctx.answering = branchKey();
  if (message.method === METHOD.REGISTER && !handedOver) learnFlow(ctx, from, incoming);
  const exchange = ctx.exchanges?.byBranch(ctx.answering);
  if (exchange !== undefined) return onResponse(ctx, exchange, ctx.answering);
  const leaving = farm.listeners[readBack.listener];
  if (leaving === undefined) return counters.drop(DROP.no_route);

  const { flowStart, flowEnd } = via;
  const keeper = handedOver || !farm.split ? runtime.worker : keeperOf(runtime, bytes, flowStart, flowEnd);
  const byFlow = leaving.plan.transport !== TRANSPORT.udp;
  const problem = takeOwnVia(ctx, line, leaving);
  if (problem >= 0) return isOwnCancel(ctx, farm, from, problem) ? undefined : counters.drop(problem);
  // `via` is now the next one.
  const found = byFlow ? readFlow(back, ctx.registered, bytes, flowStart, flowEnd) : responseTarget(bytes, via, back);
  if (!found) return counters.drop(DROP.no_route);
  if (!verifyBranch(farm.keys, back)) return counters.drop(DROP.forged_branch);
  if (keeper !== runtime.worker) return ctx.output.handOver(keeper, incoming, from, bytes, message.start, message.end);
  if (wasAnswered(ctx, farm)) return;
  responsePassed(ctx);

  target.transport = leaving.plan.transport;
  target.ip0 = back.ip0;
  target.ip1 = back.ip1;
  target.ip2 = back.ip2;
  target.ip3 = back.ip3;
  target.port = back.port;
  target.connection = back.connection;
  if (!byFlow) return ctx.output.datagram(leaving, target, ctx.splice);
  const sent =
    back.agent === runtime.plan.agent
      ? ctx.output.stream(leaving, back.worker, target, ctx.splice)
      : passToPeer(ctx, from, incoming);
  if (!sent) counters.drop(DROP.unknown_flow);
}

/**
 * The response at hand, whose next Via stands in ctx.via, belongs to a request that this worker kept and its client has the final answer to: sent again by a PBX that
 * was asked again (Timer K, RFC 3261 §17.1.2.2), or the late one of a PBX that was given up. Only an INVITE has more than one answer.
 */
function wasAnswered({ message, via, exchanges, output }: Context, farm: FarmRuntime): boolean {
  if (exchanges === undefined || !farm.plan.stateful) return false;
  if (message.method === METHOD.INVITE || message.method === METHOD.CANCEL) return false;
  return exchanges.finished.find(identify(farm.keys[0]!.key, message, via), output.now());
}

/** A response for a connection of another agent goes there as it came, our common Via on top. What came from an agent goes to no other. */
function passToPeer(ctx: Context, from: Endpoint, incoming: Listener): boolean {
  const { message, back, splice, output, target } = ctx;
  const leaving = incoming.farm.peerListener;
  if (leaving === undefined || isPeer(ctx, from, incoming) || !peerEndpoint(ctx, leaving, back.agent)) return false;
  splice.reset();
  splice.add(message.bytes, message.start, message.end);
  output.datagram(leaving, target, splice);
  return true;
}

const registering = createRegistered();
const keeping: ResponseTarget = {
  ip0: 0,
  ip1: 0,
  ip2: 0,
  ip3: 0,
  port: 0,
  agent: 0,
  worker: 0,
  connection: 0,
  brought: 0,
};

/**
 * The worker that keeps the exchange of a response without one here, by the `w` of our Via in {@link keeping}; this one where no other is named.
 * No MAC covers it, since a retransmission by another agent must have the same branch: whoever lies about it gets a response forwarded statelessly.
 */
function keeperOf({ plan, worker, workers }: Runtime, bytes: Uint8Array, start: number, end: number): number {
  const named = readFlow(keeping, registering, bytes, start, end);
  return named && keeping.agent === plan.agent && keeping.worker < workers ? keeping.worker : worker;
}

/** The answer to a CANCEL of our own, whose INVITE's exchange is not (or no more) here: it has no Via but ours, and nobody waits for it. */
const isOwnCancel = (ctx: Context, farm: FarmRuntime, from: Endpoint, problem: number): boolean =>
  problem === DROP.no_route && ctx.message.method === METHOD.CANCEL && farm.sources.find(from) >= 0;

const flow = createClientFlow();

/**
 * A PBX has accepted a registration: from now on its client is found by the connection that it came over (flows.ts). Nothing else makes an entry, and
 * this only for the address-of-record that the PBX has authenticated, since the keys are made of it.
 */
function learnFlow(ctx: Context, from: Endpoint, incoming: Listener): void {
  const { message, via, back, registered, runtime } = ctx;
  const { farm } = incoming;
  if (message.status < 200 || message.status > 299 || via.flowEnd === via.flowStart) return;
  if (sourceOf(ctx, from, incoming) === SOURCE.client) return;
  const listener = farm.listeners[readBack.listener];
  if (listener === undefined || !readFlow(back, registered, message.bytes, via.flowStart, via.flowEnd)) return;
  if (registered.count === 0 || back.agent !== runtime.plan.agent || !verifyBranch(farm.keys, back)) return;
  flow.worker = back.worker;
  flow.listener = listener.ordinal;
  copyEndpoint(flow.client, { ...registered.client, transport: listener.plan.transport, connection: back.connection });
  ctx.output.flows.learn(farm.id, registered, flow, ctx.output.seconds());
}
