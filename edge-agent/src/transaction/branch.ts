import { digest, type HashKey, hash32, hashBuffer, sipHash24 } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { putBase64Url, putHex, putRange, readBase64Url, toBytes } from '../sip/text.ts';
import type { ViaView } from '../sip/via.ts';

/**
 * The branch that we put into our Via (RFC 3261 §8.1.1.7, §16.11). Every agent of a farm computes the same one from the same request
 * and backend, so a retransmission, an ACK or a CANCEL that meets another agent still belongs to its transaction downstream.
 *
 *   z9hG4bK + base64url of
 *   0–7    keyed hash of the request's identity (a keyed hash of received branch and sent-by, Call-ID, From tag, CSeq number, method class) and the backend
 *   8–11   loop hash (RFC 5393 §4.2) of what routing depends on
 *   12     ordinal within its farm of the listener that the request came in by: the response leaves from there
 *   13–18  MAC of all that and of where the response has to go: nobody who saw a branch can have us send something elsewhere,
 *          and a response with a branch that we never made goes nowhere
 */
export const BRANCH_BYTES = 19;
export const BRANCH_TEXT = 26;
const MAC_AT = 13;
const COOKIE = toBytes('z9hG4bK');

const raw = new Uint8Array(BRANCH_BYTES);
const input = hashBuffer(1024);

/** Where a response goes: an address, or a connection of one worker of one agent (then the address is all 0). */
export interface ResponseTarget {
  ip0: number;
  ip1: number;
  ip2: number;
  ip3: number;
  port: number;
  agent: number;
  worker: number;
  connection: number;
  /** Hash of what else the response brings back beside the branch; 0: nothing. */
  brought: number;
}

/**
 * What identifies a request's transaction (RFC 3261 §17.2.3), as a keyed hash: received branch and sent-by, and for elements without the magic
 * cookie Call-ID, From tag and CSeq number too. ACK and CANCEL count as their INVITE. 53 bits, so that a Map takes it as a number; never 0.
 */
export function identify(key: HashKey, message: MessageView, via: ViaView): number {
  const { bytes } = message;
  // Lengths separate the parts, so that no two requests give the same input; over-long parts enter by their hash.
  let at = part(0, bytes, via.branchStart, via.branchEnd);
  at = part(at, bytes, via.hostStart, via.hostEnd);
  const callId = message.first[HEADER.callId]!;
  at = part(at, bytes, message.valueStart[callId]!, message.valueEnd[callId]!);
  at = part(at, bytes, message.fromTagStart, message.fromTagEnd);
  at = word(input, at, via.port);
  at = word(input, at, message.cseq);
  sipHash24(key, input, 0, word(input, at, message.transactionMethod));
  return fold(digest[0]!, digest[1]!) || 1;
}

/** Fills the next branch for the request with this {@link identify identity}. `backend`: its 24-bit id. Follow with {@link putBranch}. */
export function makeBranch(
  key: HashKey,
  identity: number,
  backend: number,
  loop: number,
  listener: number,
  target: Readonly<ResponseTarget>,
): void {
  let end = word(input, 0, identity | 0);
  end = word(input, end, (identity / 4294967296) | 0);
  sipHash24(key, input, 0, word(input, end, backend));
  word(raw, 0, digest[0]!);
  word(raw, 4, digest[1]!);
  word(raw, 8, loop);
  raw[12] = listener;
  sign(key, target);
  word(raw, MAC_AT, digest[0]!);
  raw[MAC_AT + 4] = digest[1]! & 255;
  raw[MAC_AT + 5] = (digest[1]! >>> 8) & 255;
}

/** Key of the client transaction whose branch was made or read last: 53 bits of its hash. */
export const branchKey = (): number => fold(readWord(raw, 0), readWord(raw, 4));

const fold = (low: number, high: number): number => (low >>> 0) + (high & 0x1fffff) * 4294967296;

/** Writes the branch's text behind the cookie; returns the position behind it. */
export const putBranch = (to: Uint8Array, at: number): number => putBase64Url(to, at, raw, BRANCH_BYTES);

/** Writes the first eight bytes of the branch that was made last as hexadecimal digits: the id of its span (telemetry/traces/ids.ts). */
export const putSpan = (to: Uint8Array, at: number): number => putHex(to, at, raw, 8);

/** What {@link readBranch} read. */
export const readBack = { listener: 0, loop: 0 };

/** Reads a branch value. False where it does not have the form of ours. Whether we made it, {@link verifyBranch} says. */
export function readBranch(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start !== COOKIE.length + BRANCH_TEXT) return false;
  for (let i = 0; i < COOKIE.length; i++) if (bytes[start + i] !== COOKIE[i]) return false;
  if (readBase64Url(bytes, start + COOKIE.length, end, raw) !== BRANCH_BYTES) return false;
  readBack.listener = raw[12]!;
  readBack.loop = readWord(raw, 8);
  return true;
}

/** The branch that was read last was made with one of the keys for a response to go to `target`. */
export function verifyBranch(keys: readonly { key: HashKey }[], target: Readonly<ResponseTarget>): boolean {
  for (let k = 0; k < keys.length; k++) {
    sign(keys[k]!.key, target);
    const rest = raw[MAC_AT + 4]! | (raw[MAC_AT + 5]! << 8);
    if (((digest[0]! ^ readWord(raw, MAC_AT)) | ((digest[1]! & 0xffff) ^ rest)) === 0) return true;
  }
  return false;
}

/** MAC of the branch in `raw` and the target, into the digest. */
function sign(key: HashKey, target: Readonly<ResponseTarget>): void {
  for (let i = 0; i < MAC_AT; i++) signed[i] = raw[i]!;
  let at = word(signed, MAC_AT, target.ip0);
  at = word(signed, at, target.ip1);
  at = word(signed, at, target.ip2);
  at = word(signed, at, target.ip3);
  at = word(signed, at, (target.agent << 16) | target.port);
  at = word(signed, at, (target.worker << 24) | target.connection);
  sipHash24(key, signed, 0, target.brought === 0 ? at : word(signed, at, target.brought));
}
const signed = hashBuffer(MAC_AT + 28);

/** Loop hash: Request-URI, the value of the top Route, and which backend (or client, -1) sent it. Not keyed: the MAC covers it. */
export function loopHash(message: MessageView, source: number): number {
  let h = hash32(message.bytes, message.uriStart, message.uriEnd) ^ Math.imul(source + 2, 0x9e3779b1);
  const route = message.first[HEADER.route]!;
  if (route >= 0)
    h ^= Math.imul(hash32(message.bytes, message.valueStart[route]!, message.valueEnd[route]!), 0x85ebca6b);
  return h | 0;
}

function part(at: number, bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  if (length > 128) {
    input[at++] = 255;
    at = word(input, at, length);
    return word(input, at, hash32(bytes, start, end));
  }
  input[at++] = length;
  return putRange(input, at, bytes, start, end);
}

function word(to: Uint8Array, at: number, value: number): number {
  to[at] = value & 255;
  to[at + 1] = (value >>> 8) & 255;
  to[at + 2] = (value >>> 16) & 255;
  to[at + 3] = value >>> 24;
  return at + 4;
}

const readWord = (from: Uint8Array, at: number): number =>
  from[at]! | (from[at + 1]! << 8) | (from[at + 2]! << 16) | (from[at + 3]! << 24);
