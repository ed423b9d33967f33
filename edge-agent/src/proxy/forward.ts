import { type Arena, type Endpoint, TRANSPORT } from '../ports.ts';
import { copyEndpoint } from '../sip/endpoint.ts';
import { hash32 } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { METHOD } from '../sip/method.ts';
import { equalsNoCase, put, putDecimal, toBytes } from '../sip/text.ts';
import { branchKey, identify, makeBranch, putBranch } from '../transaction/branch.ts';
import { clientKey, hasRegId, registrationKeys } from './client-key.ts';
import { rewriteContacts } from './contact.ts';
import { type Context, HOP } from './context.ts';
import { prepareFlow, putFlow } from './flow.ts';
import { writeAck, writeCancel } from './hop.ts';
import { goesByTcp } from './large.ts';
import { addContentLength } from './length.ts';
import { requestSent } from './observe.ts';
import { type Listener, SIDE, type Side } from './runtime.ts';
import { putToken, type Token } from './token.ts';
import { dropTraceParents, putTraceParent } from './trace-parent.ts';
import { noteSource, responsePort } from './via.ts';

export const RECORD_ROUTE = toBytes('Record-Route: <sip:');
const PATH = toBytes('Path: <sip:');
const SUPPORTED_PATH = toBytes('Supported: path\r\n');
const MAX_FORWARDS = toBytes('Max-Forwards: 70\r\n');
const RPORT_CRLF = toBytes(';rport\r\n');
const FLOW = toBytes(';w=');
const PATH_TAG = toBytes('path');
/** In place of the end of {@link putUri}'s text. */
const END_OF_URI = 3;
const OUTBOUND = toBytes(';ob>\r\n');

/** Methods that create dialogs, whose later requests must come back through us (RFC 3261 §16.6 item 4, RFC 6665, RFC 3515). */
export const CREATES_DIALOG = new Uint8Array(16);
for (const method of [METHOD.INVITE, METHOD.SUBSCRIBE, METHOD.REFER]) CREATES_DIALOG[method] = 1;

/**
 * Forwards to a backend of the farm. `source`: index of the backend that sent it, -1 for a client. `fresh`: no token came with it, so a request
 * that creates a dialog gets one, and so does a REGISTER in mode `path`.
 */
export function forwardToBackend(
  ctx: Context,
  from: Endpoint,
  incoming: Listener,
  backend: number,
  source: number,
  fresh: boolean,
): void {
  const { output, target } = ctx;
  const { farm } = incoming;
  const chosen = farm.backends[backend]!;
  let leaving = incoming.towards[backend]!;
  if (registersNew(ctx, source, fresh) && farm.plan.registration === 'contact')
    rewriteContacts(ctx, from, incoming, leaving);
  if (farm.trace !== undefined) dropTraceParents(ctx.message, ctx.edits);
  const arena = output.arena();
  const start = arena.used;
  noteClient(ctx, from, incoming, source);
  putOwn(ctx, arena, from, incoming, leaving, backend, source, fresh);
  const byTcp = incoming.towardsByTcp[backend];
  if (byTcp !== undefined && goesByTcp(ctx, farm, chosen, arena.used - start)) {
    leaving = byTcp;
    arena.used = start;
    putOwn(ctx, arena, from, incoming, leaving, backend, source, fresh);
  }
  write(ctx, from, leaving, SIDE.backends, arena, start);
  copyEndpoint(target, chosen.endpoint);
  target.transport = leaving.plan.transport;
  if (ctx.hop === HOP.request) requestSent(ctx, incoming, backend, source, !fresh);
  if (target.transport === TRANSPORT.udp) output.datagram(leaving, target, ctx.splice);
  else output.dial(leaving, target, ctx.splice);
}

/** A client's REGISTER that is to lead back through here. */
const registersNew = ({ message }: Context, source: number, fresh: boolean): boolean =>
  fresh && source < 0 && message.method === METHOD.REGISTER;

/** What a request towards a backend gets of us on top: Via, and Record-Routes or Path where it makes a dialog or a binding. */
function putOwn(
  ctx: Context,
  arena: Arena,
  from: Endpoint,
  incoming: Listener,
  leaving: Listener,
  backend: number,
  source: number,
  fresh: boolean,
): void {
  const { message } = ctx;
  const { farm } = incoming;
  const { id } = farm.backends[backend]!.plan;
  putVia(ctx, arena, incoming, leaving, SIDE.backends, id, from);
  if (farm.trace !== undefined) putTraceParent(ctx, arena, farm.trace);
  if (fresh && !message.hasToTag && CREATES_DIALOG[message.method] === 1) {
    const token = senderToken(ctx, id, from, incoming, source);
    const fromSide = source >= 0 ? SIDE.backends : SIDE.clients;
    putRecordRoutes(arena, token, leaving, SIDE.backends, incoming, fromSide);
  } else if (registersNew(ctx, source, fresh) && farm.plan.registration === 'path') {
    const token = senderToken(ctx, id, from, incoming, source);
    token.path = true;
    // By the backend's own transport, however long this REGISTER is: bindings outlast it.
    arena.used = putUri(arena, PATH, token, incoming.towards[backend]!, SIDE.backends);
    if (isFirstHop(ctx) && hasRegId(message)) arena.used = put(arena.bytes, arena.used - END_OF_URI, OUTBOUND);
    if (!supportsPath(message)) arena.used = put(arena.bytes, arena.used, SUPPORTED_PATH);
  } else if (!fresh && mayMakeDialog(message)) {
    const fromSide = source >= 0 ? SIDE.backends : SIDE.clients;
    putRecordRoutes(arena, ctx.token, leaving, SIDE.backends, incoming, fromSide);
  }
}

/** Only the phone stands before us: RFC 5626 §5.1 has us say `ob` then, or a registrar that speaks Outbound answers 439. */
const isFirstHop = ({ message, via }: Context): boolean =>
  message.times[HEADER.via] === 1 && via.end >= message.valueEnd[message.first[HEADER.via]!]!;

/**
 * A NOTIFY may overtake the answer to its SUBSCRIBE, and is then what makes the dialog: its Record-Routes, with the token that it came by, are the subscriber's
 * route set (RFC 6665 §4.3 and §4.4.1). Within a dialog that stands they change nothing.
 */
export const mayMakeDialog = (message: MessageView): boolean => message.method === METHOD.NOTIFY && message.hasToTag;

/** A client that registers over a connection: what it will be found by after it reconnected goes along in our Via. */
function noteClient(ctx: Context, from: Endpoint, incoming: Listener, source: number): void {
  const { message, registered } = ctx;
  registered.count = 0;
  if (message.method !== METHOD.REGISTER || source >= 0 || from.transport === TRANSPORT.udp) return;
  registrationKeys(message, incoming.farm, registered);
  const { client } = registered;
  client.ip0 = from.ip0;
  client.ip1 = from.ip1;
  client.ip2 = from.ip2;
  client.ip3 = from.ip3;
  client.port = from.port;
}

/** Our Via (RFC 3261 §16.6 item 8), with the flow that the response goes back by where the request came over a connection. */
export function putVia(
  ctx: Context,
  arena: Arena,
  incoming: Listener,
  leaving: Listener,
  side: Side,
  branchId: number,
  from: Endpoint,
): void {
  const { message, via, back } = ctx;
  const { key } = incoming.farm.keys[0]!;
  const stream = from.transport !== TRANSPORT.udp;
  const { agent } = ctx.runtime.plan;
  let flow = 0;
  if (stream) {
    back.ip0 = back.ip1 = back.ip2 = back.ip3 = back.port = 0;
    back.agent = agent;
    back.worker = ctx.runtime.worker;
    back.connection = from.connection;
    flow = prepareFlow(back, ctx.registered);
  } else {
    back.ip0 = from.ip0;
    back.ip1 = from.ip1;
    back.ip2 = from.ip2;
    back.ip3 = from.ip3;
    back.port = responsePort(message.bytes, via, from);
    back.agent = back.worker = back.connection = back.brought = 0;
  }
  ctx.identity ||= identify(key, message, via);
  makeBranch(key, ctx.identity, branchId, ctx.loop, incoming.ordinal, back);
  ctx.branch = branchKey();
  let at = put(arena.bytes, arena.used, leaving.via[side]);
  at = putBranch(arena.bytes, at);
  if (incoming.farm.split && !stream) {
    // Of a datagram's request the branch must not depend on who forwards it; where the response is wanted stands beside it only.
    back.agent = agent;
    back.worker = ctx.runtime.worker;
    flow = prepareFlow(back, ctx.registered);
  }
  if (flow > 0) at = putFlow(arena.bytes, put(arena.bytes, at, FLOW), flow);
  arena.used = put(arena.bytes, at, RPORT_CRLF);
}

export function fillToken(
  ctx: Context,
  backend: number,
  client: Endpoint,
  listener: number,
  initiatorIsBackend: boolean,
): Token {
  const { message, fresh, runtime } = ctx;
  fresh.path = false;
  fresh.initiatorIsBackend = initiatorIsBackend;
  fresh.backend = backend;
  fresh.agent = runtime.plan.agent;
  fresh.worker = runtime.worker;
  fresh.listener = listener;
  fresh.fromTag = hash32(message.bytes, message.fromTagStart, message.fromTagEnd);
  fresh.start = ctx.startSecond & 0xffffff;
  copyEndpoint(fresh.client, client);
  return fresh;
}

/** The token of what the sender of this request starts: a dialog, or a registration. */
function senderToken(ctx: Context, backend: number, from: Endpoint, incoming: Listener, source: number): Token {
  const { message } = ctx;
  const token = fillToken(ctx, backend, from, incoming.ordinal, false);
  if (from.transport !== TRANSPORT.udp && source < 0) {
    token.clientKey = clientKey(message, incoming.farm, message.method === METHOD.REGISTER ? HEADER.to : HEADER.from);
    return token;
  }
  // Never looked up; tells the branches of requests to several clients apart.
  const contact = message.first[HEADER.contact]!;
  token.clientKey = contact < 0 ? 0 : hash32(message.bytes, message.valueStart[contact]!, message.valueEnd[contact]!);
  return token;
}

/**
 * Record-Route (RFC 3261 §16.6 item 4). Two where the sides differ in address or transport, the one towards the next hop on top (RFC 5658):
 * each side then comes back to an address that it can reach.
 */
export function putRecordRoutes(
  arena: Arena,
  token: Token,
  leaving: Listener,
  leavingSide: Side,
  incoming: Listener,
  incomingSide: Side,
): void {
  arena.used = putUri(arena, RECORD_ROUTE, token, leaving, leavingSide);
  if (leaving.uriKey[leavingSide] !== incoming.uriKey[incomingSide])
    arena.used = putUri(arena, RECORD_ROUTE, token, incoming, incomingSide);
}

export function putUri(arena: Arena, name: Uint8Array, token: Token, listener: Listener, side: Side): number {
  const signer = listener.farm.keys[0]!;
  token.keyId = signer.id;
  const at = put(arena.bytes, arena.used, name);
  return put(arena.bytes, putToken(arena.bytes, at, token, signer.key), listener.uriTail[side]);
}

/** What is forwarded: the request itself, or an ACK or CANCEL of our own along the same way. */
export function write(ctx: Context, from: Endpoint, leaving: Listener, side: Side, arena: Arena, start: number): void {
  if (ctx.hop === HOP.cancel) writeCancel(ctx, leaving, side);
  else if (ctx.hop === HOP.ack) writeAck(ctx, leaving, side, ctx.ackTo);
  else assemble(ctx, from, leaving, arena, start);
}

/** Start line, our new headers, and the received message with its edits. */
function assemble(ctx: Context, from: Endpoint, leaving: Listener, arena: Arena, start: number): void {
  const { message, edits, splice } = ctx;
  const { bytes } = message;
  if (message.maxForwards < 0) arena.used = put(arena.bytes, arena.used, MAX_FORWARDS);
  else decrementMaxForwards(message);
  const end = arena.used;
  noteSource(bytes, ctx.via, from, arena, edits);
  splice.reset();
  edits.apply(splice, bytes, message.start, message.headersStart, arena.bytes);
  splice.add(arena.bytes, start, end);
  // On a stream the length of the body must be said, though a datagram may leave it out (RFC 3261 §18.3).
  if (leaving.plan.transport !== TRANSPORT.udp && message.first[HEADER.contentLength]! < 0) addContentLength(ctx);
  edits.apply(splice, bytes, message.headersStart, message.end, arena.bytes);
}

/** Counts down in place, in as many digits as before: `70` → `69`, `10` → `09` (1*DIGIT allows it), and nothing moves. */
function decrementMaxForwards(message: MessageView): void {
  const line = message.first[HEADER.maxForwards]!;
  const start = message.valueStart[line]!;
  const end = message.valueEnd[line]!;
  message.bytes.fill(48, start, end);
  const value = message.maxForwards - 1;
  putDecimal(message.bytes, end - (value > 99 ? 3 : value > 9 ? 2 : 1), value);
}

/** Some Supported line lists `path`. */
function supportsPath(message: MessageView): boolean {
  for (let i = message.first[HEADER.supported]!; i >= 0 && i < message.headerCount; i++) {
    if (message.code[i] !== HEADER.supported) continue;
    const end = message.valueEnd[i]!;
    let from = message.valueStart[i]!;
    while (from < end) {
      let to = from;
      while (to < end && message.bytes[to] !== 44) to++;
      let a = from;
      let b = to;
      while (a < b && message.bytes[a]! <= 32) a++;
      while (b > a && message.bytes[b - 1]! <= 32) b--;
      if (equalsNoCase(message.bytes, a, b, PATH_TAG)) return true;
      from = to + 1;
    }
  }
  return false;
}
