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

/** Why the call of a transaction that has come to its end is worth keeping; none: it is ordinary. `status` 0: silence. */
export function judge(t: Transaction, status: number, time: number, options: JudgeOptions): Reason[] {
  const reasons: Reason[] = [];
  if (isFailure(status)) reasons.push(t.method === METHOD.BYE ? 'no_bye_answer' : 'failed');
  if (t.failovers > 0) reasons.push('failover');
  if (t.sent - t.attempts >= STORM) reasons.push('retransmissions');
  const progress = t.provisional > 0 ? t.provisional : time;
  if (t.method === METHOD.INVITE && !inDialog(t) && (progress - t.start) / 1000 > options.slowAfter)
    reasons.push('slow');
  // Ordinary registrations are too many, and all alike.
  const sample = t.method !== METHOD.REGISTER && isSampled(t.call, options.sampled);
  if (reasons.length === 0 && sample) reasons.push('sampled');
  return reasons;
}

/** `status`: a final response, 0: silence. */
export const isFailure = (status: number): boolean => status === 0 || (status >= 400 && !ORDINARY.has(status));

/** By the call's hash, so that agents between which it moves agree. */
export const isSampled = (call: number, share: number): boolean => (call % 10_000) / 10_000 < share;
