import { KINDS, type Kind, type Resource, resourceName, show, ValidationError } from '@sipfleet/contract';
import type { Context } from 'hono';
import { z } from 'zod';
import { PageQuery, page, StoredFarm, StoredSecret, StoredSite } from '../api.ts';
import { DryRunResponse } from '../api-changes.ts';
import type { StoredResource } from '../domain/configuration.ts';
import { publicSpec } from '../domain/secrets.ts';
import type { ResourceFault } from '../domain/validate.ts';
import type { ChangeResult, CommitOutcome } from '../store/commit.ts';
import type { AppDeps, AppEnv } from './deps.ts';
import { dryRunOf } from './dry-run.ts';
import { operatorGuard } from './guards.ts';
import { pagingOf } from './paging.ts';
import { etagOf, expectationOf, isKnown } from './preconditions.ts';
import { ProblemError } from './problems.ts';
import { type App, addRoute } from './route.ts';
import { checkRepeated, commitFor, DryRunQuery, refusalOf, WRITE_HEADERS } from './writes.ts';

const COLLECTION = { Site: '/v1/sites', Farm: '/v1/farms', Secret: '/v1/secrets' } as const;
const STORED: Record<Kind, z.ZodType> = { Site: StoredSite, Farm: StoredFarm, Secret: StoredSecret };

const byName = z.strictObject({ name: resourceName });
const IF_MATCH = { 'If-Match': '"REVISION": the one that was read; without it 428' };

/** Sites, farms and Secrets: PUT, GET, list, DELETE. */
export function resourceRoutes(app: App, deps: AppDeps): void {
  for (const kind of Object.keys(KINDS) as Kind[]) {
    putRoute(app, deps, kind);
    getRoute(app, deps, kind);
    listRoute(app, deps, kind);
    deleteRoute(app, deps, kind);
  }
}

/** What operators see of a resource: neither a farm's keys nor a Secret's values. */
const publicOf = ({ spec, revision, updatedAt }: StoredResource) => ({ spec: publicSpec(spec), revision, updatedAt });

function putRoute(app: App, deps: AppDeps, kind: Kind): void {
  addRoute(
    app,
    {
      method: 'put',
      path: `${COLLECTION[kind]}/{name}`,
      summary: `Create or replace a ${kind.toLowerCase()}`,
      guard: operatorGuard(deps, 'operator'),
      params: byName,
      query: DryRunQuery,
      body: KINDS[kind] as unknown as z.ZodType<Resource>,
      headers: { ...IF_MATCH, 'If-None-Match': '*: create what must not exist yet', ...WRITE_HEADERS },
      answers: {
        200: {
          description:
            'Replaced, or stored already as it was sent (then no new revision); of a dry run: what it would do',
          schema: z.union([STORED[kind], DryRunResponse]),
        },
        201: { description: 'Created', schema: STORED[kind] },
      },
      problems: [400, 401, 403, 412, 413, 415, 422, 428],
    },
    async (c, { params: { name }, query, body }) => {
      if (body.name !== name)
        throw new ValidationError([
          { field: 'name', found: show(body.name), allowed: `${show(name)}, as in the path` },
        ]);
      const change = {
        change: { action: 'put', spec: body },
        expectation: expectationOf(c, { create: true }),
      } as const;
      const outcome = await commitFor(c, deps, [change], { dryRun: query.dryRun === 'true', body });
      if (outcome.status === 'planned') return c.json(await dryRunOf(deps, outcome), 200);
      const { status, stored } = await putAnswer(c, deps, outcome, body);
      c.header('etag', etagOf(stored.revision));
      return c.json(stored, status);
    },
  );
}

/** The resource as it was stored: by this request, or by the one that this one repeats. */
async function putAnswer(c: Context<AppEnv>, deps: AppDeps, outcome: CommitOutcome, body: Resource) {
  if (outcome.status === 'committed') {
    const { status, stored } = outcome.results[0] as ChangeResult;
    return { status: status === 'created' ? 201 : 200, stored: publicOf(stored as StoredResource) } as const;
  }
  if (outcome.status !== 'repeated') throw refusalOf(onlyFaults(outcome));
  checkRepeated(c, outcome, body);
  const { results } = outcome.answer;
  const [{ kind, name, revision, status }] = results as [(typeof results)[number]];
  const version = await deps.store.version(kind, name, revision as number);
  if (version?.spec == null) throw new Error(`history lacks ${kind} ${name} at revision ${revision}`);
  const stored = { spec: version.spec, revision: version.revision, updatedAt: version.at };
  return { status: status === 'created' ? 201 : 200, stored } as const;
}

/** There is one resource in the request: faults need not say which. */
function onlyFaults(outcome: CommitOutcome): CommitOutcome {
  if (outcome.status !== 'invalid') return outcome;
  return { ...outcome, faults: outcome.faults.map(({ resource: _, ...fault }) => fault as ResourceFault) };
}

function getRoute(app: App, deps: AppDeps, kind: Kind): void {
  addRoute(
    app,
    {
      method: 'get',
      path: `${COLLECTION[kind]}/{name}`,
      summary: `Read a ${kind.toLowerCase()}`,
      guard: operatorGuard(deps, 'viewer'),
      params: byName,
      answers: {
        200: { description: 'The resource, its revision as ETag', schema: STORED[kind] },
        304: { description: 'If-None-Match has this revision' },
      },
      problems: [401, 404, 422],
    },
    async (c, { params: { name } }) => {
      const resource = await deps.store.get(kind, name);
      if (resource === undefined) throw missing(kind, name);
      const etag = etagOf(resource.revision);
      c.header('etag', etag);
      return isKnown(c, etag) ? c.body(null, 304) : c.json(publicOf(resource), 200);
    },
  );
}

function listRoute(app: App, deps: AppDeps, kind: Kind): void {
  const paging = pagingOf(kind);
  addRoute(
    app,
    {
      method: 'get',
      path: COLLECTION[kind],
      summary: `List ${kind.toLowerCase()}s by name`,
      guard: operatorGuard(deps, 'viewer'),
      query: PageQuery,
      answers: { 200: { description: 'One page', schema: page(STORED[kind]) } },
      problems: [401, 422],
    },
    async (c, { query }) => c.json(paging.answer(await deps.store.list(kind, paging.request(query)), publicOf), 200),
  );
}

function deleteRoute(app: App, deps: AppDeps, kind: Kind): void {
  addRoute(
    app,
    {
      method: 'delete',
      path: `${COLLECTION[kind]}/{name}`,
      summary: `Delete a ${kind.toLowerCase()}`,
      guard: operatorGuard(deps, 'operator'),
      params: byName,
      query: DryRunQuery,
      headers: { ...IF_MATCH, ...WRITE_HEADERS },
      answers: {
        200: { description: 'Of a dry run: what it would do', schema: DryRunResponse },
        204: { description: 'Deleted' },
      },
      problems: [400, 401, 403, 404, 409, 412, 422, 428],
    },
    async (c, { params: { name }, query }) => {
      const change = {
        change: { action: 'delete', kind, name },
        expectation: expectationOf(c, { create: false }),
      } as const;
      const outcome = await commitFor(c, deps, [change], { dryRun: query.dryRun === 'true', body: undefined });
      if (outcome.status === 'planned') return c.json(await dryRunOf(deps, outcome), 200);
      if (outcome.status === 'stale' && outcome.actual === null) throw missing(kind, name);
      if (outcome.status === 'repeated') checkRepeated(c, outcome, undefined);
      else if (outcome.status !== 'committed') throw refusalOf(outcome);
      return c.body(null, 204);
    },
  );
}

const missing = (kind: Kind, name: string) => new ProblemError(404, `there is no ${kind.toLowerCase()} ${name}`);
