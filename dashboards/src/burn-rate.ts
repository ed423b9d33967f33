import type { Alert } from './alert.ts';
import type { Window } from './recording.ts';

/** What may fail of registrations and of calls: 0.5 % in 30 days. */
export const OBJECTIVE = 0.995;

export interface Burn {
  factor: number;
  long: Window;
  short: Window;
  severity: Alert['severity'];
  suffix: string;
}

/** The error budget is spent this many times as fast as it may be (https://sre.google/workbook/alerting-on-slos/). */
export const BURN: readonly [Burn, ...Burn[]] = [
  { factor: 14.4, long: '1h', short: '5m', severity: 'critical', suffix: 'Fast' },
  { factor: 6, long: '6h', short: '30m', severity: 'critical', suffix: 'Fast' },
  { factor: 3, long: '1d', short: '2h', severity: 'warning', suffix: 'Slow' },
  { factor: 1, long: '3d', short: '6h', severity: 'warning', suffix: 'Slow' },
];
/** Fewer requests than this in the long window tell nothing: one failure of four is no outage. */
const ENOUGH = 20;

/** What an objective is about: a recorded ratio of errors, and what it is a share of. */
export interface Objective {
  errors: string;
  requests: string;
}
export const REGISTRATIONS: Objective = {
  errors: 'registration_errors',
  requests: 'sipfleet_registration_requests_total',
};
export const CALL_SETUPS: Objective = { errors: 'call_setup_errors', requests: 'sipfleet_session_requests_total' };

/** True of a farm (`site`, `farm`) while it burns its budget like this. */
export function burning({ errors, requests }: Objective, { factor, long, short }: Burn): string {
  const limit = Number((factor * (1 - OBJECTIVE)).toFixed(6));
  const over = (window: Window) => `farm:sipfleet_${errors}:ratio_rate${window} > ${limit}`;
  return `${over(long)} and ${over(short)} and sum by (site, farm) (increase(${requests}[${long}])) > ${ENOUGH}`;
}
