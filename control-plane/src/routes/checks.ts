import {
  type Check,
  type CheckReport,
  CheckSchedule,
  type Farm,
  isExpensive,
  RunCheckResult,
  resourceName,
} from '@sipfleet/contract';
import { z } from 'zod';
import { BackendView, type CheckAgentView, CheckView, PageQuery, page, RunCheckResponse } from '../api.ts';
import type { CheckPlan, PlannedAgent } from '../domain/check-plan.ts';
import { beyond } from '../domain/identity.ts';
import type { AppDeps } from './deps.ts';
import { agentGuard, operatorGuard, requireSites } from './guards.ts';
import { pagingOf } from './paging.ts';
import { etagOf, isKnown } from './preconditions.ts';
import { ProblemError } from './problems.ts';
import { type App, addRoute } from './route.ts';
import { createRuns, type Runs } from './runs.ts';

const FarmQuery = PageQuery.extend({ farm: resourceName.optional() });
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
      answers: { 200: { description: 'One page, by farm, backend and check', schema: page(CheckView) } },
      problems: [401, 404, 422],
    },
    async (c, { query }) => {
      const [farms, plan] = [await farmsOf(query.farm), await deps.checks.plan()];
      const all = farms.flatMap((spec) =>
        spec.backends.flatMap(({ name }) =>
          spec.checks.map((check) => ({
            key: `${spec.name}#${name}#${check.name}`,
            view: () => checkView(spec, name, check, plan),
          })),
        ),
      );
      return c.json(pageOf('checks', all, query), 200);
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
      answers: { 200: { description: 'One page, by farm, site and backend', schema: page(BackendView) } },
      problems: [401, 404, 422],
    },
    async (c, { query }) => {
      const [farms, plan] = [await farmsOf(query.farm), await deps.checks.plan()];
      const all = farms.flatMap((spec) =>
        spec.sites.flatMap((site) =>
          spec.backends.map(({ name }) => ({
            key: `${spec.name}#${site}#${name}`,
            view: () => backendView(spec, site, name, plan),
          })),
        ),
      );
      return c.json(pageOf('backends', all, query), 200);
    },
  );
}

/** A page ends behind the view with which it has so many agents: some megabytes, which a function on Lambda can answer. */
const AGENTS_ON_PAGE = 5000;

/** Of a large fleet each view is long, since every agent stands in it: only those are made that are shown. */
function pageOf<T extends { agents: readonly unknown[] }>(
  list: string,
  all: readonly { key: string; view: () => T }[],
  { farm = '', ...asked }: z.infer<typeof FarmQuery>,
): { items: T[]; cursor?: string } {
  const paging = pagingOf(`${list} ${farm}`);
  const { limit, cursor = '' } = paging.request(asked);
  const left = all.filter(({ key }) => key > cursor).sort((a, b) => (a.key < b.key ? -1 : 1));
  const items: T[] = [];
  let agents = 0;
  for (const { view } of left) {
    if (items.length === limit || agents >= AGENTS_ON_PAGE) break;
    const made = view();
    items.push(made);
    agents += made.agents.length;
  }
  const last = left[items.length - 1];
  const more = last !== undefined && left.length > items.length ? { cursor: last.key } : {};
  return paging.answer({ items, ...more }, (view) => view);
}

function checkView(spec: Farm, backend: string, check: Check, plan: CheckPlan): CheckView {
  const path = { farm: spec.name, backend, check: check.name };
  const agents = isExpensive(check)
    ? assignedTo(plan, path).map(([agent, slot]) => agentView(agent, path, slot))
    : plan.agents
        .filter((agent) => spec.sites.includes(agent.site))
        .map((agent) => agentView(agent, path, { periodMs: null, phaseMs: null }));
  return { ...path, type: check.type, interval: check.interval ?? '', agents };
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

function backendView(spec: Farm, site: string, backend: string, plan: CheckPlan): BackendView {
  const agents = plan.agents
    .filter((agent) => agent.alive && agent.site === site)
    .flatMap(({ name, report }) => {
      const held = report?.backends.find((b) => b.farm === spec.name && b.backend === backend);
      return held ? [{ agent: name, state: held.state, since: held.since, reason: held.reason }] : [];
    });
  const count = (state: string): number => agents.filter((a) => a.state === state).length;
  const [up, down] = [count('up'), count('down')];
  return { site, farm: spec.name, backend, up, down, unknown: count('unknown'), agree: up === 0 || down === 0, agents };
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
