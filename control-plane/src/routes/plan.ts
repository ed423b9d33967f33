import { parseResource, type Resource, ValidationError } from '@sipfleet/contract';
import { PlanRequest, PlanResponse } from '../api-changes.ts';
import { AuthError } from '../auth/auth-error.ts';
import { affectedBy, type ResourceChange, validateSet } from '../domain/changes.ts';
import type { Configuration } from '../domain/configuration.ts';
import { allows, type Operator } from '../domain/identity.ts';
import { planChanges } from '../domain/plan.ts';
import { sitesOfSecret } from '../domain/secrets.ts';
import type { ResourceFault } from '../domain/validate.ts';
import type { AppDeps } from './deps.ts';
import { blastRadius } from './dry-run.ts';
import { operatorGuard, requireSites } from './guards.ts';
import { type App, addRoute } from './route.ts';

const STATUS = { create: 'created', update: 'updated', none: 'unchanged' } as const;

/** `POST /v1/plan`: what storing a whole set would do, and all that is wrong with it. Writes nothing, so viewers may, without Secrets that are stored. */
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
      problems: [400, 401, 403, 413, 415, 422],
    },
    async (c, { body }) => {
      const configuration = await deps.current.configuration();
      const { resources, faults } = readAll(body.resources);
      const changes: ResourceChange[] = [
        ...resources.map((spec) => ({ action: 'put', spec }) as const),
        ...body.delete.map(({ kind, name }) => ({ action: 'delete', kind, name }) as const),
      ];
      requireRightToCompare(c.get('operator'), configuration, resources);
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

/** Whether a value is the stored one is told to those alone who may replace it: others could try until it is. */
function requireRightToCompare(operator: Operator, configuration: Configuration, resources: readonly Resource[]): void {
  for (const { kind, name } of resources) {
    if (kind !== 'Secret' || !configuration.secrets.has(name)) continue;
    if (!allows(operator.role, 'operator'))
      throw new AuthError(
        403,
        `comparing secret ${name} needs the role operator; ${operator.name} is ${operator.role}`,
      );
    requireSites(operator, sitesOfSecret(configuration, name), `secret ${name}`);
  }
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
