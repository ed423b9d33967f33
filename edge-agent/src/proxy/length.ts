import { put, putDecimal, toBytes } from '../sip/text.ts';
import type { Context } from './context.ts';

const CONTENT_LENGTH = toBytes('Content-Length: ');
const CRLF = toBytes('\r\n');

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
