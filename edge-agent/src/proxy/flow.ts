import type { Endpoint } from '../ports.ts';
import { hash32 } from '../sip/hash.ts';
import { putBase64Url, readBase64Url } from '../sip/text.ts';
import type { ResponseTarget } from '../transaction/branch.ts';
import { type ClientKeys, createClientKeys, MAX_CLIENT_KEYS } from './client-key.ts';

/**
 * The `w` parameter of our Via: the connection that a response has to go back by. Only for requests that came over a stream.
 * It stands beside the branch, whose MAC covers it.
 *
 *   0–1 agent, 2 worker, 3–5 connection
 *
 * Of a REGISTER it goes on, so that whoever gets the answer can note where the client is (flows.ts):
 *
 *   6–21 client address, 22–23 port, 24–27 check, 28… client keys, 4 bytes each
 */
const FLOW = 6;
const KEYS_AT = 28;
const raw = new Uint8Array(KEYS_AT + 4 * MAX_CLIENT_KEYS);
const view = new DataView(raw.buffer);

/** A client that registers over a stream. */
export interface Registered extends ClientKeys {
  readonly client: Pick<Endpoint, 'ip0' | 'ip1' | 'ip2' | 'ip3' | 'port'>;
}

export const createRegistered = (): Registered => ({
  ...createClientKeys(),
  client: { ip0: 0, ip1: 0, ip2: 0, ip3: 0, port: 0 },
});

/** Prepares the text of a flow, with the registering client where there is one (`count` above 0), and the hash of it that the branch's MAC covers. */
export function prepareFlow(flow: ResponseTarget, registered: Readonly<Registered>): number {
  raw[0] = flow.agent >>> 8;
  raw[1] = flow.agent & 255;
  raw[2] = flow.worker;
  raw[3] = (flow.connection >>> 16) & 255;
  raw[4] = (flow.connection >>> 8) & 255;
  raw[5] = flow.connection & 255;
  flow.brought = 0;
  if (registered.count === 0) return FLOW;
  const { client, check, keys, count } = registered;
  view.setUint32(6, client.ip0);
  view.setUint32(10, client.ip1);
  view.setUint32(14, client.ip2);
  view.setUint32(18, client.ip3);
  view.setUint16(22, client.port);
  view.setUint32(24, check);
  for (let k = 0; k < count; k++) view.setUint32(KEYS_AT + 4 * k, keys[k]!);
  const length = KEYS_AT + 4 * count;
  flow.brought = broughtIn(length);
  return length;
}

/** Writes the flow that was prepared last; returns the position behind it. */
export const putFlow = (to: Uint8Array, at: number, length: number): number => putBase64Url(to, at, raw, length);

/** Reads a `w` value; the address of the target becomes 0. False where it has not the form of one. */
export function readFlow(
  target: ResponseTarget,
  registered: Registered,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  const length = readBase64Url(bytes, start, end, raw);
  const keys = (length - KEYS_AT) / 4;
  registered.count = 0;
  if (length !== FLOW && (keys < 1 || keys > MAX_CLIENT_KEYS || !Number.isInteger(keys))) return false;
  target.ip0 = target.ip1 = target.ip2 = target.ip3 = target.port = target.brought = 0;
  target.agent = (raw[0]! << 8) | raw[1]!;
  target.worker = raw[2]!;
  target.connection = (raw[3]! << 16) | (raw[4]! << 8) | raw[5]!;
  if (length === FLOW) return true;
  const { client } = registered;
  client.ip0 = view.getUint32(6);
  client.ip1 = view.getUint32(10);
  client.ip2 = view.getUint32(14);
  client.ip3 = view.getUint32(18);
  client.port = view.getUint16(22);
  registered.check = view.getUint32(24);
  registered.count = keys;
  for (let k = 0; k < keys; k++) registered.keys[k] = view.getUint32(KEYS_AT + 4 * k);
  target.brought = broughtIn(length);
  return true;
}

/** Never 0: that stands for nothing. */
const broughtIn = (length: number): number => hash32(raw, FLOW, length) || 1;
