import { HEADER } from '../sip/header.ts';
import { parseWords } from '../sip/host.ts';
import { address, nextAddress, UriView } from '../sip/uri.ts';
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
} as const;

const uri = new UriView();

/**
 * Takes our own entries off the Route set (RFC 3261 §16.4): the top one, and the second as well where the message crossed us between two
 * transports or addresses (double Record-Route, RFC 5658). The removals land in `edits`.
 */
export function takeOwnRoutes(ctx: Context, farm: FarmRuntime, edits: Edits): number {
  const { message } = ctx;
  const { bytes } = message;
  let line = message.first[HEADER.route]!;
  if (line < 0) return ROUTE.none;
  let at = message.valueStart[line]!;
  let tokenStart = 0;
  let tokenEnd = 0;
  for (;;) {
    const end = message.valueEnd[line]!;
    if (!nextAddress(bytes, at, end)) break;
    const elementEnd = address.end;
    if (!uri.parse(bytes, address.uriStart, address.uriEnd)) break;
    if (tokenEnd > 0) {
      // Behind our token only its twin is ours to take: another token belongs to another passage through here.
      if (!sameText(bytes, tokenStart, tokenEnd, uri.userStart, uri.userEnd)) break;
    } else if (isTokenLength(uri.userEnd - uri.userStart)) {
      if (!readToken(ctx.token, farm.keys, bytes, uri.userStart, uri.userEnd)) {
        if (isOwn(farm, parseWords(bytes, uri.hostStart, uri.hostEnd), uri.port)) return ROUTE.forged;
        break;
      }
      tokenStart = uri.userStart;
      tokenEnd = uri.userEnd;
    } else if (!isOwn(farm, parseWords(bytes, uri.hostStart, uri.hostEnd), uri.port)) break;
    at = elementEnd;
    if (at < end) continue;
    edits.remove(message.lineStart[line]!, message.lineEnd[line]!);
    line = nextRoute(ctx, line);
    if (line < 0) return tokenEnd > 0 ? ROUTE.token : ROUTE.none;
    at = message.valueStart[line]!;
  }
  // Part of a line was taken: what is left starts behind the comma.
  if (at > message.valueStart[line]!) edits.remove(message.valueStart[line]!, at + 1);
  return tokenEnd > 0 ? ROUTE.token : ROUTE.none;
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
