import { type Endpoint, TRANSPORT } from '../ports.ts';
import { copyEndpoint } from '../sip/endpoint.ts';
import { hash32 } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { METHOD } from '../sip/method.ts';
import { put, putDecimal, toBytes, toText } from '../sip/text.ts';
import type { LocalStatus } from '../telemetry/slab.ts';
import type { Context } from './context.ts';
import { answeredHere } from './observe.ts';
import type { Listener } from './runtime.ts';
import { noteSource, responsePort } from './via.ts';

const VERSION = toBytes('SIP/2.0 ');
const CRLF = toBytes('\r\n');
const TAG = toBytes(';tag=');
const END = toBytes('Content-Length: 0\r\n\r\n');
const HEX = toBytes('0123456789abcdef');

const REASONS: Record<LocalStatus, Uint8Array> = {
  100: toBytes('Trying'),
  200: toBytes('OK'),
  400: toBytes('Bad Request'),
  403: toBytes('Forbidden'),
  408: toBytes('Request Timeout'),
  416: toBytes('Unsupported URI Scheme'),
  420: toBytes('Bad Extension'),
  430: toBytes('Flow Failed'),
  440: toBytes('Max-Breadth Exceeded'),
  482: toBytes('Loop Detected'),
  483: toBytes('Too Many Hops'),
  487: toBytes('Request Terminated'),
  503: toBytes('Service Unavailable'),
  505: toBytes('Version Not Supported'),
};

/** Header lines that some statuses bring, each with its CRLF. */
export const EXTRA = {
  none: new Uint8Array(0),
  retryAfter: toBytes('Retry-After: 5\r\n'),
  allow: toBytes('Accept: application/sdp\r\nSupported: path\r\n'),
} as const;

/**
 * Answers a request ourselves, statelessly (RFC 3261 §8.2.7): same Vias, From, Call-ID, CSeq; a To tag that a retransmission gets again.
 * An ACK is never answered (§17). `extra`: whole header lines.
 */
export function reply(
  ctx: Context,
  from: Endpoint,
  incoming: Listener,
  status: LocalStatus,
  extra: Uint8Array = EXTRA.none,
): void {
  const { message, via, edits, splice, output, counters } = ctx;
  if (message.method === METHOD.ACK) return;
  counters.local(status);
  const { bytes } = message;
  const arena = output.arena();
  splice.reset();
  edits.reset();
  const viaLine = message.first[HEADER.via]!;
  if (!via.parse(bytes, message.valueStart[viaLine]!, message.valueEnd[viaLine]!)) return;
  noteSource(bytes, via, from, arena, edits);
  answeredHere(ctx, incoming, status);

  const start = arena.used;
  let at = put(arena.bytes, start, VERSION);
  at = putDecimal(arena.bytes, at, status);
  arena.bytes[at++] = 32;
  at = put(arena.bytes, at, REASONS[status]);
  at = put(arena.bytes, at, CRLF);
  splice.add(arena.bytes, start, at);
  arena.used = at;
  for (let i = 0; i < message.headerCount; i++) {
    const code = message.code[i];
    // A 100 has no tag (RFC 3261 §8.2.6.1).
    if (code === HEADER.to && status > 100) addTo(ctx, i, arena);
    else if (
      code === HEADER.via ||
      code === HEADER.from ||
      code === HEADER.to ||
      code === HEADER.callId ||
      code === HEADER.cseq
    )
      edits.apply(splice, bytes, message.lineStart[i]!, message.lineEnd[i]!, arena.bytes);
  }
  const tail = arena.used;
  at = put(arena.bytes, put(arena.bytes, tail, extra), END);
  splice.add(arena.bytes, tail, at);
  arena.used = at;
  sendBack(ctx, from, incoming);
}

/** The To line, with a tag where the request had none: a hash of its top Via, so that every retransmission gets the same. */
function addTo(ctx: Context, line: number, arena: { bytes: Uint8Array; used: number }): void {
  const { message, via, splice } = ctx;
  const { bytes } = message;
  if (message.hasToTag || (!message.complete && looksTagged(message, line)))
    return splice.add(bytes, message.lineStart[line]!, message.lineEnd[line]!);
  splice.add(bytes, message.lineStart[line]!, message.valueEnd[line]!);
  const start = arena.used;
  let at = put(arena.bytes, start, TAG);
  const tag = hash32(bytes, via.start, via.end);
  for (let shift = 28; shift >= 0; shift -= 4) arena.bytes[at++] = HEX[(tag >>> shift) & 15]!;
  at = put(arena.bytes, at, CRLF);
  splice.add(arena.bytes, start, at);
  arena.used = at;
}

/** A To line of a message that was found malformed before its tags were read. */
const looksTagged = (message: MessageView, line: number): boolean =>
  /;\s*tag\s*=/i.test(toText(message.bytes, message.valueStart[line]!, message.valueEnd[line]!));

/** To where the request came from: its connection, or its address with the port that RFC 3581 gives. */
function sendBack(ctx: Context, from: Endpoint, incoming: Listener): void {
  const { via, message, target, output } = ctx;
  copyEndpoint(target, from);
  if (from.transport !== TRANSPORT.udp) {
    output.stream(incoming, ctx.runtime.worker, target, ctx.splice);
    return;
  }
  target.port = responsePort(message.bytes, via, from);
  output.datagram(incoming, target, ctx.splice);
}
