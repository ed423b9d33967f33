import { digest, hash32, hashBuffer, sipHash24 } from '../sip/hash.ts';
import { HEADER, type HeaderCode } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { isBlank, skipQuoted } from '../sip/skip.ts';
import { equalsNoCase, toBytes } from '../sip/text.ts';
import { address, nextAddress, UriView } from '../sip/uri.ts';
import type { FarmRuntime } from './runtime.ts';

/** By instance and by Contact, each under the newest two token keys of the farm. */
export const MAX_CLIENT_KEYS = 4;

/**
 * By what a client is known after it reconnected: its address-of-record with its instance (RFC 5626 §4.1, and the flow's reg-id), or with user
 * and host of its Contact. A connecting client's port is another one each time, so it does not count. The hash is made with the farm's
 * token key: nobody outside can look for a Contact that falls together with another client's.
 */
export interface ClientKeys {
  /** Hash of the address-of-record: two of them under one key are a collision. */
  check: number;
  count: number;
  readonly keys: Uint32Array;
}

export const createClientKeys = (): ClientKeys => ({ check: 0, count: 0, keys: new Uint32Array(MAX_CLIENT_KEYS) });

/** What goes into one hash is cut to this: hostile lines are long. */
const MOST = 256;
const input = hashBuffer(4 * MOST);
const uri = new UriView();
const INSTANCE = toBytes('+sip.instance');
const REG_ID = toBytes('reg-id');
const BY_INSTANCE = 1;
const BY_CONTACT = 2;

/** The key that a token of this client carries; 0 where the request does not say enough. `owner`: the header with its address-of-record. */
export function clientKey(message: MessageView, farm: FarmRuntime, owner: HeaderCode): number {
  const start = addressOfRecord(message, owner);
  if (start === 0 || !readContact(message)) return 0;
  const instance = byInstance(message, start);
  return instance > 0 ? keyOf(farm, 0, instance, true) : keyOf(farm, 0, byContact(message, start), false);
}

/** Its first Contact is one flow of several (RFC 5626 §4.2). */
export const hasRegId = (message: MessageView): boolean =>
  readContact(message) && findParam(message.bytes, address.uriEnd, address.end, REG_ID);

/** All keys that a REGISTER is to be found by. `count` 0: none. */
export function registrationKeys(message: MessageView, farm: FarmRuntime, to: ClientKeys): ClientKeys {
  to.count = 0;
  const start = addressOfRecord(message, HEADER.to);
  if (start === 0 || !readContact(message)) return to;
  to.check = hash32(input, 0, start);
  const generations = Math.min(2, farm.keys.length);
  const add = (end: number, device: boolean): void => {
    for (let k = 0; k < generations; k++) to.keys[to.count++] = keyOf(farm, k, end, device);
  };
  const instance = byInstance(message, start);
  if (instance > 0) add(instance, true);
  const contact = byContact(message, start);
  if (contact > 0) add(contact, false);
  return to;
}

/** Set in the keys of clients that said which device they are. */
const DEVICE = 0x80000000;

/**
 * The key is that of a device (`+sip.instance`): its latest connection is the one that counts, since it replaces those before (RFC 5626 §7), and where a phone
 * went from one network to another nobody closes the old one. A Contact alone may be that of two devices.
 */
export const isDevice = (key: number): boolean => (key & DEVICE) !== 0;

/** Key of what stands in the input up to `end`. 0: none. */
function keyOf(farm: FarmRuntime, generation: number, end: number, device: boolean): number {
  if (end === 0) return 0;
  sipHash24(farm.keys[generation]!.key, input, 0, end);
  return (digest[0]! & 0x7fffffff || 1) + (device ? DEVICE : 0);
}

/** Writes `user@host` of a From or To into the input; returns the position behind it, 0 where there is none. */
function addressOfRecord(message: MessageView, owner: HeaderCode): number {
  const line = message.first[owner]!;
  if (line < 0 || !nextAddress(message.bytes, message.valueStart[line]!, message.valueEnd[line]!)) return 0;
  return uri.parse(message.bytes, address.uriStart, address.uriEnd) ? userAtHost(message.bytes, 0) : 0;
}

/** The first Contact into {@link uri} and {@link address}. */
function readContact(message: MessageView): boolean {
  const line = message.first[HEADER.contact]!;
  if (line < 0 || !nextAddress(message.bytes, message.valueStart[line]!, message.valueEnd[line]!)) return false;
  return uri.parse(message.bytes, address.uriStart, address.uriEnd);
}

function byInstance({ bytes }: MessageView, start: number): number {
  if (!findParam(bytes, address.uriEnd, address.end, INSTANCE)) return 0;
  input[start] = BY_INSTANCE;
  const end = append(bytes, param.start, param.end, start + 1, false);
  return findParam(bytes, address.uriEnd, address.end, REG_ID)
    ? append(bytes, param.start, param.end, end, false)
    : end;
}

function byContact({ bytes }: MessageView, start: number): number {
  input[start] = BY_CONTACT;
  return userAtHost(bytes, start + 1);
}

function userAtHost(bytes: Uint8Array, at: number): number {
  const i = append(bytes, uri.userStart, uri.userEnd, at, false);
  return append(bytes, uri.hostStart, uri.hostEnd, i, true);
}

/** Appends a part behind its length, so that no two sequences of parts are the same bytes. Hosts count without case. */
function append(bytes: Uint8Array, start: number, end: number, at: number, lower: boolean): number {
  const length = Math.min(end - start, MOST - 1);
  let i = at;
  input[i++] = length;
  for (let k = start; k < start + length; k++) {
    const c = bytes[k]!;
    input[i++] = lower && c >= 65 && c <= 90 ? c | 32 : c;
  }
  return i;
}

const param = { start: 0, end: 0 };

/** Finds `;name=value` behind an address; the value, quotes included, lands in {@link param}. */
function findParam(bytes: Uint8Array, start: number, end: number, name: Uint8Array): boolean {
  for (let i = start; i >= 0 && i < end; ) {
    if (bytes[i] === 34) i = skipQuoted(bytes, i, end);
    else if (bytes[i++] === 59) {
      while (i < end && isBlank(bytes[i]!)) i++;
      const nameStart = i;
      while (i < end && bytes[i] !== 61 && bytes[i] !== 59 && !isBlank(bytes[i]!)) i++;
      const nameEnd = i;
      while (i < end && isBlank(bytes[i]!)) i++;
      if (bytes[i] !== 61 || i >= end || !equalsNoCase(bytes, nameStart, nameEnd, name)) continue;
      i++;
      while (i < end && isBlank(bytes[i]!)) i++;
      param.start = i;
      if (bytes[i] === 34) i = skipQuoted(bytes, i, end);
      else while (i < end && bytes[i] !== 59 && !isBlank(bytes[i]!)) i++;
      param.end = i;
      return i > param.start;
    }
  }
  return false;
}
