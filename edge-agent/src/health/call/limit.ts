/** A signal that aborts after some time, or with one of its parents. `done` stops its clock; safe to call twice. */
export interface Limit {
  readonly signal: AbortSignal;
  done(): void;
}

/**
 * Like `AbortSignal.any` with `AbortSignal.timeout`, but it keeps the process alive until then and says why in its own words.
 *
 * @example const limit = within(2000, () => new ProbeFault('no answer in 2 s'), signal);
 */
export function within(ms: number, reason: () => unknown, ...parents: AbortSignal[]): Limit {
  const own = new AbortController();
  const timer = setTimeout(() => own.abort(reason()), Math.max(0, ms));
  return { signal: AbortSignal.any([own.signal, ...parents]), done: () => clearTimeout(timer) };
}

/** Settles as the promise does, or rejects with the signal's reason before. What the promise does later is nobody's concern. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
