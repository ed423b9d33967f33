import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { putRange } from '../sip/text.ts';
import { address, nextAddress, UriView } from '../sip/uri.ts';
import { takeContact } from './contact.ts';
import type { Context } from './context.ts';
import type { Edits } from './edits.ts';
import { type FarmRuntime, isOwn } from './runtime.ts';
import { isTokenLength, readToken } from './token.ts';

/** What the top of the Route set says. */
export const ROUTE = {
  /** No Route of ours: a request outside of any dialog that we know. */
  none: 0,
  /** A valid token, now in ctx.token. */
  token: 1,
  /** A URI of ours that looks like a token and is not one that we signed. */
  forged: 2,
  /** More entries of ours than anybody needs. */
  tooMany: 3,
} as const;

/** Own entries on top of one Route set: two of a double Record-Route, one preloaded by the phone, and some to spare. */
const MAX_OWN = 6;

const uri = new UriView();

/** What a request's Route set, or else its Request-URI, says of where it goes; the changes that follow land in `edits`. */
export function readTarget(ctx: Context, farm: FarmRuntime, edits: Edits): number {
  const route = takeOwnRoutes(ctx, farm, edits);
  return route === ROUTE.none && takeContact(ctx, farm, edits) ? ROUTE.token : route;
}

/**
 * Takes our own entries off the Route set (RFC 3261 §16.4): the top one, and the second as well where the message crossed us between two
 * transports or addresses (double Record-Route, RFC 5658). The removals land in `edits`.
 */
function takeOwnRoutes(ctx: Context, farm: FarmRuntime, edits: Edits): number {
  const { message } = ctx;
  const { bytes } = message;
  let tokenStart = 0;
  let tokenEnd = 0;
  target.line = -1;
  if (strictlyRouted(ctx, farm)) {
    tokenStart = ctx.uri.userStart;
    tokenEnd = ctx.uri.userEnd;
    if (!findTarget(message)) return message.first[HEADER.route]! < 0 ? ROUTE.token : ROUTE.forged;
    unstrict(ctx, edits);
  }
  let line = message.first[HEADER.route]!;
  if (line < 0) return ROUTE.none;
  let at = message.valueStart[line]!;
  for (let taken = 0; ; taken++) {
    if (taken > MAX_OWN) return ROUTE.tooMany;
    if (line === target.line && at >= target.at) {
      // Nothing but the target is left of the line.
      edits.remove(message.lineStart[line]!, message.lineEnd[line]!);
      return ROUTE.token;
    }
    const end = message.valueEnd[line]!;
    if (!nextAddress(bytes, at, end)) break;
    const elementEnd = address.end;
    if (!uri.parse(bytes, address.uriStart, address.uriEnd)) break;
    if (tokenEnd > 0) {
      // Behind our token only its twin is ours to take: another token belongs to another passage through here.
      if (!sameText(bytes, tokenStart, tokenEnd, uri.userStart, uri.userEnd)) break;
    } else if (isTokenLength(uri.userEnd - uri.userStart)) {
      if (!readToken(ctx.token, farm.keys, bytes, uri.userStart, uri.userEnd)) {
        if (isOwn(farm, bytes, uri)) return ROUTE.forged;
        break;
      }
      tokenStart = uri.userStart;
      tokenEnd = uri.userEnd;
    } else if (!isOwn(farm, bytes, uri)) break;
    at = elementEnd;
    if (at < end) continue;
    edits.remove(message.lineStart[line]!, message.lineEnd[line]!);
    line = nextRoute(ctx, line);
    if (line < 0) return tokenEnd > 0 ? ROUTE.token : ROUTE.none;
    at = message.valueStart[line]!;
  }
  // Part of a line was taken: what is left starts behind the comma, if anything is.
  if (at > message.valueStart[line]!) {
    if (nextAddress(bytes, at, message.valueEnd[line]!)) edits.remove(message.valueStart[line]!, at + 1);
    else edits.remove(message.lineStart[line]!, message.lineEnd[line]!);
  }
  removeTarget(message, edits);
  return tokenEnd > 0 ? ROUTE.token : ROUTE.none;
}

/** The Request-URI is one that we put into a Record-Route: a strict router sent this, with the real target last in Route (RFC 3261 §16.4). */
const strictlyRouted = (ctx: Context, farm: FarmRuntime): boolean =>
  isTokenLength(ctx.uri.userEnd - ctx.uri.userStart) &&
  readToken(ctx.token, farm.keys, ctx.message.bytes, ctx.uri.userStart, ctx.uri.userEnd);

/** Where a strict router put the target: the last Route entry, with the comma before it; no line: nowhere. */
const target = { line: -1, at: 0 };

function findTarget(message: MessageView): boolean {
  const { bytes } = message;
  let line = -1;
  for (let i = 0; i < message.headerCount; i++) if (message.code[i] === HEADER.route) line = i;
  if (line < 0) return false;
  const end = message.valueEnd[line]!;
  let last = -1;
  for (let at = message.valueStart[line]!; nextAddress(bytes, at, end); at = address.end) last = at;
  if (last < 0) return false;
  target.line = line;
  target.at = last;
  return true;
}

/** Puts the target back into the Request-URI. */
function unstrict(ctx: Context, edits: Edits): void {
  const { message } = ctx;
  const { bytes } = message;
  nextAddress(bytes, target.at, message.valueEnd[target.line]!);
  const arena = ctx.output.arena();
  const start = arena.used;
  arena.used = putRange(arena.bytes, start, bytes, address.uriStart, address.uriEnd);
  edits.replace(message.uriStart, message.uriEnd, start, arena.used);
  ctx.uri.parse(bytes, address.uriStart, address.uriEnd);
}

function removeTarget(message: MessageView, edits: Edits): void {
  const { line, at } = target;
  if (line < 0) return;
  if (at === message.valueStart[line]!) edits.remove(message.lineStart[line]!, message.lineEnd[line]!);
  else edits.remove(at, message.valueEnd[line]!);
}

function sameText(bytes: Uint8Array, aStart: number, aEnd: number, bStart: number, bEnd: number): boolean {
  if (aEnd - aStart !== bEnd - bStart) return false;
  for (let i = 0; i < aEnd - aStart; i++) if (bytes[aStart + i] !== bytes[bStart + i]) return false;
  return true;
}

function nextRoute(ctx: Context, line: number): number {
  const { message } = ctx;
  for (let i = line + 1; i < message.headerCount; i++) if (message.code[i] === HEADER.route) return i;
  return -1;
}
