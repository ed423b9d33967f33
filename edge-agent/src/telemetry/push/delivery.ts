/** How one request ended. */
export type Outcome =
  | { kind: 'taken'; body: Uint8Array }
  /** Try again, at the earliest in so many milliseconds where the receiver said so. */
  | { kind: 'later'; reason: string; waitMs?: number }
  /** It would be refused again: out of order, too old, not understood. */
  | { kind: 'refused'; reason: string };

export interface Request {
  url: URL;
  headers: Readonly<Record<string, string>>;
  body: Uint8Array;
}

/** Makes headers that depend on the body: a signature. */
export type Sign = (request: Request) => Promise<Record<string, string>>;

export interface DeliveryOptions {
  url: URL;
  headers: Readonly<Record<string, string>>;
  /** Statuses after which the same request may be sent again. */
  retryable(status: number): boolean;
  sign?: Sign | undefined;
  /** Milliseconds; longer than this a request does not take. */
  deadlineMs: number;
  /** Milliseconds since the epoch. */
  now(): number;
}

/** OTLP/HTTP 1.x, "Failures": these and no others. */
export const otlpRetryable = (status: number): boolean => [429, 502, 503, 504].includes(status);
/** Remote-Write 1.0, "Retries & Backoff": 5xx must, 429 may be sent again. */
export const remoteWriteRetryable = (status: number): boolean => status >= 500 || status === 429;

/** Longest wait that a receiver's Retry-After is believed for. */
const LONGEST_WAIT_MS = 600_000;
/** What is read of an answer. */
const LONGEST_REASON = 300;

/** Sends one request. Never throws. */
export async function deliver(body: Uint8Array, options: DeliveryOptions, signal: AbortSignal): Promise<Outcome> {
  const { url, headers, sign, retryable, deadlineMs, now } = options;
  try {
    const signed = sign ? await sign({ url, headers, body }) : headers;
    const response = await fetch(url, {
      method: 'POST',
      body: Buffer.from(body),
      headers: signed,
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]),
    });
    const answer = new Uint8Array(await response.arrayBuffer());
    if (response.ok) return { kind: 'taken', body: answer };
    const text = Buffer.from(answer).toString('utf8').slice(0, LONGEST_REASON).trim();
    const reason = `${response.status} ${text}`.trim();
    if (!retryable(response.status)) return { kind: 'refused', reason };
    const waitMs = retryAfterMs(response.headers.get('retry-after'), now());
    return { kind: 'later', reason, ...(waitMs === undefined ? {} : { waitMs }) };
  } catch (error) {
    return { kind: 'later', reason: reasonOf(error) };
  }
}

/** RFC 9110 §10.2.3: seconds or a date. Undefined where there is none, or one that is not understood. */
export function retryAfterMs(value: string | null, now: number): number | undefined {
  if (value === null) return undefined;
  const ms = /^\d{1,9}$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), LONGEST_WAIT_MS);
}

/** fetch hides why it failed in a chain of causes. */
function reasonOf(error: unknown): string {
  let deepest = error as Error & { code?: string };
  while (deepest.cause instanceof Error) deepest = deepest.cause;
  return deepest.message || deepest.code || String(error);
}
