import type { Arena, Endpoint } from '../ports.ts';
import { isIPv4 } from '../sip/endpoint.ts';
import { formatWords, parseWords } from '../sip/host.ts';
import { put, putDecimal, toBytes } from '../sip/text.ts';
import type { ViaView } from '../sip/via.ts';
import type { ResponseTarget } from '../transaction/branch.ts';
import type { Edits } from './edits.ts';

const RECEIVED = toBytes(';received=');
const RPORT = toBytes(';rport=');

/** The sent-by host of `via` is the address that the request came from. */
export function sentByIsSource(bytes: Uint8Array, via: ViaView, from: Endpoint): boolean {
  const ip = parseWords(bytes, via.hostStart, via.hostEnd);
  return ip !== undefined && ip[3] === from.ip3 && ip[2] === from.ip2 && ip[1] === from.ip1 && ip[0] === from.ip0;
}

/**
 * Notes in the top Via where the request really came from (RFC 3261 §18.2.1, RFC 3581 §4). `rport` is filled in also for a client that
 * did not ask but sits behind a NAT (its sent-by differs from its source): its sent-by port leads nowhere.
 * A `received` that the client brought itself is removed: responses follow what we saw, not what it says.
 */
export function noteSource(bytes: Uint8Array, via: ViaView, from: Endpoint, arena: Arena, edits: Edits): void {
  const same = sentByIsSource(bytes, via, from);
  if (via.receivedAt > 0) edits.remove(via.receivedAt, via.receivedStop);
  if (same && via.rportAt === 0) return;
  const start = arena.used;
  let at = put(arena.bytes, start, RECEIVED);
  at = putAddress(arena.bytes, at, from);
  at = put(arena.bytes, at, RPORT);
  at = putDecimal(arena.bytes, at, from.port);
  arena.used = at;
  if (via.rportAt > 0) edits.remove(via.rportAt, via.rportEnd);
  edits.replace(via.paramsStart, via.paramsStart, start, at);
}

/** The port that responses to a UDP request go to; what {@link noteSource} writes down and {@link responseTarget} finds again. */
export const responsePort = (bytes: Uint8Array, via: ViaView, from: Endpoint): number =>
  via.rportAt === 0 && sentByIsSource(bytes, via, from) ? via.port || 5060 : from.port;

/** Writes an address literal, without brackets. */
export function putAddress(to: Uint8Array, at: number, e: Endpoint): number {
  if (!isIPv4(e)) return put(to, at, toBytes(formatWords(e.ip0, e.ip1, e.ip2, e.ip3)));
  let i = putDecimal(to, at, e.ip3 >>> 24);
  to[i++] = 46;
  i = putDecimal(to, i, (e.ip3 >>> 16) & 255);
  to[i++] = 46;
  i = putDecimal(to, i, (e.ip3 >>> 8) & 255);
  to[i++] = 46;
  return putDecimal(to, i, e.ip3 & 255);
}

/**
 * Where a response goes whose top Via is `via` (RFC 3261 §18.2.2, RFC 3581 §4): `received` or else sent-by, `rport` or else the sent-by port.
 * False where that is no address: hosts are not looked up on the packet path, and none needs to be, since we add `received` ourselves.
 */
export function responseTarget(bytes: Uint8Array, via: ViaView, to: ResponseTarget): boolean {
  const ip =
    via.receivedEnd > via.receivedStart
      ? parseWords(bytes, via.receivedStart, via.receivedEnd)
      : parseWords(bytes, via.hostStart, via.hostEnd);
  if (ip === undefined) return false;
  to.ip0 = ip[0]!;
  to.ip1 = ip[1]!;
  to.ip2 = ip[2]!;
  to.ip3 = ip[3]!;
  to.port = via.rport || via.port || 5060;
  to.agent = to.worker = to.connection = to.brought = 0;
  return true;
}
