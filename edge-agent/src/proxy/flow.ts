import { putBase64Url, readBase64Url } from '../sip/text.ts';
import type { ResponseTarget } from '../transaction/branch.ts';

/**
 * The `w` parameter of our Via: the connection that a response has to go back by. Only for requests that came over a stream.
 * It stands beside the branch, whose MAC covers it.
 *
 *   0–1 agent, 2 worker, 3–5 connection
 */
export const FLOW_TEXT = 8;
const BYTES = 6;
const raw = new Uint8Array(BYTES);

/** Writes a flow as text; returns the position behind it. */
export function putFlow(to: Uint8Array, at: number, flow: Readonly<ResponseTarget>): number {
  raw[0] = flow.agent >>> 8;
  raw[1] = flow.agent & 255;
  raw[2] = flow.worker;
  raw[3] = (flow.connection >>> 16) & 255;
  raw[4] = (flow.connection >>> 8) & 255;
  raw[5] = flow.connection & 255;
  return putBase64Url(to, at, raw, BYTES);
}

/** Reads a `w` value; the address of the target becomes 0. False where it has not the form of one. */
export function readFlow(target: ResponseTarget, bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start !== FLOW_TEXT || readBase64Url(bytes, start, end, raw) !== BYTES) return false;
  target.ip0 = target.ip1 = target.ip2 = target.ip3 = target.port = 0;
  target.agent = (raw[0]! << 8) | raw[1]!;
  target.worker = raw[2]!;
  target.connection = (raw[3]! << 16) | (raw[4]! << 8) | raw[5]!;
  return true;
}
