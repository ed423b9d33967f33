import { AgentError } from '../errors.ts';

/** The control plane understood and said no. As opposed to being away, where trying again helps. */
export class Refusal extends Error {
  readonly status: number;
  /** When it said so: its Date header. */
  readonly date: string | null;
  constructor(status: number, message: string, date: string | null = null) {
    super(message);
    this.name = 'Refusal';
    this.status = status;
    this.date = date;
  }
}

export interface RequestOptions {
  signal: AbortSignal;
  headers?: Record<string, string>;
}

/** An exchange may take this long; the link has nothing that waits for it. */
const DEADLINE_MS = 10_000;

export interface Answer {
  status: number;
  headers: Headers;
  body: Buffer;
}

/** Sends a request and returns a response whose status is one of `expected`. Throws AgentError LINK in every other case. */
export async function exchange(
  url: URL,
  init: RequestInit,
  expected: readonly number[],
  { signal, headers }: RequestOptions,
): Promise<Answer> {
  const what = `${init.method ?? 'GET'} ${url.href}`;
  let response: Response;
  let body: Buffer;
  try {
    response = await fetch(url, {
      ...init,
      headers: { ...(init.headers as Record<string, string>), ...headers },
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]),
    });
    body = Buffer.from(await response.arrayBuffer());
  } catch (cause) {
    throw new AgentError('LINK', `${what}: ${reasonOf(cause)}`, { cause });
  }
  if (expected.includes(response.status)) return { status: response.status, headers: response.headers, body };
  const message = `${what}: ${response.status} ${problemOf(body)}`.trim();
  const final = response.status >= 400 && response.status < 500 && ![408, 425, 429].includes(response.status);
  throw new AgentError(
    'LINK',
    message,
    final ? { cause: new Refusal(response.status, message, response.headers.get('date')) } : {},
  );
}

/** POSTs JSON and returns what `read` makes of the JSON that a 200 or 201 answered with. */
export async function postJson<T>(
  url: URL,
  body: unknown,
  read: (answer: unknown) => T,
  options: RequestOptions,
): Promise<T> {
  const init = { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
  return readJson(`POST ${url.href}`, await exchange(url, init, [200, 201], options), read);
}

/** What `read` makes of the JSON of an answer. */
export function readJson<T>(what: string, { body }: { body: Buffer }, read: (answer: unknown) => T): T {
  try {
    return read(JSON.parse(body.toString('utf8')));
  } catch (cause) {
    throw new AgentError('LINK', `${what}: the answer is not understood: ${(cause as Error).message}`, { cause });
  }
}

/** fetch hides why it failed in a chain of causes. */
function reasonOf(error: unknown): string {
  let deepest = error as Error & { code?: string };
  while (deepest.cause instanceof Error) deepest = deepest.cause;
  if (deepest.name === 'TimeoutError') return `no answer in ${DEADLINE_MS / 1000}s`;
  return deepest.message || deepest.code || String(error);
}

/** Title and detail of RFC 9457; the text itself where it is something else. */
export function problemOf(body: Buffer): string {
  const text = body.toString('utf8');
  try {
    const { title, detail } = JSON.parse(text) as { title?: string; detail?: string };
    return [title, detail].filter(Boolean).join(': ').slice(0, 500);
  } catch {
    return text.slice(0, 200);
  }
}
