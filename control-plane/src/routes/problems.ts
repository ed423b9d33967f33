import { STATUS_CODES } from 'node:http';
import { type Fault, ValidationError } from '@sipfleet/contract';
import type { Context, Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { Problem } from '../api.ts';
import { AuthError } from '../auth/auth-error.ts';
import { LimitError } from '../auth/limits.ts';
import type { AppEnv, Log } from './deps.ts';

export type ProblemStatus = 400 | 401 | 403 | 404 | 405 | 409 | 412 | 413 | 415 | 422 | 426 | 428 | 429 | 500 | 503;

/** An answer other than success, raised where it is known. `detail` is fit to be sent. */
export class ProblemError extends Error {
  readonly status: ProblemStatus;
  readonly faults: readonly Fault[];
  readonly headers: Record<string, string>;
  constructor(
    status: ProblemStatus,
    detail: string,
    more: { faults?: readonly Fault[]; headers?: Record<string, string> } = {},
  ) {
    super(detail);
    this.name = 'ProblemError';
    this.status = status;
    this.faults = more.faults ?? [];
    this.headers = more.headers ?? {};
  }
}

/** Any error → `application/problem+json` (RFC 9457). */
export function problemOf(error: unknown, log: Log): Response {
  if (error instanceof ProblemError) return render(error.status, error.message, error.faults, error.headers);
  if (error instanceof ValidationError) return render(422, refusal(error.faults), error.faults);
  if (error instanceof AuthError)
    return render(error.status, error.message, [], error.status === 401 ? { 'www-authenticate': 'Bearer' } : {});
  if (error instanceof LimitError) return render(429, error.message, [], { 'retry-after': String(error.retryAfter) });
  if (error instanceof HTTPException) return render(error.status, error.message);
  log.error({ err: error }, 'a request failed');
  return render(500, 'internal error: the log of the control plane has the cause');
}

const refusal = (faults: readonly Fault[]) =>
  faults.length === 1 ? 'refused, nothing was stored: 1 fault' : `refused, nothing was stored: ${faults.length} faults`;

function render(
  status: number,
  detail: string,
  faults: readonly Fault[] = [],
  headers: Record<string, string> = {},
): Response {
  const problem: Problem = {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail,
    ...(faults.length === 0 ? {} : { faults: [...faults] }),
  };
  return Response.json(problem, { status, headers: { ...headers, 'content-type': 'application/problem+json' } });
}

/** Hono answers 404 also where only the method is wrong: tells the two apart by the routes there are. */
export function notFound(app: Hono<AppEnv>) {
  return (c: Context<AppEnv>): never => {
    const allowed = app.routes
      .filter(({ method, path }) => method !== 'ALL' && patternOf(path).test(c.req.path))
      .map(({ method }) => method);
    const methods = [...new Set(allowed)].join(', ');
    if (methods !== '')
      throw new ProblemError(405, `${c.req.method} is not possible on ${c.req.path}: use ${methods}`, {
        headers: { allow: methods },
      });
    throw new ProblemError(404, `there is nothing at ${c.req.path}`);
  };
}

const patternOf = (path: string): RegExp => new RegExp(`^${path.replaceAll('.', '\\.').replace(/:[^/]+/g, '[^/]+')}$`);
