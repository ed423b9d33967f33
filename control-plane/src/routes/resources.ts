import { KINDS, type Kind, type Resource, resourceName, show, ValidationError } from '@sipfleet/contract';
import { z } from 'zod';
import { PageQuery, page, StoredFarm, StoredSecret, StoredSite } from '../api.ts';
import type { StoredResource } from '../domain/configuration.ts';
import { viewOf } from '../domain/secrets.ts';
import { someOf } from '../domain/validate.ts';
import type { CommitOutcome } from '../store/commit.ts';
import type { AppDeps } from './deps.ts';
import { operatorGuard } from './guards.ts';
import { etagOf, expectationOf, isKnown } from './preconditions.ts';
import { ProblemError } from './problems.ts';
import { type App, addRoute } from './route.ts';

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
const publicOf = ({ spec, revision, updatedAt }: StoredResource) => ({
  spec: spec.kind === 'Secret' ? viewOf(spec) : spec,
  revision,
  updatedAt,
});

function putRoute(app: App, deps: AppDeps, kind: Kind): void {
  addRoute(
    app,
    {
      method: 'put',
      path: `${COLLECTION[kind]}/{name}`,
      summary: `Create or replace a ${kind.toLowerCase()}`,
      guard: operatorGuard(deps, 'operator'),
      params: byName,
      body: KINDS[kind] as unknown as z.ZodType<Resource>,
      headers: { ...IF_MATCH, 'If-None-Match': '*: create what must not exist yet' },
      answers: {
        200: { description: 'Replaced, or stored already as it was sent (then no new revision)', schema: STORED[kind] },
        201: { description: 'Created', schema: STORED[kind] },
      },
      problems: [400, 401, 403, 412, 413, 422, 428],
    },
    async (c, { params: { name }, body }) => {
      if (body.name !== name)
        throw new ValidationError([
          { field: 'name', found: show(body.name), allowed: `${show(name)}, as in the path` },
        ]);
      const outcome = await deps.commit({
        change: { action: 'put', spec: body },
        expectation: expectationOf(c, { create: true }),
        actor: c.get('operator').name,
      });
      if (!('stored' in outcome)) throw refusalOf(outcome, kind, name);
      c.header('etag', etagOf(outcome.stored.revision));
      return c.json(publicOf(outcome.stored), outcome.status === 'created' ? 201 : 200);
    },
  );
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
    async (c, { query }) => {
      const { items, ...more } = await deps.store.list(kind, query);
      return c.json({ items: items.map(publicOf), ...more }, 200);
    },
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
      headers: IF_MATCH,
      answers: { 204: { description: 'Deleted' } },
      problems: [400, 401, 403, 404, 409, 412, 422, 428],
    },
    async (c, { params: { name } }) => {
      const outcome = await deps.commit({
        change: { action: 'delete', kind, name },
        expectation: expectationOf(c, { create: false }),
        actor: c.get('operator').name,
      });
      if (outcome.status === 'stale' && outcome.actual === null) throw missing(kind, name);
      if (outcome.status !== 'deleted') throw refusalOf(outcome, kind, name);
      return c.body(null, 204);
    },
  );
}

const missing = (kind: Kind, name: string) => new ProblemError(404, `there is no ${kind.toLowerCase()} ${name}`);

/** Why a change was not stored. */
function refusalOf(outcome: CommitOutcome, kind: Kind, name: string): Error {
  const what = `${kind.toLowerCase()} ${name}`;
  switch (outcome.status) {
    case 'invalid':
      return new ValidationError(outcome.faults.map(({ resource: _, ...fault }) => fault));
    case 'stale':
      return outcome.actual === null
        ? new ProblemError(412, `there is no ${what} to replace: create it with If-None-Match: *`)
        : new ProblemError(412, `${what} is at revision ${outcome.actual} now: read it again and decide anew`);
    case 'in-use': {
      const users = [
        ...outcome.farms.map((farm) => `farm ${farm}`),
        ...outcome.agents.map((agent) => `agent ${agent}`),
      ];
      return new ProblemError(409, `${what} is still used by ${someOf(users)}`);
    }
    default:
      return new Error(`a commit of ${what} ended ${outcome.status}`);
  }
}
