import type { MiddlewareHandler } from 'hono';
import { routePath } from 'hono/route';
import type { FleetSource } from '../telemetry/metrics.ts';
import type { AppDeps, AppEnv } from './deps.ts';
import { operatorGuard } from './guards.ts';
import { type App, addRoute } from './route.ts';

/** What this room uses of the metrics. */
interface Metrics {
  readonly contentType: string;
  answered(request: { method: string; route: string; code: number; ms: number }): void;
  render(): Promise<string>;
}

const PAGE = 1000;

/** The fleet as the store and the hub know it. */
export function fleetSource({ store, current, hub }: Pick<AppDeps, 'store' | 'current' | 'hub'>): FleetSource {
  return {
    revision: () => store.revision(),
    target: async (site) => (await current.snapshots(site)).next,
    wanted: (agents) => current.snapshotsFor(agents),
    connected: (agent) => hub.connected(agent),
    pendingHints: async () => (await store.outbox(PAGE)).length,
    async *agents() {
      let cursor: string | undefined;
      do {
        const page = await store.agents({ limit: PAGE, cursor });
        yield* page.items;
        cursor = page.cursor;
      } while (cursor !== undefined);
    },
  };
}

/** Counts every request. The first middleware, so that it sees what the others answered. */
export const countRequests =
  (metrics: Metrics, now: () => number): MiddlewareHandler<AppEnv> =>
  async (c, next) => {
    const started = now();
    await next();
    const { method } = c.req;
    // The last that matched: the route itself, or this middleware where there is none.
    const path = routePath(c, -1);
    const route = path.includes('*') ? 'unmatched' : path.replaceAll(/:([a-zA-Z]+)/g, '{$1}');
    metrics.answered({ method, route, code: c.res.status, ms: now() - started });
  };

export function metricsRoute(app: App, deps: AppDeps, metrics: Metrics): void {
  addRoute(
    app,
    {
      method: 'get',
      path: '/metrics',
      summary: 'Metrics of this process and of the fleet, in the Prometheus text format',
      guard: operatorGuard(deps, 'viewer'),
      answers: { 200: { description: 'The metrics, as text/plain' } },
      problems: [401],
    },
    async (c) => c.body(await metrics.render(), 200, { 'content-type': metrics.contentType }),
  );
}
