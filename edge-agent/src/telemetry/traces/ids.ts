import { createHash } from 'node:crypto';
import { digest, type HashKey, hashKey, sipHash24 } from '../../sip/hash.ts';
import { putHex } from '../../sip/text.ts';

/**
 * Ids of traces and spans that every agent of a farm computes alike (ADR 11): from the farm's name and the 51-bit hash of the Call-ID, so that a call
 * which moves between agents stays one trace, and a data thread can name it without asking anybody. Not secret.
 *
 *   trace   SipHash-2-4 of (call, 0) and of (call, 1)      16 bytes
 *   root    SipHash-2-4 of (call, 2)                        8 bytes
 *   attempt the first 8 bytes of its branch (transaction/branch.ts): what the PBX saw in our Via
 */
const ROOT = 2;

/** A trace and the span in it that stands for the whole call. */
export interface TraceRef {
  traceId: string;
  spanId: string;
}

/** Key of a farm's ids. */
export const traceKey = (farm: string): HashKey =>
  hashKey(createHash('sha256').update(`sipfleet trace ${farm}`).digest().subarray(0, 16));

const input = new Uint8Array(9);
const view = new DataView(input.buffer);

/** 64 bits of an id into sip/hash.ts's `digest`. `call`: hash of the Call-ID. */
function hashCall(key: HashKey, call: number, part: number): void {
  view.setFloat64(0, call);
  input[8] = part;
  sipHash24(key, input, 0, 9);
}

const output = Buffer.alloc(8);
function text(): string {
  output.writeInt32LE(digest[0]!, 0);
  output.writeInt32LE(digest[1]!, 4);
  return output.toString('hex');
}

/** Writes the id of a call's trace as 32 hexadecimal digits; returns the position behind them. Allocates nothing. */
export function putTrace(to: Uint8Array, at: number, key: HashKey, call: number): number {
  for (let part = 0; part < 2; part++) {
    hashCall(key, call, part);
    output.writeInt32LE(digest[0]!, 0);
    output.writeInt32LE(digest[1]!, 4);
    at = putHex(to, at, output, 8);
  }
  return at;
}

/** Trace and root span of a call. */
export function traceOf(key: HashKey, call: number): TraceRef {
  hashCall(key, call, 0);
  const first = text();
  hashCall(key, call, 1);
  const traceId = first + text();
  hashCall(key, call, ROOT);
  return { traceId, spanId: text() };
}

const COOKIE = 'z9hG4bK';
const BRANCH = /^[A-Za-z0-9_-]{26}$/;

/** Span of the attempt whose branch this is; of a branch that has not the form of ours, undefined. */
export function spanOfBranch(branch: string): string | undefined {
  const rest = branch.slice(COOKIE.length);
  if (!branch.startsWith(COOKIE) || !BRANCH.test(rest)) return undefined;
  return Buffer.from(rest, 'base64url').subarray(0, 8).toString('hex');
}

/** Span of what is known by a text alone: a transaction by its received branch, CSeq and method. */
export const spanOf = (traceId: string, name: string): string =>
  createHash('sha256').update(`${traceId} ${name}`).digest('hex').slice(0, 16);
