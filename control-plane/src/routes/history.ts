import {
  type FieldChange,
  fieldChanges,
  type Resource,
  resourceName,
  type Secret,
  show,
  ValidationError,
} from '@sipfleet/contract';
import { z } from 'zod';
import { PageQuery, page } from '../api.ts';
import { DiffResponse, RevisionView, VersionView } from '../api-changes.ts';
import type { AuditEntry } from '../audit-chain.ts';
import type { ResourceVersion } from '../store/store.ts';
import type { AppDeps } from './deps.ts';
import { operatorGuard } from './guards.ts';
import { pagingOf } from './paging.ts';
import { ProblemError } from './problems.ts';
import { type App, addRoute } from './route.ts';

const COLLECTION = { Site: '/v1/sites', Farm: '/v1/farms' } as const;
const byName = z.strictObject({ name: resourceName });

const revision = z.coerce
  .number({ error: 'a revision: a whole number from 0' })
  .int({ error: 'a revision: a whole number from 0' })
  .min(0, { error: 'a revision: a whole number from 0' })
  .max(999_999_999_999, { error: 'a revision: a whole number from 0' });
const DiffQuery = z.strictObject({
  from: revision,
  to: revision.optional().meta({ description: 'Default: the revision that is current' }),
});

/** What resources were before. Of Secrets only the audit log tells: their values are nowhere kept once they are replaced. */
export function historyRoutes(app: App, deps: AppDeps): void {
  for (const kind of Object.keys(COLLECTION) as (keyof typeof COLLECTION)[]) {
    historyRoute(app, deps, kind);
    diffRoute(app, deps, kind);
  }
  revisionsRoute(app, deps);
}

function historyRoute(app: App, deps: AppDeps, kind: keyof typeof COLLECTION): void {
  addRoute(
    app,
    {
      method: 'get',
      path: `${COLLECTION[kind]}/{name}/history`,
      summary: `Every version of a ${kind.toLowerCase()}, newest first, also of one that is deleted`,
      guard: operatorGuard(deps, 'viewer'),
      params: byName,
      query: PageQuery,
      answers: { 200: { description: 'One page', schema: page(VersionView) } },
      problems: [401, 404, 422],
    },
    async (c, { params: { name }, query }) => {
      const paging = pagingOf(`history ${kind} ${name}`);
      const versions = await deps.store.history(kind, name, paging.request(query));
      if (versions.items.length === 0) throw neverWas(kind, name);
      return c.json(
        paging.answer(versions, (version) => version),
        200,
      );
    },
  );
}

const neverWas = (kind: string, name: string) =>
  new ProblemError(404, `there is no ${kind.toLowerCase()} ${name}, and there never was`);

function diffRoute(app: App, deps: AppDeps, kind: keyof typeof COLLECTION): void {
  addRoute(
    app,
    {
      method: 'get',
      path: `${COLLECTION[kind]}/{name}/diff`,
      summary: `The fields of a ${kind.toLowerCase()} that differ between two revisions`,
      guard: operatorGuard(deps, 'viewer'),
      params: byName,
      query: DiffQuery,
      answers: { 200: { description: 'In the order of the fields', schema: DiffResponse } },
      problems: [401, 404, 422],
    },
    async (c, { params: { name }, query }) => {
      const current = await deps.store.revision();
      const to = query.to ?? current;
      for (const [field, asked] of [
        ['from', query.from],
        ['to', to],
      ] as const)
        if (asked > current)
          throw new ValidationError([
            { field, found: show(asked), allowed: `a revision up to the current one, ${current}` },
          ]);
      const [before, after] = await Promise.all([
        deps.store.version(kind, name, query.from),
        deps.store.version(kind, name, to),
      ]);
      if (before === undefined && after === undefined) throw neverWas(kind, name);
      const state = (version: ResourceVersion | undefined) => (version?.spec == null ? null : version.revision);
      const answer: DiffResponse = {
        kind,
        name,
        from: state(before),
        to: state(after),
        fields: fieldsOf(before, after),
      };
      return c.json(answer, 200);
    },
  );
}

type Plain = Exclude<Resource, Secret>;

/** A resource that is not there has no fields. */
function fieldsOf(before: ResourceVersion | undefined, after: ResourceVersion | undefined): FieldChange[] {
  return fieldChanges((before?.spec ?? {}) as Plain, (after?.spec ?? {}) as Plain);
}

const revisionView = ({ revision: made, at, actor, source, changes }: AuditEntry): RevisionView => ({
  revision: made as number,
  at,
  actor,
  source,
  changes: changes.map(({ action, kind, name }) => ({ action, kind, name })),
});

function revisionsRoute(app: App, deps: AppDeps): void {
  const paging = pagingOf('revisions');
  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/revisions',
      summary: 'Every revision, newest first: who made it, when, and what it changed',
      guard: operatorGuard(deps, 'viewer'),
      query: PageQuery,
      answers: { 200: { description: 'One page', schema: page(RevisionView) } },
      problems: [401, 422],
    },
    async (c, { query }) => {
      const found = await deps.store.audit({ ...paging.request(query), newestFirst: true, changesOnly: true });
      return c.json(paging.answer(found, revisionView), 200);
    },
  );
}
