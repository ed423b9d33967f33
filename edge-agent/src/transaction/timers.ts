/** Base values of RFC 3261 §17.1.1.1 and table 4, in milliseconds. */
export interface TimerBase {
  /** Round-trip estimate. */
  T1: number;
  /** Longest interval between retransmissions of non-INVITE requests and INVITE responses. */
  T2: number;
  /** How long a message can stay in the network. */
  T4: number;
}

export const DEFAULT_BASE: TimerBase = { T1: 500, T2: 4000, T4: 5000 };

/** RFC 3261 table 4 as durations in milliseconds; 0: fires at once. `reliable`: TCP and its kin, where nothing is retransmitted. */
export function timerValues({ T1, T2, T4 }: TimerBase, reliable: boolean) {
  return {
    /** INVITE request retransmission, doubled each time. */
    A: T1,
    /** INVITE client transaction timeout. */
    B: 64 * T1,
    /** Proxy INVITE timeout: above 3 minutes (§16.6 item 11). */
    C: 181_000,
    /** Wait for response retransmissions in the INVITE client's Completed state: at least 32 s for UDP. */
    D: reliable ? 0 : Math.max(32_000, 64 * T1),
    /** Non-INVITE request retransmission, doubled up to T2. */
    E: T1,
    /** Non-INVITE client transaction timeout. */
    F: 64 * T1,
    /** INVITE response retransmission, doubled up to T2. */
    G: T1,
    /** Wait for the ACK. */
    H: 64 * T1,
    /** Wait for ACK retransmissions. */
    I: reliable ? 0 : T4,
    /** Wait for retransmissions of a non-INVITE request. */
    J: reliable ? 0 : 64 * T1,
    /** Wait for response retransmissions in the non-INVITE client's Completed state. */
    K: reliable ? 0 : T4,
    /** Wait for retransmissions of the INVITE after a 2xx (RFC 6026 §8.7). */
    L: 64 * T1,
    /** Wait for further 2xx (RFC 6026 §8.4). */
    M: 64 * T1,
    T2,
  } as const;
}

export type TimerName = Exclude<keyof ReturnType<typeof timerValues>, 'T2'>;

/** Next interval of Timer A, E or G. A doubles without bound (Timer B ends it), E and G stop growing at T2. */
export const nextInterval = (timer: 'A' | 'E' | 'G', interval: number, base: TimerBase): number =>
  timer === 'A' ? interval * 2 : Math.min(interval * 2, base.T2);
