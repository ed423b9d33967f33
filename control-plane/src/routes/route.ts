import { STATUS_CODES } from 'node:http';
import { createRoute, type OpenAPIHono } from '@hono/zod-openapi';
import { parseWith } from '@sipfleet/contract';
import type { Context, MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { z } from 'zod';
import { Problem } from '../api.ts';
import type { AppEnv } from './deps.ts';
import { EXAMPLES } from './examples.ts';
import { ProblemError, type ProblemStatus } from './problems.ts';

export type App = OpenAPIHono<AppEnv>;

/** What a route is for those who call it: OpenAPI is generated from it, and the input is read by it. */
export interface RouteSpec<P, Q, B> {
  method: 'get' | 'put' | 'post' | 'delete';
  /** Parameters as `{name}`. */
  path: string;
  summary: string;
  /** Who may call it; undefined: anybody. */
  guard?: { scheme: 'operator' | 'agent'; middleware: MiddlewareHandler<AppEnv> };
  params?: z.ZodType<P>;
  query?: z.ZodType<Q>;
  body?: z.ZodType<B>;
  /** Request headers that matter, with their meaning. */
  headers?: Record<string, string>;
  /** Written to the audit log once the request has succeeded. Changes of resources are logged where they are stored. */
  audit?: Audited<P, B>;
  answers: Record<number, { description: string; schema?: z.ZodType }>;
  problems: ProblemStatus[];
}

export interface RouteInput<P, Q, B> {
  params: P;
  query: Q;
  body: B;
}

/** What the audit log says of a request. */
export interface Audited<P, B> {
  /** A word with a dot: `agent.revoke`. */
  action: string;
  /** Default: the operator who asks. */
  actor?: (input: { params: P; body: B }) => string;
  /** No secrets. */
  details?: (input: { params: P; body: B }) => Record<string, string>;
}

const JSON_TYPE = 'application/json';

/**
 * Adds a route. The request is read in order: guard (401, 403), the body's type (415), then parameters, query and body by their schemas (422 with
 * the contract's faults). zod-openapi would tie each handler's answers to literal types, which routes that serve
 * several kinds cannot have: the tie is cut here, once.
 */
export function addRoute<P = unknown, Q = unknown, B = unknown>(
  app: App,
  spec: RouteSpec<P, Q, B>,
  handler: (c: Context<AppEnv>, input: RouteInput<P, Q, B>) => Response | Promise<Response>,
): void {
  const { params, query, body } = spec;
  const example = EXAMPLES[`${spec.method} ${spec.path}`];
  const request = {
    ...(params === undefined ? {} : { params }),
    ...(query === undefined ? {} : { query }),
    ...(body === undefined
      ? {}
      : { body: { required: true, content: { [JSON_TYPE]: { schema: body, example: example?.request } } } }),
  };
  const route = createRoute({
    method: spec.method,
    path: spec.path,
    summary: spec.summary,
    ...(spec.guard === undefined ? {} : { security: [{ [spec.guard.scheme]: [] }] }),
    middleware: [...(spec.guard ? [spec.guard.middleware] : []), ...(body === undefined ? [] : [requireJson])],
    ...(spec.headers === undefined ? {} : { parameters: headerParameters(spec.headers) }),
    request: request as never,
    responses: responsesOf(spec, example?.answer),
  });
  const schemas: Record<string, z.ZodType | undefined> = { param: params, query, json: body };
  const refuse = (result: { success: boolean; target: string; data?: unknown }) => {
    const schema = schemas[result.target];
    if (!result.success && schema !== undefined) parseWith(schema, result.data);
  };
  const handle = async (c: Context<AppEnv>) => {
    const input = {
      params: c.req.valid('param' as never) as P,
      query: c.req.valid('query' as never) as Q,
      body: c.req.valid('json' as never) as B,
    };
    const response = await handler(c, input);
    const { audit } = spec;
    if (audit !== undefined && response.status < 300) {
      const actor = audit.actor?.(input) ?? c.get('operator').name;
      await c.get('audit')({ actor, action: audit.action, details: audit.details?.(input) ?? {} });
    }
    return response;
  };
  app.openapi(route, handle as never, refuse as never);
}

/** 415 for a body that is not JSON as it stands (RFC 9110 §15.5.16); without it the schema would find fault with nothing. */
const requireJson = createMiddleware<AppEnv>(async (c, next) => {
  const type = c.req.header('content-type');
  if (!/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(type ?? ''))
    throw new ProblemError(415, `Content-Type: found ${type ?? 'nothing'}; allowed: ${JSON_TYPE}`);
  const encoding = c.req.header('content-encoding') ?? 'identity';
  if (encoding.toLowerCase() !== 'identity')
    throw new ProblemError(415, `Content-Encoding: found ${encoding}; allowed: none`, {
      headers: { 'accept-encoding': 'identity' },
    });
  await next();
});

const headerParameters = (headers: Record<string, string>) =>
  Object.entries(headers).map(([name, description]) => ({
    in: 'header' as const,
    name,
    description,
    schema: { type: 'string' as const },
  }));

const RETRY_AFTER = {
  'retry-after': { description: 'Seconds until the next request is let through', schema: { type: 'integer' as const } },
};

function responsesOf(
  {
    answers,
    problems,
    body,
    path,
  }: Pick<RouteSpec<unknown, unknown, unknown>, 'answers' | 'body' | 'path'> & { problems: ProblemStatus[] },
  example: unknown,
) {
  const limited = path !== '/healthz';
  const answered = Object.entries(answers).map(([status, { description, schema }]) => [
    status,
    schema === undefined ? { description } : { description, content: { [JSON_TYPE]: { schema, example } } },
  ]);
  const ofBody: ProblemStatus[] = body === undefined ? [] : [400, 413, 415, 422];
  const refused = [...new Set([...problems, ...ofBody, ...(limited ? [429 as const] : [])])].sort().map((status) => [
    status,
    {
      description: STATUS_CODES[status],
      content: { 'application/problem+json': { schema: Problem } },
      ...(status === 429 ? { headers: RETRY_AFTER } : {}),
    },
  ]);
  return Object.fromEntries([...answered, ...refused]);
}
