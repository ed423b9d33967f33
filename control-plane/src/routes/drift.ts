import type { Snapshot } from '@sipfleet/contract';
import { z } from 'zod';
import { DriftResponse } from '../api-changes.ts';
import { driftOf, snapshotChanges } from '../domain/drift.ts';
import type { AppDeps } from './deps.ts';
import { operatorGuard } from './guards.ts';
import { ProblemError } from './problems.ts';
import { type App, addRoute } from './route.ts';

/** `GET /v1/agents/{id}/drift`: what an agent runs beside what it should, field by field. */
export function driftRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/agents/{id}/drift',
      summary: 'How what an agent runs, as it last reported, differs from what it should run',
      guard: operatorGuard(deps, 'viewer'),
      params: z.strictObject({ id: z.string().max(100) }),
      answers: { 200: { description: 'In the order of the fields', schema: DriftResponse } },
      problems: [401, 404],
    },
    async (c, { params: { id } }) => {
      const agent = await deps.store.agent(id);
      if (agent === undefined) throw new ProblemError(404, `there is no agent ${id}`);
      const target = await deps.current.snapshotFor(agent);
      const etag = agent.report?.snapshot.running ?? null;
      const running = etag === null ? undefined : etag === target.etag ? target : await deps.archive.find(etag);
      const read = ({ body }: { body: string }) => JSON.parse(body) as Snapshot;
      const answer: DriftResponse = {
        agentId: agent.agentId,
        name: agent.name,
        site: agent.site,
        drift: driftOf(agent, target, deps.now()),
        reason: agent.report?.snapshot.reason ?? null,
        running: etag === null ? null : { etag, generation: running?.generation ?? null },
        target: { etag: target.etag, generation: target.generation },
        fields: running === undefined ? null : snapshotChanges(read(running), read(target)),
      };
      return c.json(answer, 200);
    },
  );
}
