import { CALL_METRICS } from '../catalogue-calls.ts';
import type { TraceRef } from '../traces/ids.ts';

/** One observation of a bucket, with the trace that it came from. */
export interface DelayExemplar extends TraceRef {
  seconds: number;
  /** Milliseconds since the epoch. */
  at: number;
}

/** One series of a histogram, in seconds: plain counts, since every transaction adds to one. What renders it is `delay-metric.ts`. */
export class DelayHistogram {
  /** Upper bounds, inclusive; a bucket without one follows the last. */
  readonly bounds: readonly number[];
  /** Observations of each bucket alone; one more than bounds. */
  readonly counts: Float64Array;
  /** The last observation of each bucket whose call is kept. */
  readonly exemplars: (DelayExemplar | undefined)[];
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
    this.exemplars = Array.from(this.counts, () => undefined);
  }

  /** `trace`: of the call that was timed, where it is kept; its bucket then leads there. */
  observe(seconds: number, trace?: TraceRef): void {
    const { bounds, counts } = this;
    let bucket = 0;
    while (bucket < bounds.length && seconds > bounds[bucket]!) bucket++;
    counts[bucket] = counts[bucket]! + 1;
    this.sum += seconds;
    if (trace === undefined) return;
    const { traceId, spanId } = trace;
    this.exemplars[bucket] = { traceId, spanId, seconds, at: Date.now() };
  }
}

const timed = (key: 'registrationDelay' | 'sessionDelay' | 'disconnectDelay' | 'sessionDuration'): DelayHistogram =>
  new DelayHistogram(CALL_METRICS[key].buckets);
const byResult = () => ({ success: timed('sessionDelay'), failure: timed('sessionDelay') });

/** What is timed of one farm's calls (RFC 6076). Pairs are by who began the session, as ORIGINS has them. */
export class FarmDelays {
  /** RRD: REGISTER → final response, the challenge included; successes only (§4.1). */
  readonly registration = timed('registrationDelay');
  /** SRD: INVITE → first sign of progress (§4.3). Those of success and of failure are never to be combined. */
  readonly sessionRequest = [byResult(), byResult()] as const;
  /** SDD: BYE → its 2xx (§4.4). */
  readonly sessionDisconnect = timed('disconnectDelay');
  /** SDT: 2xx to INVITE → BYE (§4.5). */
  readonly sessionDuration = [timed('sessionDuration'), timed('sessionDuration')] as const;
}
