import { METHOD } from '../../sip/method.ts';
import { inDialog, type Transaction } from '../calls/transactions.ts';
import type { Reason } from './kept-call.ts';

export interface JudgeOptions {
  /** Seconds until the first sign of progress beyond which a session request is slow. */
  slowAfter: number;
  /** Share of ordinary calls that is kept, 0 to 1. The same calls on every agent. */
  sampled: number;
}

/** Final responses that belong to ordinary life: success, redirection, challenge, busy, unavailable, cancelled, declined. */
const ORDINARY = new Set([401, 407, 480, 486, 487, 600, 603]);
/** Sent so often without an answer, a request is a storm. RFC 3261 §17 allows eleven in all. */
const STORM = 5;

const NOTHING: readonly Reason[] = [];

/** Why the call of a transaction that has come to its end is worth keeping; none: it is ordinary. Most are: for them nothing is made. */
export function judge(t: Transaction, options: JudgeOptions): readonly Reason[] {
  const failed = isFailure(t.status);
  const storm = t.sent - t.attempts >= STORM;
  const progress = t.provisional > 0 ? t.provisional : t.end;
  const slow = t.method === METHOD.INVITE && !inDialog(t) && (progress - t.start) / 1000 > options.slowAfter;
  if (!failed && t.failovers === 0 && !storm && !slow) {
    // Ordinary registrations are too many, and all alike.
    const sample = t.method !== METHOD.REGISTER && isSampled(t.call, options.sampled);
    return sample ? ['sampled'] : NOTHING;
  }
  const reasons: Reason[] = [];
  if (failed) reasons.push(t.method === METHOD.BYE ? 'no_bye_answer' : 'failed');
  if (t.failovers > 0) reasons.push('failover');
  if (storm) reasons.push('retransmissions');
  if (slow) reasons.push('slow');
  return reasons;
}

/** `status`: a final response, 0: silence. */
export const isFailure = (status: number): boolean => status === 0 || (status >= 400 && !ORDINARY.has(status));

/** By 32 bits of the call's hash, so that agents between which it moves agree. */
const isSampled = (call: number, share: number): boolean => call >>> 0 < share * 4294967296;
