import { HEADER } from '../sip/header.ts';
import { MessageView } from '../sip/message.ts';
import { put, putDecimal, toBytes, toText } from '../sip/text.ts';
import { address, nextAddress, UriView } from '../sip/uri.ts';
import { putBranch } from '../transaction/branch.ts';
import type { Context } from './context.ts';
import { EXTRA } from './reply.ts';
import { type Listener, SIDE } from './runtime.ts';
import { isTokenLength } from './token.ts';

/** Requests of our own making, hop by hop: the CANCEL of an attempt, the ACK of its failure, and the release of a call that came too late. */

const SP_VERSION = toBytes(' SIP/2.0\r\n');
const VIA_END = toBytes(';rport\r\n');
const MAX_FORWARDS = toBytes('Max-Forwards: 70\r\n');
const CSEQ = toBytes('CSeq: ');
const CRLF = toBytes('\r\n');
const END = toBytes('Content-Length: 0\r\n\r\n');
const ACK = toBytes('ACK');
const CANCEL = toBytes('CANCEL');
/** Bytes of Reason lines that are passed on. */
const MAX_REASON = 512;
/** Why the others need not ring any more: phones that know it list no missed call. */
export const ELSEWHERE = toBytes('Reason: SIP;cause=200;text="Call completed elsewhere"\r\n');

/**
 * Writes ACK or CANCEL for the forwarded INVITE in ctx.message, whose branch was made last (RFC 3261 §9.1, §17.1.1.3): same Request-URI, Via, From,
 * Call-ID, CSeq number and Routes as it went out with. `to`: the To line, with the response's tag for an ACK. `reason`: whole header lines.
 */
function writeHop(
  ctx: Context,
  method: Uint8Array,
  leaving: Listener,
  side: 0 | 1,
  to: Uint8Array,
  reason: Uint8Array,
): void {
  const { message, edits, splice, output } = ctx;
  const { bytes } = message;
  const arena = output.arena();
  splice.reset();
  const start = arena.used;
  arena.used = put(arena.bytes, start, method);
  arena.bytes[arena.used++] = 32;
  splice.add(arena.bytes, start, arena.used);
  // A strict router's Request-URI was put right by an edit: it holds here too.
  edits.apply(splice, bytes, message.uriStart, message.uriEnd, arena.bytes);
  const head = arena.used;
  let at = put(arena.bytes, head, SP_VERSION);
  at = putBranch(arena.bytes, put(arena.bytes, at, leaving.via[side]));
  at = put(arena.bytes, at, VIA_END);
  at = put(arena.bytes, at, MAX_FORWARDS);
  at = put(arena.bytes, at, to);
  at = putDecimal(arena.bytes, put(arena.bytes, at, CSEQ), message.cseq);
  arena.bytes[at++] = 32;
  arena.used = put(arena.bytes, put(arena.bytes, at, method), CRLF);
  splice.add(arena.bytes, head, arena.used);
  for (let i = 0; i < message.headerCount; i++) {
    const code = message.code[i];
    if (code === HEADER.from || code === HEADER.callId || code === HEADER.route)
      edits.apply(splice, bytes, message.lineStart[i]!, message.lineEnd[i]!, arena.bytes);
  }
  const tail = arena.used;
  arena.used = put(arena.bytes, put(arena.bytes, tail, reason), END);
  splice.add(arena.bytes, tail, arena.used);
}

/** CANCEL of what ctx.message is the INVITE of, for ctx.reason. */
export function writeCancel(ctx: Context, leaving: Listener, side: 0 | 1): void {
  const { message } = ctx;
  const line = message.first[HEADER.to]!;
  const to = message.bytes.slice(message.lineStart[line]!, message.lineEnd[line]!);
  writeHop(ctx, CANCEL, leaving, side, to, ctx.reason);
}

/** The Reason lines of a CANCEL, which say to whoever rings why it need not any more (RFC 3326 §2). More than {@link MAX_REASON} bytes are left out. */
export function reasonOf(message: MessageView): Uint8Array {
  if (message.first[HEADER.reason]! < 0) return EXTRA.none;
  const lines: Uint8Array[] = [];
  let length = 0;
  for (let i = message.first[HEADER.reason]!; i < message.headerCount; i++) {
    if (message.code[i] !== HEADER.reason) continue;
    const line = message.bytes.subarray(message.lineStart[i]!, message.lineEnd[i]!);
    length += line.length;
    if (length > MAX_REASON) break;
    lines.push(line);
  }
  return Buffer.concat(lines);
}

/** ACK of a failure. `to`: the To line of the response. */
export function writeAck(ctx: Context, leaving: Listener, side: 0 | 1, to: Uint8Array): void {
  writeHop(ctx, ACK, leaving, side, to, EXTRA.none);
}

const view = new MessageView();
const uri = new UriView();

/**
 * ACK and BYE for a 2xx that nobody waits for any more: the caller was connected to another PBX meanwhile, and would pay for both.
 * We stand in for the caller (RFC 3261 §13.2.2.4): remote target from Contact, Routes from the Record-Routes above ours, reversed.
 * Slow and rare: made of strings. Returns the two messages, or undefined where the response names no target.
 */
export function releaseOf(response: Uint8Array, leaving: Listener): [Uint8Array, Uint8Array] | undefined {
  if (view.parse(response, 0, response.length) !== 0) return undefined;
  const contact = view.first[HEADER.contact]!;
  if (contact < 0 || !nextAddress(response, view.valueStart[contact]!, view.valueEnd[contact]!)) return undefined;
  const target = toText(response, address.uriStart, address.uriEnd);
  const routes: string[] = [];
  lines: for (let i = 0; i < view.headerCount; i++) {
    if (view.code[i] !== HEADER.recordRoute) continue;
    let at = view.valueStart[i]!;
    while (nextAddress(response, at, view.valueEnd[i]!)) {
      if (uri.parse(response, address.uriStart, address.uriEnd) && isTokenLength(uri.userEnd - uri.userStart))
        break lines;
      routes.unshift(`Route: <${toText(response, address.uriStart, address.uriEnd)}>\r\n`);
      at = address.end;
    }
  }
  const line = (code: number) => {
    const i = view.first[code]!;
    return toText(response, view.lineStart[i]!, view.lineEnd[i]!);
  };
  const make = (method: string, cseq: number) =>
    toBytes(
      `${method} ${target} SIP/2.0\r\n${new TextDecoder().decode(leaving.via[SIDE.backends])}-${method}-${view.cseq}-${Date.now().toString(36)};rport\r\n` +
        `Max-Forwards: 70\r\n${routes.join('')}${line(HEADER.from)}${line(HEADER.to)}${line(HEADER.callId)}CSeq: ${cseq} ${method}\r\nContent-Length: 0\r\n\r\n`,
    );
  return [make('ACK', view.cseq), make('BYE', view.cseq + 1)];
}
