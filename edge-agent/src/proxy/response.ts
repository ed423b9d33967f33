import { type Endpoint, TRANSPORT } from '../ports.ts';
import { HEADER } from '../sip/header.ts';
import { METHOD } from '../sip/method.ts';
import { put, putDecimal, toBytes } from '../sip/text.ts';
import { DROP } from '../telemetry/slab.ts';
import { readBack, readBranch, verifyBranch } from '../transaction/branch.ts';
import type { Context } from './context.ts';
import { capExpires } from './expires.ts';
import { readFlow } from './flow.ts';
import type { Listener } from './runtime.ts';
import { responseTarget } from './via.ts';

const CONTENT_LENGTH = toBytes('Content-Length: ');
const CRLF = toBytes('\r\n');

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

/**
 * Writes the response without our Via into ctx.splice: without its line, or without its first value where the line goes on behind a comma.
 * Leaves ctx.via at the next Via. Returns −1, or the reason to drop it.
 */
function takeOwnVia(ctx: Context, line: number, leaving: Listener): number {
  const { message, via } = ctx;
  const { bytes } = message;
  const valueEnd = message.valueEnd[line]!;
  if (bytes[via.end] === 44 && via.end < valueEnd) {
    const ours = via.start;
    if (!via.parse(bytes, via.end + 1, valueEnd)) return DROP.malformed;
    cut(ctx, leaving, ours, via.start);
    return -1;
  }
  const next = nextVia(ctx, line);
  if (next < 0) return DROP.no_route;
  if (!via.parse(bytes, message.valueStart[next]!, message.valueEnd[next]!)) return DROP.malformed;
  cut(ctx, leaving, message.lineStart[line]!, message.lineEnd[line]!);
  return -1;
}

/**
 * The message without `[from, to)`, and with its expiries capped. On a stream the length of the body must be said, though a datagram
 * may leave it out (RFC 3261 §18.3).
 */
function cut(ctx: Context, leaving: Listener, from: number, to: number): void {
  const { message, splice, edits } = ctx;
  const { bytes } = message;
  const arena = ctx.output.arena();
  const cap = leaving.farm.plan.maxExpires;
  edits.reset();
  edits.remove(from, to);
  if (cap > 0 && message.method === METHOD.REGISTER && message.status < 300) capExpires(message, cap, arena, edits);
  splice.reset();
  const stream = leaving.plan.transport !== TRANSPORT.udp && message.first[HEADER.contentLength]! < 0;
  edits.apply(splice, bytes, message.start, stream ? message.headersEnd : message.end, arena.bytes);
  if (!stream) return;
  addContentLength(ctx);
  splice.add(bytes, message.headersEnd, message.end);
}

/** Appends a Content-Length line for the message's body to ctx.splice. */
export function addContentLength(ctx: Context): void {
  const { message, splice } = ctx;
  const arena = ctx.output.arena();
  const start = arena.used;
  let at = put(arena.bytes, start, CONTENT_LENGTH);
  at = putDecimal(arena.bytes, at, message.end - message.bodyStart);
  at = put(arena.bytes, at, CRLF);
  arena.used = at;
  splice.add(arena.bytes, start, at);
}

/** Line of the Via header behind `line`, -1 where there is none. */
function nextVia(ctx: Context, line: number): number {
  const { message } = ctx;
  for (let i = line + 1; i < message.headerCount; i++) if (message.code[i] === HEADER.via) return i;
  return -1;
}
