import { parseResource, type Resource, show, ValidationError } from '@sipfleet/contract';
import { ChangesRequest, ChangesResponse, DryRunResponse } from '../api-changes.ts';
import type { ResourceFault } from '../domain/validate.ts';
import type { ExpectedChange, RecordedAnswer } from '../store/commit.ts';
import type { AppDeps } from './deps.ts';
import { dryRunOf } from './dry-run.ts';
import { operatorGuard } from './guards.ts';
import { policyOf } from './rollouts.ts';
import { type App, addRoute } from './route.ts';
import { checkRepeated, commitFor, DryRunQuery, refusalOf, WRITE_HEADERS } from './writes.ts';

/** `POST /v1/changes`: several resources in one revision, or none. What must hold across resources, must hold at the end alone. */
export function changesRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'post',
      path: '/v1/changes',
      summary: 'Store and delete several resources at once: all of them become one revision, or nothing is stored',
      guard: operatorGuard(deps, 'operator'),
      query: DryRunQuery,
      headers: WRITE_HEADERS,
      body: ChangesRequest,
      answers: {
        200: { description: 'In the order of the request', schema: ChangesResponse.or(DryRunResponse) },
      },
      problems: [400, 401, 403, 409, 412, 413, 415, 422],
    },
    async (c, { query, body }) => {
      const changes = readAll(body);
      const outcome = await commitFor(c, deps, changes, {
        dryRun: query.dryRun === 'true',
        body,
        rollout: policyOf(body.rollout),
      });
      if (outcome.status === 'planned') return c.json(await dryRunOf(deps, outcome), 200);
      if (outcome.status === 'repeated') {
        checkRepeated(c, outcome, body);
        return c.json(answerOf(outcome.answer), 200);
      }
      if (outcome.status !== 'committed') throw refusalOf(outcome);
      const results = outcome.results.map(({ stored, ...result }) => ({
        ...result,
        revision: stored?.revision ?? null,
      }));
      return c.json(answerOf({ revision: outcome.revision, results }), 200);
    },
  );
}

const answerOf = ({ revision, results }: RecordedAnswer): ChangesResponse => ({
  revision,
  changes: results.map(({ status, kind, name, revision: stored }) => ({ status, kind, name, revision: stored })),
});

/** Reads every change; the faults of all, each with the index of its change. */
function readAll({ changes }: ChangesRequest): ExpectedChange[] {
  const faults: ResourceFault[] = [];
  const read = changes.flatMap((change, resource): ExpectedChange[] => {
    const expectation = change.revision === null ? 'absent' : { revision: change.revision };
    if (change.action === 'delete') {
      const { action, kind, name } = change;
      return [{ expectation, change: { action, kind, name } }];
    }
    try {
      return [{ expectation, change: { action: 'put', spec: parseResource(change.resource) as Resource } }];
    } catch (error) {
      if (!(error instanceof ValidationError)) throw error;
      faults.push(...error.faults.map((fault) => ({ ...fault, resource })));
      return [];
    }
  });
  if (faults.length > 0) throw new ValidationError(faults);
  if (read.length === 0) throw new ValidationError([{ field: 'changes', found: show([]), allowed: '1 to 31 changes' }]);
  return read;
}
