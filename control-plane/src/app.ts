import { OpenAPIHono } from '@hono/zod-openapi';
import { bodyLimit } from 'hono/body-limit';
import { z } from 'zod';
import { agentRoutes } from './routes/agent.ts';
import { agentSecretRoutes } from './routes/agent-secrets.ts';
import { agentsRoutes } from './routes/agents.ts';
import { auditor, auditRoute } from './routes/audit.ts';
import { changesRoute } from './routes/changes.ts';
import { checkRoutes } from './routes/checks.ts';
import type { AppDeps, AppEnv } from './routes/deps.ts';
import { driftRoute } from './routes/drift.ts';
import { limitStrangers } from './routes/guards.ts';
import { historyRoutes } from './routes/history.ts';
import { countRequests, metricsRoute } from './routes/metrics.ts';
import { planRoute } from './routes/plan.ts';
import { notFound, ProblemError, problemOf } from './routes/problems.ts';
import { resourceRoutes } from './routes/resources.ts';
import { rollbackRoute } from './routes/rollbacks.ts';
import { rolloutRoutes } from './routes/rollouts.ts';
import { type App, addRoute } from './routes/route.ts';
import { schemaRoute } from './routes/schema.ts';
import { signingKeyRoutes } from './routes/signing-keys.ts';
import { tokenRoutes } from './routes/tokens.ts';
import type { ControlPlaneMetrics } from './telemetry/metrics.ts';

/** Longest request body in bytes. */
const MAX_BODY = 1_048_576;

/** The HTTP API. Takes abilities, so that tests call `app.request()` and Lambda or a local server calls `app.fetch()`. */
export function createApp(deps: AppDeps, metrics: ControlPlaneMetrics): App {
  const app: App = new OpenAPIHono<AppEnv>();

  app.use(countRequests(metrics, deps.now));
  app.use(async (c, next) => {
    const started = deps.now();
    await next();
    const fields = { method: c.req.method, path: c.req.path, status: c.res.status, ms: deps.now() - started };
    // Reads and the agents' polls would drown the rest; who was refused is told whatever was asked.
    const refused = c.res.status === 401 || c.res.status === 403;
    const quiet = !refused && (c.req.method === 'GET' || (c.req.path.startsWith('/v1/agent/') && c.res.ok));
    deps.log[quiet ? 'debug' : 'info'](fields, 'request');
  });
  app.use(limitStrangers(deps));
  const tooLong = (): never => {
    throw new ProblemError(413, `the body is longer than ${MAX_BODY} bytes`);
  };
  const counted = bodyLimit({ maxSize: MAX_BODY, onError: tooLong });
  app.use((c, next) => {
    // Counting takes a stream of its own; a body whose length is given, as agents' reports are, cannot be longer than that.
    const length = c.req.header('content-length');
    if (length === undefined || c.req.header('transfer-encoding') !== undefined) return counted(c, next);
    return Number(length) > MAX_BODY ? tooLong() : next();
  });

  app.use(async (c, next) => {
    c.set('audit', auditor(c, deps));
    await next();
  });

  healthRoute(app, deps);
  metricsRoute(app, deps, metrics);
  resourceRoutes(app, deps);
  changesRoute(app, deps);
  historyRoutes(app, deps);
  auditRoute(app, deps);
  driftRoute(app, deps);
  schemaRoute(app);
  planRoute(app, deps);
  agentsRoutes(app, deps);
  agentRoutes(app, deps);
  checkRoutes(app, deps);
  agentSecretRoutes(app, deps);
  rolloutRoutes(app, deps);
  rollbackRoute(app, deps);
  signingKeyRoutes(app, deps);
  tokenRoutes(app, deps);

  app.openAPIRegistry.registerComponent('securitySchemes', 'operator', {
    type: 'http',
    scheme: 'bearer',
    description: 'An API token, sft_…',
  });
  app.openAPIRegistry.registerComponent('securitySchemes', 'agent', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description:
      'Signed by the agent itself with Ed25519: iss = sub = agent id, aud = sipfleet, exp at most 5 minutes ahead',
  });
  app.doc31('/v1/openapi.json', {
    openapi: '3.1.0',
    info: { title: 'Sipfleet control plane', version: '1' },
  });

  app.notFound(notFound(app));
  app.onError((error) => problemOf(error, deps.log));
  return app;
}

function healthRoute(app: App, { store, log }: AppDeps): void {
  addRoute(
    app,
    {
      method: 'get',
      path: '/healthz',
      summary: 'The control plane and its store answer',
      answers: { 200: { description: 'They do', schema: z.object({ status: z.literal('ok') }) } },
      problems: [503],
    },
    async (c) => {
      try {
        await store.revision();
      } catch (error) {
        log.error({ err: error }, 'the store does not answer');
        throw new ProblemError(503, 'the store does not answer');
      }
      return c.json({ status: 'ok' as const }, 200);
    },
  );
}
