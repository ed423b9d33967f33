import type { Endpoint } from '../ports.ts';
import { HEADER } from '../sip/header.ts';
import { DROP } from '../telemetry/slab.ts';
import { readBack, readBranch } from '../transaction/branch.ts';
import type { Context } from './context.ts';
import { flow, readFlow } from './flow.ts';
import type { Listener } from './runtime.ts';
import { responseTarget } from './via.ts';

/**
 * Forwards a response by its Vias alone (RFC 3261 §16.11): the top one must be ours, with a branch that we made; it is taken off, and the
 * next one says where the request came from. The response leaves by the listener that the request came in by, since NATs and firewalls
 * of clients let nothing else through.
 */
export function handleResponse(ctx: Context, from: Endpoint, incoming: Listener): void {
  const { message, via, splice, counters, output } = ctx;
  const { bytes } = message;
  const { farm } = incoming;
  const backend = farm.sources.find(from);
  if (backend >= 0) counters.responseFrom(farm.backends[backend]!.global, message.status);
  const line = message.first[HEADER.via]!;
  const valueEnd = message.valueEnd[line]!;
  if (!via.parse(bytes, message.valueStart[line]!, valueEnd)) return counters.drop(DROP.malformed);
  if (!readBranch(farm.keys, bytes, via.branchStart, via.branchEnd)) return counters.drop(DROP.forged_branch);
  const leaving = farm.listeners[readBack.listener];
  if (leaving === undefined) return counters.drop(DROP.no_route);

  const viaStart = via.start;
  const ourEnd = via.end;
  const flowEnd = via.flowEnd;
  let worker = -1;
  if (flowEnd > via.flowStart) {
    if (!readFlow(farm.keys, bytes, via.flowStart, flowEnd)) return counters.drop(DROP.forged_branch);
    if (flow.agent !== ctx.runtime.plan.agent) return counters.drop(DROP.unknown_flow);
    worker = flow.worker;
  }

  // Take our Via off: the whole line, or its first value where the line goes on behind a comma.
  splice.reset();
  if (bytes[ourEnd] === 44 && ourEnd < valueEnd) {
    if (!via.parse(bytes, ourEnd + 1, valueEnd)) return counters.drop(DROP.malformed);
    splice.add(bytes, message.start, viaStart);
    splice.add(bytes, via.start, message.end);
  } else {
    const next = nextVia(ctx, line);
    if (next < 0) return counters.drop(DROP.no_route);
    if (!via.parse(bytes, message.valueStart[next]!, message.valueEnd[next]!)) return counters.drop(DROP.malformed);
    splice.add(bytes, message.start, message.lineStart[line]!);
    splice.add(bytes, message.lineEnd[line]!, message.end);
  }
  if (worker >= 0) {
    ctx.target.transport = leaving.plan.transport;
    ctx.target.connection = flow.connection;
    ctx.target.port = 0;
    if (!output.stream(leaving, worker, ctx.target, splice)) counters.drop(DROP.unknown_flow);
    return;
  }
  if (!responseTarget(bytes, via, ctx.target)) return counters.drop(DROP.no_route);
  output.datagram(leaving, ctx.target, splice);
}

/** Line of the Via header behind `line`, -1 where there is none. */
function nextVia(ctx: Context, line: number): number {
  const { message } = ctx;
  for (let i = line + 1; i < message.headerCount; i++) if (message.code[i] === HEADER.via) return i;
  return -1;
}
