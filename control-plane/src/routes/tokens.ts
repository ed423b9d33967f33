import { parseDuration, show, ValidationError } from '@sipfleet/contract';
import { z } from 'zod';
import { page } from '../api.ts';
import { TokenMade, TokenRequest, TokenView } from '../api-access.ts';
import { AuthError } from '../auth/auth-error.ts';
import { hashSecret, newSecret } from '../auth/secret.ts';
import { type ApiToken, beyond, type Operator } from '../domain/identity.ts';
import type { AppDeps } from './deps.ts';
import { operatorGuard } from './guards.ts';
import { ProblemError } from './problems.ts';
import { type App, addRoute } from './route.ts';

/** Operators' tokens: made, listed and revoked by admins, each within what they may themselves. */
export function tokenRoutes(app: App, deps: AppDeps): void {
  listRoute(app, deps);
  makeRoute(app, deps);
  revokeRoute(app, deps);
}

const ID_LENGTH = 12;
const viewOf = ({ hash, name, role, sites, createdAt, expiresAt }: ApiToken): TokenView => ({
  ...{ id: hash.slice(0, ID_LENGTH), name, role },
  sites: sites === null ? null : [...sites],
  ...{ createdAt, expiresAt },
});

/** @throws AuthError where a token may more than who asks: an admin of milan makes none for rome, and none for all */
function requireWithin(operator: Operator, { name, sites }: Pick<ApiToken, 'name' | 'sites'>): void {
  if (operator.sites === null) return;
  const missing = sites === null ? 'all sites' : beyond(operator, sites).join(', ');
  if (missing !== '')
    throw new AuthError(403, `token ${name} is for ${missing}, which ${operator.name} may not change`);
}

function listRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/tokens',
      summary: 'List operators’ tokens, expired ones as well; never the tokens themselves',
      guard: operatorGuard(deps, 'admin'),
      answers: { 200: { description: 'All of them', schema: page(TokenView) } },
      problems: [401, 403],
    },
    async (c) => c.json({ items: (await deps.store.apiTokens()).map(viewOf) }, 200),
  );
}

function makeRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'post',
      path: '/v1/tokens',
      summary: 'Make a token for an operator or a program',
      guard: operatorGuard(deps, 'admin'),
      body: TokenRequest,
      audit: {
        action: 'token.create',
        details: ({ body: { name, role, sites } }) => ({ name, role, sites: sites?.join(',') ?? 'all' }),
      },
      answers: { 201: { description: 'The token, shown this once', schema: TokenMade } },
      problems: [400, 401, 403, 409, 413, 422],
    },
    async (c, { body: { name, role, sites = null, ttl } }) => {
      requireWithin(c.get('operator'), { name, sites });
      await requireThere(deps, sites ?? []);
      if ((await deps.store.apiTokens()).some((token) => token.name === name))
        throw new ProblemError(409, `there is a token ${name}: its name stands in the audit log, take another`);
      const secret = newSecret('sft_', deps.randomBytes);
      const now = deps.now();
      const createdAt = new Date(now).toISOString();
      const expiresAt = ttl === undefined ? null : new Date(now + (parseDuration(ttl) as number)).toISOString();
      const token = { hash: hashSecret(secret), name, role, sites, createdAt, expiresAt };
      await deps.store.putApiToken(token);
      deps.log.info({ token: name, role, sites, expiresAt, actor: c.get('operator').name }, 'an API token was made');
      return c.json({ ...viewOf(token), token: secret }, 201);
    },
  );
}

async function requireThere({ current }: AppDeps, names: readonly string[]): Promise<void> {
  const { sites } = await current.configuration();
  const i = names.findIndex((name) => !sites.has(name));
  if (i >= 0)
    throw new ValidationError([
      { field: `sites[${i}]`, found: show(names[i]), allowed: 'a site that exists', message: 'no such site' },
    ]);
}

function revokeRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'delete',
      path: '/v1/tokens/{id}',
      summary: 'Revoke a token, by id or name: its next request is answered 401',
      guard: operatorGuard(deps, 'admin'),
      params: z.strictObject({ id: z.string().min(1).max(100) }),
      audit: { action: 'token.revoke', details: ({ params: { id } }) => ({ token: id }) },
      answers: { 204: { description: 'Revoked' } },
      problems: [401, 403, 404],
    },
    async (c, { params: { id } }) => {
      const found = (await deps.store.apiTokens()).filter(
        ({ hash, name }) => name === id || hash.slice(0, ID_LENGTH) === id,
      );
      if (found.length === 0) throw new ProblemError(404, `there is no token ${id}`);
      for (const token of found) requireWithin(c.get('operator'), token);
      for (const { hash } of found) await deps.store.deleteApiToken(hash);
      deps.log.info({ token: id, actor: c.get('operator').name }, 'an API token was revoked');
      return c.body(null, 204);
    },
  );
}
