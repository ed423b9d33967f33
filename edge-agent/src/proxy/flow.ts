import { type HashKey, sipHash24 } from '../sip/hash.ts';
import { putBase64Url, readBase64Url } from '../sip/text.ts';

/**
 * The `w` parameter of our Via: the connection that a response has to go back by. Only for requests that came over a stream.
 * Never part of the branch, which all agents compute alike.
 *
 *   0–1 agent, 2 worker, 3–5 connection, 6–9 MAC
 */
export const FLOW_TEXT = 14;
const BYTES = 10;
const MAC_AT = 6;
const raw = new Uint8Array(BYTES);

export function putFlow(
  to: Uint8Array,
  at: number,
  key: HashKey,
  agent: number,
  worker: number,
  connection: number,
): number {
  raw[0] = agent >>> 8;
  raw[1] = agent & 255;
  raw[2] = worker;
  raw[3] = (connection >>> 16) & 255;
  raw[4] = (connection >>> 8) & 255;
  raw[5] = connection & 255;
  const mac = sipHash24(key, raw, 0, MAC_AT);
  raw[6] = mac & 255;
  raw[7] = (mac >>> 8) & 255;
  raw[8] = (mac >>> 16) & 255;
  raw[9] = mac >>> 24;
  return putBase64Url(to, at, raw, BYTES);
}

/** What {@link readFlow} found. */
export const flow = { agent: 0, worker: 0, connection: 0 };

/** Reads a `w` value into {@link flow}. False where it was not made with one of the keys. */
export function readFlow(keys: readonly { key: HashKey }[], bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start !== FLOW_TEXT || readBase64Url(bytes, start, end, raw) !== BYTES) return false;
  const mac = raw[6]! | (raw[7]! << 8) | (raw[8]! << 16) | (raw[9]! << 24);
  for (let k = 0; k < keys.length; k++) {
    if (sipHash24(keys[k]!.key, raw, 0, MAC_AT) !== mac) continue;
    flow.agent = (raw[0]! << 8) | raw[1]!;
    flow.worker = raw[2]!;
    flow.connection = (raw[3]! << 16) | (raw[4]! << 8) | raw[5]!;
    return true;
  }
  return false;
}
