import { type Endpoint, TRANSPORT } from '../ports.ts';
import { copyEndpoint, isIPv4 } from '../sip/endpoint.ts';
import { HEADER } from '../sip/header.ts';
import { address, nextAddress, UriView } from '../sip/uri.ts';
import { isDevice } from './client-key.ts';
import { type Context, HOP } from './context.ts';
import { createClientFlow } from './flows.ts';
import {
  CREATES_DIALOG,
  fillToken,
  mayMakeDialog,
  putRecordRoutes,
  putUri,
  putVia,
  RECORD_ROUTE,
  write,
} from './forward.ts';
import { requestSent } from './observe.ts';
import { type FarmRuntime, type Listener, outgoing, SIDE, SOURCE } from './runtime.ts';
import { readToken, type Token } from './token.ts';

/**
 * Forwards to the client that ctx.token names, on behalf of backend `source`, or of a peer agent that could not reach it itself. False: it cannot be
 * reached, its connection is gone.
 */
export function forwardToClient(ctx: Context, from: Endpoint, incoming: Listener, source: number): boolean {
  const { message, token, output, target } = ctx;
  const { farm } = incoming;
  const datagram = token.client.transport === TRANSPORT.udp;
  if (!datagram && !findFlow(ctx, farm)) return source >= 0 && forwardToPeer(ctx, from, incoming, source);
  const leaving = listenerOf(incoming, token);
  if (leaving === undefined) return false;
  const arena = output.arena();
  const start = arena.used;
  ctx.registered.count = 0;
  putVia(ctx, arena, incoming, leaving, SIDE.clients, token.clientKey & 0xffffff, from);
  if (token.path && !message.hasToTag && CREATES_DIALOG[message.method] === 1) {
    if (source >= 0)
      putRecordRoutes(arena, dialogToken(ctx, incoming, source), leaving, SIDE.clients, incoming, SIDE.backends);
    // The peer's Record-Route is the one towards the PBX; ours has the same token, so that whoever meets both takes both.
    else if (readPeersToken(ctx, farm)) arena.used = putUri(arena, RECORD_ROUTE, ctx.fresh, leaving, SIDE.clients);
    else return false;
  } else if (!token.path && mayMakeDialog(message))
    putRecordRoutes(arena, token, leaving, SIDE.clients, incoming, SIDE.backends);
  write(ctx, from, leaving, SIDE.clients, arena, start);
  if (ctx.hop === HOP.request) requestSent(ctx, incoming, -1, source, true);
  copyEndpoint(target, token.client);
  if (datagram) {
    output.datagram(leaving, target, ctx.splice);
    return true;
  }
  return output.stream(leaving, token.worker, target, ctx.splice);
}

/** The listener that the token's client is connected to, or one like it. */
function listenerOf(incoming: Listener, { client, listener }: Token): Listener | undefined {
  const own = incoming.farm.listeners[listener];
  const v4 = isIPv4(client);
  const fits = own !== undefined && own.plan.transport === client.transport && own.v4 === v4;
  return fits ? own : outgoing(incoming, client.transport, v4);
}

/** The token of the dialog that backend `source` starts with the client of ctx.token. */
function dialogToken(ctx: Context, incoming: Listener, source: number): Token {
  const { token } = ctx;
  const initiator = incoming.farm.backends[source]!.plan.id;
  const record = fillToken(ctx, initiator, token.client, token.listener, true);
  record.agent = token.agent;
  record.worker = token.worker;
  record.clientKey = token.clientKey;
  return record;
}

const found = createClientFlow();

/**
 * Brings ctx.token to the connection by which its client can be reached now: the one by which a device has registered last; of a client that does not
 * say which device it is, the one that the token names, and only where that is gone the other. False where there is none.
 */
function findFlow(ctx: Context, farm: FarmRuntime): boolean {
  const { token, output, runtime } = ctx;
  const open = token.agent === runtime.plan.agent && output.isOpen(token.worker, token.client.connection);
  if (open && !isDevice(token.clientKey)) return true;
  if (!output.flows.find(farm.id, token.clientKey, found)) return open;
  token.agent = runtime.plan.agent;
  token.worker = found.worker;
  token.listener = found.listener;
  copyEndpoint(token.client, found.client);
  return true;
}

/**
 * Forwards to the agent that the client of ctx.token is connected to. It gets the request with its Routes as they came, and routes it by the token itself;
 * it passes nothing on to a third agent, whatever it finds. False: that agent is not known (any more), or this one.
 */
function forwardToPeer(ctx: Context, from: Endpoint, incoming: Listener, source: number): boolean {
  const { message, token, output, target, edits } = ctx;
  const leaving = incoming.farm.peerListener;
  if (leaving === undefined || !peerEndpoint(ctx, leaving, token.agent)) return false;
  const arena = output.arena();
  const start = arena.used;
  ctx.registered.count = 0;
  putVia(ctx, arena, incoming, leaving, SIDE.backends, token.clientKey & 0xffffff, from);
  if (token.path && !message.hasToTag && CREATES_DIALOG[message.method] === 1)
    arena.used = putUri(arena, RECORD_ROUTE, dialogToken(ctx, incoming, source), incoming, SIDE.backends);
  edits.reset();
  write(ctx, from, leaving, SIDE.backends, arena, start);
  if (ctx.hop === HOP.request) requestSent(ctx, incoming, -1, source, true);
  peerEndpoint(ctx, leaving, token.agent);
  output.datagram(leaving, target, ctx.splice);
  return true;
}

/** Where another agent listens for this farm, into ctx.target. False where it is not known, or this one. */
export function peerEndpoint(ctx: Context, leaving: Listener, agent: number): boolean {
  const { target, runtime, output } = ctx;
  if (agent === runtime.plan.agent || !output.peers.find(agent, target)) return false;
  target.transport = leaving.plan.transport;
  target.port = leaving.plan.port;
  target.connection = 0;
  return isIPv4(target) === leaving.v4;
}

/** Where requests come from: the index of a backend, or one of {@link SOURCE}. */
export function sourceOf(ctx: Context, from: Endpoint, incoming: Listener): number {
  const backend = incoming.farm.sources.find(from);
  if (backend >= 0) return backend;
  return isPeer(ctx, from, incoming) ? SOURCE.peer : SOURCE.client;
}

/** Sent by another agent of the site, from its listener to ours. */
export const isPeer = (ctx: Context, from: Endpoint, incoming: Listener): boolean =>
  incoming === incoming.farm.peerListener && from.port === incoming.plan.port && ctx.output.peers.has(from);

const uri = new UriView();

/** Reads the token of the Record-Route that a peer has added, into ctx.fresh. */
function readPeersToken(ctx: Context, farm: FarmRuntime): boolean {
  const { message } = ctx;
  const { bytes } = message;
  const line = message.first[HEADER.recordRoute]!;
  if (line < 0 || !nextAddress(bytes, message.valueStart[line]!, message.valueEnd[line]!)) return false;
  if (!uri.parse(bytes, address.uriStart, address.uriEnd)) return false;
  return readToken(ctx.fresh, farm.keys, bytes, uri.userStart, uri.userEnd);
}
