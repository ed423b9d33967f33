import type { Arena } from '../ports.ts';
import type { HashKey } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { METHOD } from '../sip/method.ts';
import { put, toBytes } from '../sip/text.ts';
import { putTrace } from '../telemetry/traces/ids.ts';
import { putSpan } from '../transaction/branch.ts';
import type { Context } from './context.ts';
import type { Edits } from './edits.ts';
import { callOf } from './observe.ts';

/**
 * `traceparent` of W3C Trace Context towards a backend, in farms that want it. The ids are those that the control thread computes for a kept call (ADR 11), so
 * nobody is asked, and nothing is kept. The sampled flag is set: what passes is on the flight recorder's tape, whether it will be kept or not.
 */
const START = toBytes('traceparent: 00-');
const SAMPLED = toBytes('-01\r\n');

/** What belongs to a call. An ACK is no attempt of its own; a registration is no part of a trace that others could name. */
const carriesTrace = (method: number): boolean =>
  method !== METHOD.ACK && method !== METHOD.CANCEL && method !== METHOD.REGISTER;

/** Adds the header for the request at hand, whose branch was made last. */
export function putTraceParent({ message }: Context, arena: Arena, key: HashKey): void {
  if (!carriesTrace(message.method)) return;
  let at = putTrace(arena.bytes, put(arena.bytes, arena.used, START), key, callOf(message));
  arena.bytes[at++] = 45;
  at = putSpan(arena.bytes, at);
  arena.used = put(arena.bytes, at, SAMPLED);
}

/** Takes out what came under these names: a PBX must not take a client's word for a trace of ours, nor see two. */
export function dropTraceParents(message: MessageView, edits: Edits): void {
  if (message.first[HEADER.traceparent]! < 0 && message.first[HEADER.tracestate]! < 0) return;
  for (let i = 0; i < message.headerCount; i++) {
    const code = message.code[i];
    if (code === HEADER.traceparent || code === HEADER.tracestate)
      edits.remove(message.lineStart[i]!, message.lineEnd[i]!);
  }
}
