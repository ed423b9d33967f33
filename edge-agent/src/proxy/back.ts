import { TRANSPORT } from '../ports.ts';
import { copyEndpoint } from '../sip/endpoint.ts';
import { HEADER } from '../sip/header.ts';
import { METHOD } from '../sip/method.ts';
import { DROP } from '../telemetry/slab.ts';
import { restoreContacts } from './contact.ts';
import type { Context } from './context.ts';
import type { Exchange } from './exchange.ts';
import { capExpires } from './expires.ts';
import { addContentLength } from './length.ts';
import { responsePassed } from './observe.ts';
import type { Listener } from './runtime.ts';

/** Passes the response in ctx.message to the client of its exchange, by what we know of it and not by what the Vias say. Leaves the text in ctx.splice. */
export function passToClient(ctx: Context, exchange: Exchange): boolean {
  if (!forClient(ctx, exchange)) return false;
  responsePassed(ctx, exchange);
  if (!toClient(ctx, exchange)) ctx.counters.drop(DROP.unknown_flow);
  return true;
}

/** Writes the response in ctx.message into ctx.splice as the client is to get it. False: dropped, it cannot be passed on. */
export function forClient(ctx: Context, exchange: Exchange): boolean {
  const { message, via, counters } = ctx;
  const line = message.first[HEADER.via]!;
  const leaving = exchange.listener;
  const readable = via.parse(message.bytes, message.valueStart[line]!, message.valueEnd[line]!);
  const problem = readable ? takeOwnVia(ctx, line, leaving) : DROP.malformed;
  if (problem >= 0) counters.drop(problem);
  return problem < 0;
}

/** Sends ctx.splice to the client of an exchange. False: its connection is gone. */
export function toClient(ctx: Context, exchange: Exchange): boolean {
  const { output, target } = ctx;
  copyEndpoint(target, exchange.from);
  if (target.transport !== TRANSPORT.udp)
    return output.stream(exchange.listener, ctx.runtime.worker, target, ctx.splice);
  target.port = exchange.replyPort;
  output.datagram(exchange.listener, target, ctx.splice);
  return true;
}

/**
 * Writes the response without our Via into ctx.splice: without its line, or without its first value where the line goes on behind a comma.
 * Leaves ctx.via at the next Via. Returns −1, or the reason to drop it.
 */
export function takeOwnVia(ctx: Context, line: number, leaving: Listener): number {
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
  if (message.method === METHOD.REGISTER && message.status < 300) {
    restoreContacts(message, leaving.farm, arena, edits);
    if (cap > 0) capExpires(message, cap, arena, edits);
  }
  splice.reset();
  const stream = leaving.plan.transport !== TRANSPORT.udp && message.first[HEADER.contentLength]! < 0;
  edits.apply(splice, bytes, message.start, stream ? message.headersEnd : message.end, arena.bytes);
  if (!stream) return;
  addContentLength(ctx);
  splice.add(bytes, message.headersEnd, message.end);
}

/** Line of the Via header behind `line`, -1 where there is none. */
function nextVia(ctx: Context, line: number): number {
  const { message } = ctx;
  for (let i = line + 1; i < message.headerCount; i++) if (message.code[i] === HEADER.via) return i;
  return -1;
}
