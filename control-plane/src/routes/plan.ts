import { parseResource, type Resource, ValidationError } from '@sipfleet/contract';
import { PlanRequest, PlanResponse } from '../api.ts';
import { planChanges } from '../domain/plan.ts';
import { type ResourceFault, validateChanges } from '../domain/validate.ts';
import type { AppDeps } from './deps.ts';
import { operatorGuard } from './guards.ts';
import { type App, addRoute } from './route.ts';

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
      answers: { 200: { description: 'In the order of the set', schema: PlanResponse } },
      problems: [400, 401, 413, 422],
    },
    async (c, { body }) => {
      const configuration = await deps.current.configuration();
      const { resources, faults } = readAll(body.resources);
      // Across resources only a set makes sense that is whole: else one typing error is reported as many.
      if (faults.length === 0) faults.push(...validateChanges(configuration, resources));
      if (faults.length > 0) throw new ValidationError(faults);
      return c.json({ changes: await planChanges(configuration, resources, deps.secrets) }, 200);
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
