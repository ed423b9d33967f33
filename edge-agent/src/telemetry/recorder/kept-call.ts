import { wordsOf } from '../../sip/host.ts';
import type { TraceRef } from '../traces/ids.ts';

/** One message of a kept call, as it went over the wire but for what must not leave the agent. */
export interface KeptMessage {
  /** Milliseconds since the epoch, with a fraction. */
  at: number;
  /** True: the agent sent it. */
  sent: boolean;
  transport: string;
  /** `10.0.0.1:5060`, `[2001:db8::1]:5060`: the agent's listener and the other end. */
  local: string;
  remote: string;
  /** Name of the backend that the other end is, where it is one. */
  backend: string | undefined;
  /** Generation of the snapshot that was in effect. */
  revision: number | undefined;
  bytes: Buffer;
  /** Of a request that begins something: how the balancer saw it when it came. */
  decision?: Decision | undefined;
}

/** Why a request went where it went. */
export interface Decision {
  strategy: string;
  /** `user`, `domain`, `header:x-tenant` …; undefined where the strategy uses none. */
  key: string | undefined;
  bucket: number | undefined;
  /** Backends in the order in which they are asked. */
  candidates: string[];
  /** `pbx2: it is down` */
  excluded: string[];
  notes: readonly string[];
}

/** Why a call is kept. `check`: it was a health check's own, and failed. */
export type Reason = 'failed' | 'slow' | 'failover' | 'no_bye_answer' | 'retransmissions' | 'check' | 'sampled';

/** Its trace and root span are the same on every agent of the farm. */
export interface KeptCall extends TraceRef {
  /** Hash of the Call-ID. */
  call: number;
  /** When its dialog began, where that was before the first message here: its token says so. Milliseconds since the epoch. */
  dialogStart: number | undefined;
  callId: string;
  farm: string;
  method: string;
  reasons: Reason[];
  /** Final statuses by request, in order: `INVITE 503`, `BYE none`. */
  results: string[];
  /** Milliseconds since the epoch. */
  startedAt: number;
  updatedAt: number;
  messages: KeptMessage[];
  bytes: number;
  /** Messages that were left out because the call had too many. */
  omitted: number;
}

/** The first line of a message. */
export const firstLine = ({ bytes }: KeptMessage): string => {
  const end = bytes.indexOf('\r\n');
  return bytes.subarray(0, end < 0 ? bytes.length : end).toString('latin1');
};

/** Value of a header by its names, the short form included; undefined where it is not there. */
export function headerOf({ bytes }: KeptMessage, ...names: string[]): string | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  const head = bytes.subarray(0, end < 0 ? bytes.length : end).toString('latin1');
  return new RegExp(`^(?:${names.join('|')})[ \\t]*:[ \\t]*([^\\r\\n]*)`, 'im').exec(head)?.[1]?.trim();
}

const CALL_ID = /^(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)/im;
/** A message's Call-ID; empty where it has none. Without a view of it as lines: for who asks for every message. */
export const callIdOf = (message: Buffer): string => CALL_ID.exec(message.toString('latin1'))?.[1]?.trim() ?? '';

/** One end of a kept message, `10.0.0.1:5060` or `[2001:db8::1]:5060`, as four words (IPv4 as ::ffff:a.b.c.d) and port; 0.0.0.0 where it is none. */
export function endOf(text: string): { words: number[]; port: number } {
  const colon = text.lastIndexOf(':');
  const words = wordsOf(text.slice(0, Math.max(0, colon)).replace(/^\[|\]$/g, ''));
  return { words: Array.from(words ?? [0, 0, 0xffff, 0]), port: Number(text.slice(colon + 1)) };
}

/** Something was wrong with it: it is not only a sample. */
export const isAnomalous = ({ reasons }: KeptCall): boolean => reasons.some((reason) => reason !== 'sampled');

/** What a log line says of it, for whoever searches by trace or Call-ID. */
export const logLineOf = ({ callId, traceId: trace_id, farm, reasons, results }: KeptCall) => ({
  trace_id,
  callId,
  farm,
  reasons,
  results,
});
