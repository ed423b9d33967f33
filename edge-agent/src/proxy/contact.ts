import { type Arena, type Endpoint, TRANSPORT, type TransportCode } from '../ports.ts';
import { copyEndpoint, isIPv4 } from '../sip/endpoint.ts';
import { digest, type HashKey, hashBuffer, sipHash24 } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { put, putBase64Url, putRange, readBase64Url } from '../sip/text.ts';
import { address, nextAddress, SCHEME, UriView } from '../sip/uri.ts';
import { clientKey } from './client-key.ts';
import type { Context } from './context.ts';
import type { Edits } from './edits.ts';
import { type FarmRuntime, type Listener, SIDE } from './runtime.ts';

/**
 * `registration: contact`: every Contact of a REGISTER becomes a URI of ours that says how to reach the client and what it had written itself. It is the same for
 * the same client whenever and wherever it registers (no agent, worker, connection or time), or each of these would make another binding at the PBX, and
 * the phone would ring twice.
 *
 *   0    version (2 bits, 2) | IPv6 (1) | 0 (2) | transport (3)
 *   1    key id
 *   2…   of UDP: the client's address, 4 or 16 bytes, and port; of streams: its client key, by which flows.ts knows its connection
 *   …    the Contact's URI as it was
 *   …    SipHash-2-4 of all that, 8 bytes
 */
const VERSION = 2;
const MAC = 8;
/** Longest URI that fits into one of ours of 255 bytes, with the longest address and `;transport=tcp` behind it. */
const LONGEST = { v4: 140, v6: 108 } as const;
/** Registrars limit them as well; more do not fit into the memory for one message's edits. */
const MOST_CONTACTS = 8;
/** Of the memory for one message's edits, what other edits may need. */
const REST_ROOM = 1024;
const EDIT_ROOM = 4096;
/** Shorter users are never ours: a flow, a MAC and the shortest URI. */
const SHORTEST_USER = 24;

const raw = hashBuffer(2 + 18 + LONGEST.v4 + MAC);
const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
const uri = new UriView();

/** What {@link readContactUser} read. */
const read = {
  client: { transport: 0, ip0: 0, ip1: 0, ip2: 0, ip3: 0, port: 0, connection: 0 } as Endpoint,
  clientKey: 0,
  /** The original URI, within {@link raw}. */
  start: 0,
  end: 0,
};

/** False: a REGISTER with Contacts that cannot be rewritten, too many or too long ones. */
export function contactsFit(message: MessageView, farm: FarmRuntime): boolean {
  const longest = farm.listeners.every((l) => l.v4) ? LONGEST.v4 : LONGEST.v6;
  let count = 0;
  return eachContact(message, (start, end) => end - start <= longest && ++count <= MOST_CONTACTS);
}

/** Rewrites the Contacts of a REGISTER from a client. `leaving`: what the PBX is to reach us by. */
export function rewriteContacts(ctx: Context, from: Endpoint, incoming: Listener, leaving: Listener): void {
  const { message, edits } = ctx;
  const { bytes } = message;
  const key = from.transport === TRANSPORT.udp ? 0 : clientKey(message, incoming.farm, HEADER.to);
  const arena = ctx.output.arena();
  eachContact(message, (start, end) => {
    const bare = bytes[start - 1] !== 60;
    const at = arena.used;
    if (bare) arena.bytes[arena.used++] = 60;
    arena.used = put(arena.bytes, arena.used, SIP);
    arena.used = putContactUser(arena, from, key, bytes, start, end, incoming.farm);
    arena.used = put(arena.bytes, arena.used, leaving.contactTail[SIDE.backends]);
    if (bare) arena.bytes[arena.used++] = 62;
    edits.replace(start, end, at, arena.used);
    return true;
  });
}
const SIP = Uint8Array.of(115, 105, 112, 58);

/** Puts the clients' own Contacts back into the answer to a REGISTER, of all bindings that are ours. */
export function restoreContacts(response: MessageView, farm: FarmRuntime, arena: Arena, edits: Edits): void {
  const { bytes } = response;
  const limit = Math.min(arena.used + EDIT_ROOM, arena.bytes.length) - REST_ROOM;
  eachContact(response, (start, end) => {
    if (!uri.parse(bytes, start, end) || !readContactUser(farm, bytes, uri.userStart, uri.userEnd)) return true;
    if (arena.used + read.end - read.start > limit || !edits.room) return false;
    const at = arena.used;
    arena.used = putRange(arena.bytes, at, raw, read.start, read.end);
    edits.replace(start, end, at, arena.used);
    return true;
  });
}

/**
 * The request at hand is for a URI that {@link rewriteContacts} made: ctx.token becomes one that leads to its client, and the Request-URI what that client
 * had registered.
 */
export function takeContact(ctx: Context, farm: FarmRuntime, edits: Edits): boolean {
  const { message, token, output } = ctx;
  if (!readContactUser(farm, message.bytes, ctx.uri.userStart, ctx.uri.userEnd)) return false;
  token.path = true;
  token.initiatorIsBackend = true;
  token.agent = ctx.runtime.plan.agent;
  token.worker = 0;
  token.listener = 0;
  token.clientKey = read.clientKey;
  copyEndpoint(token.client, read.client);
  const arena = output.arena();
  const at = arena.used;
  arena.used = putRange(arena.bytes, at, raw, read.start, read.end);
  edits.replace(message.uriStart, message.uriEnd, at, arena.used);
  return true;
}

/** Calls `take` with every SIP URI among the Contacts, until it says no. False: it did, or a Contact holds what no URI may. */
function eachContact(message: MessageView, take: (start: number, end: number) => boolean): boolean {
  const { bytes } = message;
  for (let line = 0; line < message.headerCount; line++) {
    if (message.code[line] !== HEADER.contact) continue;
    const end = message.valueEnd[line]!;
    for (let at = message.valueStart[line]!; nextAddress(bytes, at, end); at = address.end) {
      const { uriStart, uriEnd, end: next } = address;
      if (!uri.parse(bytes, uriStart, uriEnd) || uri.scheme === SCHEME.tel) continue;
      for (let i = uriStart; i < uriEnd; i++) if (bytes[i]! <= 32 || bytes[i] === 34) return false;
      if (!take(uriStart, uriEnd)) return false;
      address.end = next;
    }
  }
  return true;
}

function putContactUser(
  arena: Arena,
  from: Endpoint,
  key: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  farm: FarmRuntime,
): number {
  const signer = farm.keys[0]!;
  const v4 = isIPv4(from);
  raw[0] = (VERSION << 6) | (v4 ? 0 : 32) | from.transport;
  raw[1] = signer.id;
  let i = 2;
  if (from.transport !== TRANSPORT.udp) {
    view.setUint32(i, key);
    i += 4;
  } else {
    if (!v4) {
      view.setUint32(i, from.ip0);
      view.setUint32(i + 4, from.ip1);
      view.setUint32(i + 8, from.ip2);
      i += 12;
    }
    view.setUint32(i, from.ip3);
    view.setUint16(i + 4, from.port);
    i += 6;
  }
  i = putRange(raw, i, bytes, start, end);
  sipHash24(signer.key, raw, 0, i);
  view.setInt32(i, digest[0]!);
  view.setInt32(i + 4, digest[1]!);
  return putBase64Url(arena.bytes, arena.used, raw, i + MAC);
}

/** Reads a user part into {@link read}. False where it is none of ours, or not signed with one of the farm's keys. */
function readContactUser(farm: FarmRuntime, bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < SHORTEST_USER) return false;
  const length = readBase64Url(bytes, start, end, raw) - MAC;
  if (raw[0]! >>> 6 !== VERSION) return false;
  const v4 = (raw[0]! & 32) === 0;
  const transport = (raw[0]! & 7) as TransportCode;
  const stream = transport !== TRANSPORT.udp;
  const at = stream ? 6 : v4 ? 8 : 20;
  if (length <= at || !verify(farm.keys, length)) return false;
  const { client } = read;
  client.transport = transport;
  client.connection = 0;
  client.ip0 = stream || v4 ? 0 : view.getUint32(2);
  client.ip1 = stream || v4 ? 0 : view.getUint32(6);
  client.ip2 = stream || v4 ? 0xffff : view.getUint32(10);
  client.ip3 = stream ? 0 : view.getUint32(at - 6);
  client.port = stream ? 0 : view.getUint16(at - 2);
  read.clientKey = stream ? view.getUint32(2) : (client.ip3 ^ client.port) >>> 0;
  read.start = at;
  read.end = length;
  return true;
}

function verify(keys: readonly { id: number; key: HashKey }[], length: number): boolean {
  for (let k = 0; k < keys.length; k++) {
    if (keys[k]!.id !== raw[1]) continue;
    sipHash24(keys[k]!.key, raw, 0, length);
    return ((digest[0]! ^ view.getInt32(length)) | (digest[1]! ^ view.getInt32(length + 4))) === 0;
  }
  return false;
}
