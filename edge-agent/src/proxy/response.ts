import { type Endpoint, TRANSPORT } from '../ports.ts';
import { HEADER } from '../sip/header.ts';
import { DROP } from '../telemetry/slab.ts';
import { branchKey, readBack, readBranch, verifyBranch } from '../transaction/branch.ts';
import { takeOwnVia } from './back.ts';
import type { Context } from './context.ts';
import { readFlow } from './flow.ts';
import type { Listener } from './runtime.ts';
import { onResponse } from './stateful.ts';
import { responseTarget } from './via.ts';

/**
 * Forwards a response by its Vias alone (RFC 3261 §16.11): the top one must be ours, with a branch that we made for just this target; it is
 * taken off, and the next one says where the request came from. The response leaves by the listener that the request came in by, since NATs
 * and firewalls of clients let nothing else through.
 */
export function handleResponse(ctx: Context, from: Endpoint, incoming: Listener): void {
  const { message, via, counters, back, target } = ctx;
  const { bytes } = message;
  const { farm } = incoming;
  const backend = farm.sources.find(from);
  if (backend >= 0) {
    counters.responseFrom(farm.backends[backend]!.global, message.status);
    if (message.status === 401 || message.status === 407) farm.nonces.learn(message, backend);
  }
  const line = message.first[HEADER.via]!;
  if (!via.parse(bytes, message.valueStart[line]!, message.valueEnd[line]!)) return counters.drop(DROP.malformed);
  if (!readBranch(bytes, via.branchStart, via.branchEnd)) return counters.drop(DROP.forged_branch);
  const exchange = ctx.exchanges?.byBranch(branchKey());
  if (exchange !== undefined) return onResponse(ctx, exchange, branchKey());
  const leaving = farm.listeners[readBack.listener];
  if (leaving === undefined) return counters.drop(DROP.no_route);

  const flowStart = via.flowStart;
  const flowEnd = via.flowEnd;
  const byFlow = flowEnd > flowStart;
  if (byFlow === (leaving.plan.transport === TRANSPORT.udp)) return counters.drop(DROP.forged_branch);
  const problem = takeOwnVia(ctx, line, leaving);
  if (problem >= 0) return counters.drop(problem);
  // `via` is now the next one.
  const found = byFlow ? readFlow(back, bytes, flowStart, flowEnd) : responseTarget(bytes, via, back);
  if (!found) return counters.drop(DROP.no_route);
  if (!verifyBranch(farm.keys, back)) return counters.drop(DROP.forged_branch);

  target.transport = leaving.plan.transport;
  target.ip0 = back.ip0;
  target.ip1 = back.ip1;
  target.ip2 = back.ip2;
  target.ip3 = back.ip3;
  target.port = back.port;
  target.connection = back.connection;
  if (!byFlow) return ctx.output.datagram(leaving, target, ctx.splice);
  const here = back.agent === ctx.runtime.plan.agent;
  if (!here || !ctx.output.stream(leaving, back.worker, target, ctx.splice)) counters.drop(DROP.unknown_flow);
}
