/**
 * What is told about a transaction that this worker keeps, once, when it has come to its end (telemetry/events.ts). Times in milliseconds on
 * the clock of {@link Output.now}.
 */
export interface Watched {
  method: number;
  /** Hash of the Call-ID. */
  call: number;
  /** Number of the plan that farm and backend are indices of. */
  plan: number;
  farm: number;
  leg: number;
  flags: number;
  /** That it was sent to last, −1: a client. */
  backend: number;
  /** That sent it, −1: a client. */
  source: number;
  /** Second at which its dialog started, by its token; −1: unknown. */
  dialogStart: number;
  /** Of a REGISTER: hash of what it binds; 0: nothing. */
  binding: number;
  /** 0: it is not watched. */
  began: number;
  /** When the first 101–199 was passed on; 0: none was. */
  provisional: number;
  /** Times that it was sent on, retransmissions and attempts. */
  sent: number;
  attempts: number;
  failovers: number;
}

export const createWatched = (): Watched => ({
  method: 0,
  call: 0,
  plan: 0,
  farm: 0,
  leg: 0,
  flags: 0,
  backend: -1,
  source: -1,
  dialogStart: -1,
  binding: 0,
  began: 0,
  provisional: 0,
  sent: 0,
  attempts: 0,
  failovers: 0,
});
