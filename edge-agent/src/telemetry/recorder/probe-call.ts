import { type HashKey, hash51 } from '../../sip/hash.ts';
import { toBytes } from '../../sip/text.ts';
import { traceOf } from '../traces/ids.ts';
import { callIdOf, firstLine, type KeptCall, type KeptMessage } from './kept-call.ts';

/** A dummy call or registration of a health check that failed, with all that went over the wire. */
export interface FailedProbe {
  farm: string;
  backend: string;
  check: string;
  /** `one-way audio: 50 packets sent, none received` */
  evidence: string;
  /** Left out: it is none that is kept. */
  messages?: readonly ProbedMessage[] | undefined;
}

export interface ProbedMessage {
  /** Milliseconds since the epoch. */
  at: number;
  sent: boolean;
  transport: string;
  local: string;
  remote: string;
  bytes: Uint8Array;
}

/** The failed probe as a kept call, by the Call-ID of its call (or of its registration, where it came no further). Undefined where nothing was sent. */
export function probeCall(
  { farm, backend, check, evidence, messages: seen = [] }: FailedProbe,
  key: HashKey,
  redact: (message: Uint8Array) => Buffer,
): KeptCall | undefined {
  const messages = seen.map(
    ({ bytes, ...ends }): KeptMessage => ({ ...ends, backend, revision: undefined, bytes: redact(bytes) }),
  );
  const named = messages.find((message) => firstLine(message).startsWith('INVITE ')) ?? messages[0];
  if (named === undefined) return undefined;
  const callId = callIdOf(named.bytes);
  const bytes = toBytes(callId);
  const call = hash51(bytes, 0, bytes.length);
  return {
    call,
    ...traceOf(key, call),
    dialogStart: undefined,
    callId,
    farm,
    method: firstLine(named).split(' ')[0] ?? '',
    reasons: ['check'],
    results: [`check ${check} of ${backend}: ${evidence}`],
    startedAt: messages[0]?.at ?? 0,
    updatedAt: messages.at(-1)?.at ?? 0,
    messages,
    bytes: messages.reduce((sum, message) => sum + message.bytes.length, 0),
    omitted: 0,
  };
}
