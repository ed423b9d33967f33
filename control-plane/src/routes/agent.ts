import { AgentReport, SIGNATURE_HEADER, Snapshot, Target } from '@sipfleet/contract';
import { giveSnapshot, takeReport } from './agent-exchange.ts';
import type { AppDeps } from './deps.ts';
import { agentGuard } from './guards.ts';
import { etagOf, isKnown } from './preconditions.ts';
import { ProblemError } from './problems.ts';
import { type App, addRoute } from './route.ts';

/** What an agent itself asks: its snapshot, its target in exchange for a report, its push connection. */
export function agentRoutes(app: App, deps: AppDeps): void {
  const guard = agentGuard(deps);

  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/agent/snapshot',
      summary: `What this agent should run, as canonical JSON whose SHA-256 is the ETag, signed in ${SIGNATURE_HEADER}`,
      guard,
      answers: {
        200: { description: 'The snapshot', schema: Snapshot },
        304: { description: 'If-None-Match has this snapshot' },
      },
      problems: [401],
    },
    async (c) => {
      const snapshot = await deps.current.snapshotFor(c.get('agent'));
      const { body, etag } = snapshot;
      c.header('etag', etagOf(etag));
      // It carries keys.
      c.header('cache-control', 'no-store');
      if (isKnown(c, etagOf(etag))) return c.body(null, 304);
      c.header(SIGNATURE_HEADER, (await giveSnapshot(deps, snapshot)).signature);
      return c.body(body, 200, { 'content-type': 'application/json' });
    },
  );

  addRoute(
    app,
    {
      method: 'post',
      path: '/v1/agent/report',
      summary: 'Report and poll in one exchange',
      guard,
      body: AgentReport,
      answers: { 200: { description: 'What this agent should run', schema: Target } },
      problems: [400, 401, 413, 422],
    },
    async (c, { body }) => c.json(await takeReport(deps, c.get('agent'), body), 200),
  );

  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/agent/push',
      summary: 'WebSocket over which push hints come',
      guard,
      answers: { 101: { description: 'Switched to WebSocket' } },
      problems: [401, 426],
    },
    () => {
      throw new ProblemError(426, 'this is a WebSocket: ask with Upgrade: websocket', {
        headers: { upgrade: 'websocket', connection: 'upgrade' },
      });
    },
  );
}
