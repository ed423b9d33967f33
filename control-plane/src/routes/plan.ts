import { parseResource, type Resource, ValidationError } from '@sipfleet/contract';
import { PlanRequest, PlanResponse } from '../api-changes.ts';
import { affectedBy, type ResourceChange, validateSet } from '../domain/changes.ts';
import { planChanges } from '../domain/plan.ts';
import type { ResourceFault } from '../domain/validate.ts';
import type { AppDeps } from './deps.ts';
import { blastRadius } from './dry-run.ts';
import { operatorGuard } from './guards.ts';
import { type App, addRoute } from './route.ts';

const STATUS = { create: 'created', update: 'updated', none: 'unchanged' } as const;

/** `POST /v1/plan`: what storing a whole set would do, and all that is wrong with it. Writes nothing, so viewers may. */
export function planRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'post',
      path: '/v1/plan',
      summary: 'Validate a set of resources and say what storing it would change',
      guard: operatorGuard(deps, 'viewer'),
      body: PlanRequest,
      answers: {
        200: { description: 'In the order of the set, and whom all of it would touch', schema: PlanResponse },
      },
      problems: [400, 401, 413, 415, 422],
    },
    async (c, { body }) => {
      const configuration = await deps.current.configuration();
      const { resources, faults } = readAll(body.resources);
      const changes: ResourceChange[] = [
        ...resources.map((spec) => ({ action: 'put', spec }) as const),
        ...body.delete.map(({ kind, name }) => ({ action: 'delete', kind, name }) as const),
      ];
      // Across resources only a set makes sense that is whole: else one typing error is reported as many.
      if (faults.length === 0) faults.push(...validateSet(configuration, changes));
      if (faults.length > 0) throw new ValidationError(faults);
      const planned = await planChanges(configuration, resources, deps.secrets);
      const results = [
        ...planned.map(({ kind, name, action }) => ({ status: STATUS[action], kind, name })),
        ...body.delete.map(({ kind, name }) => ({ status: 'deleted' as const, kind, name })),
      ];
      const touched = changes.filter((_, i) => results[i]?.status !== 'unchanged');
      const affects = [...new Set(touched.flatMap((change) => affectedBy(configuration, change)))].sort();
      return c.json({ changes: planned, blastRadius: await blastRadius(deps, configuration, affects, results) }, 200);
    },
  );
}

/** Reads every resource; the faults of all, each with the index of its resource. */
function readAll(inputs: readonly unknown[]): { resources: Resource[]; faults: ResourceFault[] } {
  const resources: Resource[] = [];
  const faults: ResourceFault[] = [];
  for (const [resource, input] of inputs.entries()) {
    try {
      resources.push(parseResource(input));
    } catch (error) {
      if (!(error instanceof ValidationError)) throw error;
      faults.push(...error.faults.map((fault) => ({ ...fault, resource })));
    }
  }
  return { resources, faults };
}
