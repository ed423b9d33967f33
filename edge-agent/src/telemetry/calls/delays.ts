import type { TraceRef } from '../traces/ids.ts';

/** What is timed, in seconds (RFC 6076). `trace`: of the call that it was, where it is kept. `result` of session request delays is never to be combined. */
export interface Delays {
  /** RRD: REGISTER → final response, the challenge included; successes only (§4.1). */
  registration(farm: string, seconds: number, trace?: TraceRef): void;
  /** SRD: INVITE → first sign of progress (§4.3). */
  sessionRequest(farm: string, origin: string, result: 'success' | 'failure', seconds: number, trace?: TraceRef): void;
  /** SDD: BYE → its 2xx (§4.4). */
  sessionDisconnect(farm: string, seconds: number, trace?: TraceRef): void;
  /** SDT: 2xx to INVITE → BYE (§4.5). */
  sessionDuration(farm: string, origin: string, seconds: number, trace?: TraceRef): void;
}
