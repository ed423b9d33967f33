import type { Endpoint, TransportCode } from '../ports.ts';
import { digest, type HashKey, hashBuffer, sipHash24 } from '../sip/hash.ts';
import { putBase64Url, readBase64Url } from '../sip/text.ts';

/**
 * The routing token: user part of our URIs in Record-Route and Path. It holds all that a later message of the dialog, or a request
 * towards a registered client, needs in order to be routed by any agent of the farm (docs/adr/0002).
 *
 *   0      version (2 bits, 1) | Path (1) | IPv6 (1) | transport (3) | the dialog's initiator is a backend (1)
 *   1      key id
 *   2–4    backend id
 *   5–6    agent number
 *   7      worker (4 bits) | ordinal of the client's listener within the farm (4)
 *   8–10   connection, 0 for UDP
 *   11–14  client key: hash of address-of-record and Contact, by which a client is found again after it reconnected
 *   15–18  hash of the From tag: which side a request of the dialog comes from
 *   19–21  second at which the dialog started, modulo 2^24
 *   22…    client address, 4 or 16 bytes, and port
 *   …      SipHash-2-4 of all that, 8 bytes
 *
 * 36 bytes with IPv4, 48 with IPv6: 48 or 64 characters.
 */
export interface Token {
  path: boolean;
  initiatorIsBackend: boolean;
  keyId: number;
  backend: number;
  agent: number;
  worker: number;
  listener: number;
  clientKey: number;
  fromTag: number;
  start: number;
  /** Transport, address, port and connection of the client. */
  client: Endpoint;
}

export const createToken = (): Token => ({
  path: false,
  initiatorIsBackend: false,
  keyId: 0,
  backend: 0,
  agent: 0,
  worker: 0,
  listener: 0,
  clientKey: 0,
  fromTag: 0,
  start: 0,
  client: { transport: 0, ip0: 0, ip1: 0, ip2: 0, ip3: 0, port: 0, connection: 0 },
});

const VERSION = 1;
const HEAD = 22;
const MAC = 8;
const raw = hashBuffer(HEAD + 16 + 2 + MAC);
const macWords = new DataView(raw.buffer, raw.byteOffset, raw.length);

/** Length of a token's text where it could be one at all; the only two lengths there are. */
export const isTokenLength = (length: number): boolean => length === 48 || length === 64;

/** Writes a token as text; returns the position behind it. `key` is the one named by `token.keyId`. */
export function putToken(to: Uint8Array, at: number, token: Token, key: HashKey): number {
  const { client } = token;
  const v4 = client.ip0 === 0 && client.ip1 === 0 && client.ip2 === 0xffff;
  raw[0] =
    (VERSION << 6) |
    (token.path ? 32 : 0) |
    (v4 ? 0 : 16) |
    (client.transport << 1) |
    (token.initiatorIsBackend ? 1 : 0);
  raw[1] = token.keyId;
  put24(2, token.backend);
  raw[5] = token.agent >>> 8;
  raw[6] = token.agent & 255;
  raw[7] = (token.worker << 4) | (token.listener & 15);
  put24(8, client.connection);
  put32(11, token.clientKey);
  put32(15, token.fromTag);
  put24(19, token.start);
  let i = HEAD;
  if (!v4) {
    put32(i, client.ip0);
    put32(i + 4, client.ip1);
    put32(i + 8, client.ip2);
    i += 12;
  }
  put32(i, client.ip3);
  raw[i + 4] = client.port >>> 8;
  raw[i + 5] = client.port & 255;
  i += 6;
  sipHash24(key, raw, 0, i);
  macWords.setInt32(i, digest[0]!);
  macWords.setInt32(i + 4, digest[1]!);
  return putBase64Url(to, at, raw, i + MAC);
}

/** Reads `bytes[start, end)` into `token`. False where it is no token, or none that was signed with one of the keys. */
export function readToken(
  token: Token,
  keys: readonly { id: number; key: HashKey }[],
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  if (!isTokenLength(end - start)) return false;
  const length = readBase64Url(bytes, start, end, raw);
  if (length < HEAD || raw[0]! >>> 6 !== VERSION) return false;
  const v4 = (raw[0]! & 16) === 0;
  const signed = HEAD + (v4 ? 6 : 18);
  if (length !== signed + MAC || !verify(keys, signed)) return false;
  token.path = (raw[0]! & 32) !== 0;
  token.initiatorIsBackend = (raw[0]! & 1) !== 0;
  token.keyId = raw[1]!;
  token.backend = get24(2);
  token.agent = (raw[5]! << 8) | raw[6]!;
  token.worker = raw[7]! >>> 4;
  token.listener = raw[7]! & 15;
  token.clientKey = get32(11);
  token.fromTag = get32(15);
  token.start = get24(19);
  const { client } = token;
  client.transport = ((raw[0]! >>> 1) & 7) as TransportCode;
  client.connection = get24(8);
  client.ip0 = v4 ? 0 : get32(HEAD);
  client.ip1 = v4 ? 0 : get32(HEAD + 4);
  client.ip2 = v4 ? 0xffff : get32(HEAD + 8);
  const last = v4 ? HEAD : HEAD + 12;
  client.ip3 = get32(last);
  client.port = (raw[last + 4]! << 8) | raw[last + 5]!;
  return true;
}

function verify(keys: readonly { id: number; key: HashKey }[], signed: number): boolean {
  for (let k = 0; k < keys.length; k++) {
    if (keys[k]!.id !== raw[1]) continue;
    sipHash24(keys[k]!.key, raw, 0, signed);
    // Both words are compared before anything is decided. Remote timing of an integer comparison is not measurable.
    return ((digest[0]! ^ macWords.getInt32(signed)) | (digest[1]! ^ macWords.getInt32(signed + 4))) === 0;
  }
  return false;
}

function put24(at: number, value: number): void {
  raw[at] = (value >>> 16) & 255;
  raw[at + 1] = (value >>> 8) & 255;
  raw[at + 2] = value & 255;
}

function put32(at: number, value: number): void {
  raw[at] = value >>> 24;
  raw[at + 1] = (value >>> 16) & 255;
  raw[at + 2] = (value >>> 8) & 255;
  raw[at + 3] = value & 255;
}

const get24 = (at: number): number => (raw[at]! << 16) | (raw[at + 1]! << 8) | raw[at + 2]!;
const get32 = (at: number): number =>
  ((raw[at]! << 24) | (raw[at + 1]! << 16) | (raw[at + 2]! << 8) | raw[at + 3]!) >>> 0;
