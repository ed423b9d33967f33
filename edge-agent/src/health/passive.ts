/** What traffic tells about a backend: it answered, was silent, was refused (ICMP or a closed connection), or said 503. */
export type PassiveSignal = 'answered' | 'timeout' | 'refused' | '503';

/** Signals in a row, and within what time, that make a backend suspect. A lost datagram or a busy moment must not. */
const LIMITS: Record<Exclude<PassiveSignal, 'answered'>, number> = { refused: 2, timeout: 5, '503': 5 };
const WITHIN_MS = 10_000;
/** Where no check proves it alive, traffic has to try again after this. */
export const SUSPECT_MS = 10_000;

interface Count {
  signals: number;
  since: number;
}

/** Collects what data threads see of one backend. Times are monotonic milliseconds. */
export class PassiveSignals {
  readonly #counts = new Map<PassiveSignal, Count>();
  #suspicion: { reason: string; since: number } | undefined;

  /** True: the backend has become suspect with this signal. */
  add(signal: PassiveSignal, now: number): boolean {
    if (signal === 'answered') {
      this.#counts.clear();
      return false;
    }
    const known = this.#counts.get(signal);
    const count = known && now - known.since <= WITHIN_MS ? known : { signals: 0, since: now };
    count.signals++;
    this.#counts.set(signal, count);
    if (count.signals < LIMITS[signal] || this.suspicion(now) !== undefined) return false;
    this.#counts.clear();
    this.#suspicion = { reason: `traffic: ${count.signals} × ${signal} in a row`, since: now };
    return true;
  }

  /** Why it is suspect; undefined where it is not (any more). */
  suspicion(now: number): string | undefined {
    const s = this.#suspicion;
    return s && now - s.since < SUSPECT_MS ? s.reason : undefined;
  }

  /** A probe that began at `startedAt` succeeded: proof against a suspicion that is older. */
  proven(startedAt: number): void {
    if (this.#suspicion && startedAt >= this.#suspicion.since) this.#suspicion = undefined;
  }
}
