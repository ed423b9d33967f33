import {
  type CheckReport,
  CheckSchedule,
  type Farm,
  isExpensive,
  RunCheckResult,
  resourceName,
} from '@sipfleet/contract';
import { z } from 'zod';
import { BackendView, type CheckAgentView, CheckView, RunCheckResponse } from '../api.ts';
import type { CheckPlan, PlannedAgent } from '../domain/check-plan.ts';
import { beyond } from '../domain/identity.ts';
import type { AppDeps } from './deps.ts';
import { agentGuard, operatorGuard, requireSites } from './guards.ts';
import { etagOf, isKnown } from './preconditions.ts';
import { ProblemError } from './problems.ts';
import { type App, addRoute } from './route.ts';
import { createRuns, type Runs } from './runs.ts';

const FarmQuery = z.strictObject({ farm: resourceName.optional() });
const CheckPath = z.strictObject({ farm: resourceName, backend: resourceName, check: resourceName });
type CheckPath = z.infer<typeof CheckPath>;

/** Who makes which check, what was found, and one made now. */
export function checkRoutes(app: App, deps: AppDeps): void {
  const runs = createRuns(deps);
  scheduleRoute(app, deps);
  listRoutes(app, deps);
  runRoutes(app, deps, runs);
}

function scheduleRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/agent/schedule',
      summary: 'The expensive checks that this agent makes, and what the others of its site found with theirs',
      guard: agentGuard(deps),
      answers: {
        200: { description: 'The schedule; its ETag is the SHA-256 of the body', schema: CheckSchedule },
        304: { description: 'If-None-Match has this schedule' },
      },
      problems: [401],
    },
    async (c) => {
      const { body, etag } = await deps.checks.schedule(c.get('agent'));
      c.header('etag', etagOf(etag));
      return isKnown(c, etagOf(etag)) ? c.body(null, 304) : c.body(body, 200, { 'content-type': 'application/json' });
    },
  );
}

function listRoutes(app: App, deps: AppDeps): void {
  const guard = operatorGuard(deps, 'viewer');
  const farmsOf = async (name: string | undefined): Promise<Farm[]> => {
    const { farms } = await deps.current.configuration();
    if (name !== undefined && !farms.has(name)) throw new ProblemError(404, `there is no Farm ${name}`);
    return [...farms.values()].map(({ spec }) => spec).filter((spec) => name === undefined || spec.name === name);
  };
  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/checks',
      summary: 'Every check of every backend: who makes it when, and what was found last',
      guard,
      query: FarmQuery,
      answers: { 200: { description: 'All of them', schema: z.object({ items: z.array(CheckView) }) } },
      problems: [401, 404, 422],
    },
    async (c, { query: { farm } }) => {
      const [farms, plan] = [await farmsOf(farm), await deps.checks.plan()];
      return c.json({ items: farms.flatMap((spec) => checksOf(spec, plan)) }, 200);
    },
  );
  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/backends',
      summary: 'Every backend as the living agents of each site hold it, and where they disagree',
      guard,
      query: FarmQuery,
      answers: { 200: { description: 'All of them', schema: z.object({ items: z.array(BackendView) }) } },
      problems: [401, 404, 422],
    },
    async (c, { query: { farm } }) => {
      const [farms, plan] = [await farmsOf(farm), await deps.checks.plan()];
      return c.json({ items: farms.flatMap((spec) => backendsOf(spec, plan)) }, 200);
    },
  );
}

function checksOf(spec: Farm, plan: CheckPlan): CheckView[] {
  const there = plan.agents.filter((agent) => spec.sites.includes(agent.site));
  return spec.backends.flatMap(({ name: backend }) =>
    spec.checks.map((check) => {
      const path = { farm: spec.name, backend, check: check.name };
      const agents = isExpensive(check)
        ? assignedTo(plan, path).map(([agent, slot]) => agentView(agent, path, slot))
        : there.map((agent) => agentView(agent, path, { periodMs: null, phaseMs: null }));
      return { ...path, type: check.type, interval: check.interval ?? '', agents };
    }),
  );
}

type SlotView = Pick<CheckAgentView, 'periodMs' | 'phaseMs'>;

const assignedTo = ({ agents, assignments }: CheckPlan, path: CheckPath): [PlannedAgent, SlotView][] =>
  assignments
    .filter((a) => a.farm === path.farm && a.backend === path.backend && a.check === path.check)
    .flatMap(({ agentId, periodMs, phaseMs }) => {
      const agent = agents.find((a) => a.agentId === agentId);
      return agent ? [[agent, { periodMs, phaseMs }] as [PlannedAgent, SlotView]] : [];
    });

function agentView(agent: PlannedAgent, path: CheckPath, { periodMs, phaseMs }: SlotView): CheckAgentView {
  const { agentId, name, site, alive, report } = agent;
  const isIt = (r: CheckReport): boolean =>
    r.farm === path.farm && r.backend === path.backend && r.check === path.check;
  return { agentId, name, site, alive, periodMs, phaseMs, last: report?.checks?.find(isIt) ?? null };
}

function backendsOf(spec: Farm, plan: CheckPlan): BackendView[] {
  return spec.sites.flatMap((site) =>
    spec.backends.map(({ name: backend }) => {
      const agents = plan.agents
        .filter((agent) => agent.alive && agent.site === site)
        .flatMap(({ name, report }) => {
          const held = report?.backends.find((b) => b.farm === spec.name && b.backend === backend);
          return held ? [{ agent: name, state: held.state, since: held.since, reason: held.reason }] : [];
        });
      const count = (state: string): number => agents.filter((a) => a.state === state).length;
      const [up, down] = [count('up'), count('down')];
      const agree = up === 0 || down === 0;
      return { site, farm: spec.name, backend, up, down, unknown: count('unknown'), agree, agents };
    }),
  );
}

function runRoutes(app: App, deps: AppDeps, runs: Runs): void {
  addRoute(
    app,
    {
      method: 'post',
      path: '/v1/checks/{farm}/{backend}/{check}/run',
      summary: 'Have an agent make a check now, beside the schedule, and wait for what it finds',
      guard: operatorGuard(deps, 'operator'),
      params: CheckPath,
      answers: { 200: { description: 'What was found', schema: RunCheckResponse } },
      problems: [401, 403, 404, 422, 503],
    },
    async (c, { params }) => {
      const { farms } = await deps.current.configuration();
      const spec = farms.get(params.farm)?.spec;
      const check = spec?.checks.find((k) => k.name === params.check);
      if (!spec || !check || !spec.backends.some((b) => b.name === params.backend))
        throw new ProblemError(404, `there is no check ${params.farm}/${params.backend}/${params.check}`);
      const operator = c.get('operator');
      const sites = spec.sites.filter((site) => beyond(operator, [site]).length === 0);
      if (sites.length === 0) requireSites(operator, spec.sites, `farm ${spec.name}`);
      const plan = await deps.checks.plan();
      // Whoever makes it anyway comes first: what it finds is what counts.
      const candidates = [...assignedTo(plan, params).map(([agent]) => agent), ...plan.agents].filter((agent) =>
        sites.includes(agent.site),
      );
      return c.json(await runs.run(candidates, params, check), 200);
    },
  );

  addRoute(
    app,
    {
      method: 'post',
      path: '/v1/agent/check-results',
      summary: 'What an agent found with a check that it was asked to make now',
      guard: agentGuard(deps),
      body: RunCheckResult,
      answers: { 204: { description: 'Taken, or nobody waits for it any more' } },
      problems: [400, 401, 413, 422],
    },
    (c, { body: { id, report } }) => {
      runs.finished(c.get('agent').agentId, id, report);
      return c.body(null, 204);
    },
  );
}
