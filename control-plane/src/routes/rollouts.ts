import { formatDuration, parseDuration } from '@sipfleet/contract';
import { z } from 'zod';
import { PageQuery, page } from '../api.ts';
import { type RolloutRequest, RolloutView } from '../api-rollouts.ts';
import { ALIVE_MS } from '../domain/check-plan.ts';
import { isActive, type Rollout, type RolloutPolicy, type Stage, VERBS } from '../domain/rollout.ts';
import { HALT_AT, MEASURES, noProgress, type RolloutProgress, stageView } from '../domain/rollout-gate.ts';
import { strength } from '../domain/sequential.ts';
import type { AppDeps } from './deps.ts';
import { operatorGuard, requireSites } from './guards.ts';
import { pagingOf } from './paging.ts';
import { ProblemError } from './problems.ts';
import { type App, addRoute } from './route.ts';
import { sourceOf } from './writes.ts';

const byNumber = z.strictObject({
  number: z.coerce.number({ error: 'the number of a rollout' }).int().min(1, { error: 'the number of a rollout' }),
});

/** Rollouts: what is under way, what was, and pause, resume, abort. They are opened by `POST /v1/changes`. */
export function rolloutRoutes(app: App, deps: AppDeps): void {
  listRoute(app, deps);
  getRoute(app, deps);
  commandRoutes(app, deps);
}

/** As it was asked for → as it is stored. */
export function policyOf(request: RolloutRequest | undefined): RolloutPolicy | undefined {
  if (request === undefined) return undefined;
  const { stages, scope, bake, ackTimeout } = request;
  return {
    stages: stages.map((text) =>
      text.endsWith('%') ? { percent: Number.parseInt(text, 10) } : { agents: Number(text) },
    ),
    scope,
    bakeMs: parseDuration(bake) as number,
    ackTimeoutMs: parseDuration(ackTimeout) as number,
  };
}

const textOf = (stage: Stage): string => ('percent' in stage ? `${stage.percent}%` : String(stage.agents));

async function viewOf(deps: AppDeps, rollout: Rollout): Promise<RolloutView> {
  const { number, state, actor, openedAt, farms, sites, policy, stage, reason, events } = rollout;
  const { scope, bakeMs } = policy;
  const progress = (await deps.store.rolloutProgress(number)) ?? noProgress(number);
  const acked = progress.stageAt === rollout.stageAt && progress.ackedAt !== null ? Date.parse(progress.ackedAt) : null;
  const live = isActive(rollout);
  return {
    ...{ number, state, actor, openedAt, farms: [...farms], sites: [...sites], scope, stage, reason },
    stages: policy.stages.map(textOf),
    bake: formatDuration(bakeMs),
    bakeEndsAt: live && acked !== null ? new Date(acked + bakeMs).toISOString() : null,
    agents: live ? await agentsOf(deps, rollout) : null,
    gate: live ? gateOf(progress) : null,
    events: [...events],
  };
}

async function agentsOf(deps: AppDeps, rollout: Rollout): Promise<NonNullable<RolloutView['agents']>> {
  const fleet = await deps.rollouts.fleet(rollout);
  const { moved, expected, acked } = stageView(rollout, fleet, ALIVE_MS);
  const waiting = expected.filter((agent) => !acked.includes(agent)).map(({ name }) => name);
  return { total: fleet.agents.length, moved: moved.length, applied: acked.length, waiting: waiting.slice(0, 20) };
}

const gateOf = ({ evidence }: RolloutProgress): NonNullable<RolloutView['gate']> =>
  MEASURES.map((measure) => {
    const { moved, others } = evidence[measure];
    return { measure, moved, others, strength: strength(evidence[measure]), haltsAt: HALT_AT };
  });

function listRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/rollouts',
      summary: 'List rollouts, newest first',
      guard: operatorGuard(deps, 'viewer'),
      query: PageQuery,
      answers: { 200: { description: 'One page', schema: page(RolloutView) } },
      problems: [401, 422],
    },
    async (c, { query }) => {
      const paging = pagingOf('rollouts');
      const { items, ...more } = await deps.store.rollouts(paging.request(query));
      const views: RolloutView[] = [];
      for (const rollout of items) views.push(await viewOf(deps, rollout));
      return c.json(
        paging.answer({ items: views, ...more }, (view) => view),
        200,
      );
    },
  );
}

function getRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/rollouts/{number}',
      summary: 'Read a rollout: its stage, its agents, and what the gate has seen',
      guard: operatorGuard(deps, 'viewer'),
      params: byNumber,
      answers: { 200: { description: 'The rollout', schema: RolloutView } },
      problems: [401, 404, 422],
    },
    async (c, { params: { number } }) => {
      // A page of one that begins with it: they are listed by falling number.
      const { items } = await deps.store.rollouts({ limit: 1, cursor: cursorBefore(number) });
      const [rollout] = items;
      if (rollout?.number !== number) throw new ProblemError(404, `there is no rollout ${number}`);
      return c.json(await viewOf(deps, rollout), 200);
    },
  );
}

/** Cursors are exclusive, and as wide as DynamoDB's sort key. */
const cursorBefore = (number: number): string => String(number + 1).padStart(12, '0');

const SUMMARIES = {
  pause: 'Stop moving agents, in either direction: those that have the change keep it, nobody else gets it',
  resume: 'Go on with a paused rollout; its stage is watched anew',
  abort: 'Roll back: everything becomes as it was before, in one new revision, for all agents at once',
} as const;

function commandRoutes(app: App, deps: AppDeps): void {
  for (const verb of VERBS)
    addRoute(
      app,
      {
        method: 'post',
        path: `/v1/rollouts/{number}/${verb}`,
        summary: SUMMARIES[verb],
        guard: operatorGuard(deps, 'operator'),
        params: byNumber,
        answers: { 200: { description: 'The rollout as it is now', schema: RolloutView } },
        problems: [401, 403, 404, 409, 422],
      },
      async (c, { params: { number } }) => {
        const actor = c.get('operator').name;
        const { rollout } = await deps.current.configuration();
        if (rollout?.number === number) requireSites(c.get('operator'), rollout.sites, `rollout ${number}`);
        const outcome = await deps.rollouts.command({ number, verb, actor, source: sourceOf(c) });
        if (outcome.status === 'unknown')
          throw new ProblemError(404, `rollout ${number} is not the last one, or there is none`);
        if (outcome.status === 'impossible') {
          const { state } = outcome.rollout;
          const can = outcome.allowed.length === 0 ? 'it has ended' : `possible now: ${outcome.allowed.join(', ')}`;
          throw new ProblemError(409, `rollout ${number} is ${state} and cannot ${verb}: ${can}`);
        }
        deps.log.info({ rollout: number, verb, actor }, 'a rollout was told');
        return c.json(await viewOf(deps, outcome.rollout), 200);
      },
    );
}
