import { EnrolRequest, EnrolResponse, parseDuration, show, type Target, ValidationError } from '@sipfleet/contract';
import { z } from 'zod';
import { AgentView, JoinTokenRequest, JoinTokenResponse, PageQuery, page } from '../api.ts';
import { AuthError } from '../auth/auth-error.ts';
import { hashSecret, newAgentId, newSecret } from '../auth/secret.ts';
import type { CompiledSnapshot } from '../domain/compile.ts';
import { driftOf } from '../domain/drift.ts';
import type { AgentRecord } from '../domain/identity.ts';
import type { AppDeps } from './deps.ts';
import { operatorGuard, requireSites } from './guards.ts';
import { iamToken } from './iam-join.ts';
import { ProblemError } from './problems.ts';
import { type App, addRoute } from './route.ts';

/** How agents come, are seen and go. */
export function agentsRoutes(app: App, deps: AppDeps): void {
  joinTokenRoute(app, deps);
  enrolRoute(app, deps);
  listRoute(app, deps);
  revokeRoute(app, deps);
}

function joinTokenRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'post',
      path: '/v1/join-tokens',
      summary: 'Make a one-time token with which one agent joins a site',
      guard: operatorGuard(deps, 'operator'),
      body: JoinTokenRequest,
      audit: { action: 'join-token.create', details: ({ body: { site, ttl } }) => ({ site, ttl }) },
      answers: { 201: { description: 'The token, shown this once', schema: JoinTokenResponse } },
      problems: [400, 401, 403, 413, 422],
    },
    async (c, { body: { site, ttl } }) => {
      requireSites(c.get('operator'), [site], 'this join token');
      if ((await deps.store.get('Site', site)) === undefined)
        throw new ValidationError([
          { field: 'site', found: show(site), allowed: 'a site that exists', message: 'no such site' },
        ]);
      const token = newSecret('sfj_', deps.randomBytes);
      const createdAt = new Date(deps.now()).toISOString();
      const expiresAt = new Date(deps.now() + (parseDuration(ttl) as number)).toISOString();
      await deps.store.putJoinToken({ hash: hashSecret(token), site, createdAt, expiresAt });
      deps.log.info({ site, expiresAt, actor: c.get('operator').name }, 'a join token was made');
      return c.json({ token, site, expiresAt }, 201);
    },
  );
}

const REFUSED = {
  unknown: 'this join token is not known here: it was mistyped, made elsewhere, or has expired long ago',
  used: 'this join token was used already: it serves one agent, make another',
  expired: 'this join token has expired: make another',
  'site-gone': 'the site of this join token was deleted',
} as const;

function enrolRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'post',
      path: '/v1/agents/enrol',
      summary: 'Join a site: a one-time token buys an identity for a public key',
      body: EnrolRequest,
      audit: { action: 'agent.join', actor: ({ body }) => `agent ${body.name}` },
      answers: { 201: { description: 'The identity', schema: EnrolResponse } },
      problems: [400, 401, 413, 422, 503],
    },
    async (c, { body }) => {
      const tokenHash =
        body.iam === undefined ? hashSecret(body.joinToken ?? '') : await iamToken(deps, body, body.iam);
      const outcome = await deps.store.enrol({
        tokenHash,
        agentId: newAgentId(deps.randomBytes),
        name: body.name,
        publicKey: body.publicKey.x,
        sealKey: body.sealKey?.x ?? null,
        version: body.version,
        at: new Date(deps.now()).toISOString(),
      });
      if (outcome.status === 'full') throw new ProblemError(503, 'all 65,535 agent numbers are taken: revoke some');
      if (outcome.status !== 'enrolled') throw new AuthError(401, REFUSED[outcome.status]);
      const { agentId, number, site } = outcome;
      const by = body.iam === undefined ? 'join token' : 'IAM role';
      deps.log.info({ agent: agentId, name: body.name, site, by }, 'an agent joined');
      return c.json({ agentId, number, site, signingKey: await deps.signer.current() }, 201);
    },
  );
}

function listRoute(app: App, deps: AppDeps): void {
  const view = async (agent: AgentRecord, { generation, etag }: Omit<Target, 'site'>): Promise<AgentView> => {
    const { agentId, number, name, site, version, firstSeenAt, lastReportAt, report } = agent;
    const connected = await deps.hub.connected(agent);
    const seen = { agentId, number, name, site, version, connected, firstSeenAt, lastReportAt };
    const target = { site, generation, etag };
    const drift = driftOf(agent, target, deps.now());
    return { ...seen, snapshot: report?.snapshot ?? null, target, drift, backends: report?.backends ?? [] };
  };
  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/agents',
      summary: 'List agents with what they last reported and what they should run',
      guard: operatorGuard(deps, 'viewer'),
      query: PageQuery,
      answers: { 200: { description: 'One page', schema: page(AgentView) } },
      problems: [401, 422],
    },
    async (c, { query }) => {
      const { items, ...more } = await deps.store.agents(query);
      const targets = await deps.current.snapshotsFor(items);
      const views = items.map((agent, i) => view(agent, targets[i] as CompiledSnapshot));
      return c.json({ items: await Promise.all(views), ...more }, 200);
    },
  );
}

function revokeRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'delete',
      path: '/v1/agents/{id}',
      summary: 'Revoke an agent: its next request is answered 401',
      guard: operatorGuard(deps, 'admin'),
      params: z.strictObject({ id: z.string().max(100) }),
      audit: { action: 'agent.revoke', details: ({ params: { id } }) => ({ agent: id }) },
      answers: { 204: { description: 'Revoked' } },
      problems: [401, 403, 404],
    },
    async (c, { params: { id } }) => {
      const agent = await deps.store.identity(id);
      if (agent !== undefined) requireSites(c.get('operator'), [agent.site], `agent ${agent.name}`);
      if (agent === undefined || !(await deps.store.deleteAgent(id)))
        throw new ProblemError(404, `there is no agent ${id}`);
      deps.checks.gone(agent);
      await deps.hub.disconnect(agent);
      deps.log.info({ agent: id, actor: c.get('operator').name }, 'an agent was revoked');
      return c.body(null, 204);
    },
  );
}
