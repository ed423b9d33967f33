import { wordsOf } from '../../sip/host.ts';

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
  bytes: Buffer;
}

/** Why a call is kept. */
export type Reason = 'failed' | 'slow' | 'failover' | 'no_bye_answer' | 'retransmissions' | 'sampled';

export interface KeptCall {
  /** Hash of the Call-ID. */
  call: number;
  /** The same on every agent of the fleet. */
  traceId: string;
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
