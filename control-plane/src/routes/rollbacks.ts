import { RollbackRequest, RollbackResponse } from '../api-changes.ts';
import type { AuditEntry } from '../audit-chain.ts';
import { sameSpec } from '../domain/plan.ts';
import type { ExpectedChange } from '../store/commit.ts';
import type { AppDeps } from './deps.ts';
import { dryRunOf } from './dry-run.ts';
import { operatorGuard } from './guards.ts';
import { ProblemError } from './problems.ts';
import { policyOf } from './rollouts.ts';
import { type App, addRoute } from './route.ts';
import { checkRepeated, commitFor, DryRunQuery, refusalOf, WRITE_HEADERS } from './writes.ts';

/** `POST /v1/rollbacks`: farms as they were at an older revision, as a new one. */
export function rollbackRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'post',
      path: '/v1/rollbacks',
      summary: 'Make every farm what it was at an older revision: one new revision, at once or by a rollout',
      guard: operatorGuard(deps, 'operator'),
      query: DryRunQuery,
      headers: WRITE_HEADERS,
      body: RollbackRequest,
      answers: { 200: { description: 'What was changed, and what was left as it is', schema: RollbackResponse } },
      problems: [400, 401, 403, 404, 409, 413, 415, 422],
    },
    async (c, { query, body }) => {
      const { to, touched } = await changedSince(deps, body.to);
      const changes = await farmChanges(deps, to, touched);
      const left = touched.flatMap(({ kind, name }) => (kind === 'Farm' ? [] : `${kind} ${name}`));
      const rollout = policyOf(body.rollout);
      const outcome = await commitFor(c, deps, changes, { dryRun: query.dryRun === 'true', body, rollout });
      if (outcome.status === 'planned') return c.json({ to, left, ...(await dryRunOf(deps, outcome)) }, 200);
      if (outcome.status === 'repeated') {
        checkRepeated(c, outcome, body);
        return c.json({ to, left, revision: outcome.answer.revision, changes: [...outcome.answer.results] }, 200);
      }
      if (outcome.status !== 'committed') throw refusalOf(outcome);
      const results = outcome.results.map(({ status, kind, name, stored }) => ({
        ...{ status, kind, name },
        revision: stored?.revision ?? null,
      }));
      return c.json({ to, left, revision: outcome.revision, changes: results }, 200);
    },
  );
}

interface Touched {
  readonly kind: AuditEntry['changes'][number]['kind'];
  readonly name: string;
}

/** What changed after a revision; `wanted` undefined: after the one before the last change of a resource. */
async function changedSince(
  { store }: AppDeps,
  wanted: number | undefined,
): Promise<{ to: number; touched: Touched[] }> {
  const now = await store.revision();
  if (wanted !== undefined && wanted >= now)
    throw new ProblemError(404, `revision ${wanted} is not an older one: the current one is ${now}`);
  let to = wanted;
  const touched = new Map<string, Touched>();
  let cursor: string | undefined;
  do {
    const page = await store.audit({ limit: 200, cursor, newestFirst: true, changesOnly: true });
    for (const { revision, changes, details } of page.items) {
      if (to !== undefined && (revision as number) <= to) return { to, touched: [...touched.values()] };
      for (const { kind, name } of changes) touched.set(`${kind} ${name}`, { kind, name });
      if (to === undefined && details.state === 'rolled-back')
        throw new ProblemError(409, `rollout ${details.rollout} was rolled back last: name the revision to return to`);
      if (to === undefined && changes.length > 0) to = (revision as number) - 1;
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
  if (to === undefined) throw new ProblemError(404, 'there is no older revision: nothing was changed yet');
  return { to, touched: [...touched.values()] };
}

/** What takes the farms back. Sites stay, for agents may have joined them; of Secrets older values are nowhere. */
async function farmChanges({ store }: AppDeps, to: number, touched: readonly Touched[]): Promise<ExpectedChange[]> {
  const changes: ExpectedChange[] = [];
  for (const { kind, name } of touched) {
    if (kind !== 'Farm') continue;
    const stored = await store.get('Farm', name);
    const spec = (await store.version('Farm', name, to))?.spec ?? null;
    const expectation = stored === undefined ? ('absent' as const) : { revision: stored.revision };
    if (spec?.kind === 'Farm') {
      if (stored === undefined || !sameSpec(stored, spec))
        changes.push({ expectation, change: { action: 'put', spec } });
    } else if (stored !== undefined) changes.push({ expectation, change: { action: 'delete', kind: 'Farm', name } });
  }
  if (changes.length > 31)
    throw new ProblemError(
      409,
      `${changes.length} farms have changed since revision ${to}: more than the 31 that fit into one revision`,
    );
  return changes;
}
