import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { canonicalJson } from '@sipfleet/contract';
import { ALIVE_MS } from '../domain/check-plan.ts';
import { affectedSites, departuresAfter } from '../domain/compile.ts';
import type { Configuration, StoredFarm } from '../domain/configuration.ts';
import type { SiteAgent } from '../domain/identity.ts';
import { sameSpec } from '../domain/plan.ts';
import {
  isActive,
  pause,
  type Restoration,
  type Rollout,
  restorations,
  resume,
  rolledBack,
  type Verb,
  verbsFor,
} from '../domain/rollout.ts';
import { advance, type Fleet, noProgress, type RolloutProgress, type SeenAgent } from '../domain/rollout-gate.ts';
import type { Current } from './current.ts';
import type { ChangeSet, ResourceWrite, Store } from './store.ts';

export interface RolloutDeps {
  store: Pick<Store, 'agentsAt' | 'write' | 'rolloutProgress' | 'putRolloutProgress'>;
  current: Pick<Current, 'configuration' | 'snapshots'>;
  /** Called after each write. */
  onCommit: () => void;
  /** As `CheckPlansDeps` has it: silence while this process was away is nobody's fault. */
  listeningSince?: number;
}

/** What came of an operator's word. `allowed`: what is possible in the state that it is in. */
export type CommandOutcome =
  | { status: 'done'; rollout: Rollout }
  | { status: 'unknown' }
  | { status: 'impossible'; rollout: Rollout; allowed: readonly Verb[] };

const MAX_ATTEMPTS = 100;

/** Tries again with what is stored then, where another write came first. `undefined` from `step`: there is nothing to write. */
async function written(
  deps: RolloutDeps,
  step: (configuration: Configuration) => Promise<Omit<ChangeSet, 'id' | 'base'> | undefined>,
): Promise<Rollout | undefined> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const configuration = await deps.current.configuration();
    const set = await step(configuration);
    if (set === undefined) return undefined;
    const id = randomUUID().replaceAll('-', '');
    const outcome = await deps.store.write({ ...set, id, base: configuration.revision });
    if (outcome.status === 'written') {
      deps.onCommit();
      return set.rollout;
    }
    await delay(Math.random() * Math.min(50, attempt));
  }
  throw new Error(`the configuration changed ${MAX_ATTEMPTS} times while a rollout was being stored`);
}

/** Pauses, resumes or aborts the rollout that is under way. */
export async function commandRollout(
  deps: RolloutDeps,
  request: { number: number; verb: Verb; actor: string; source: string; at: string },
): Promise<CommandOutcome> {
  const { number, verb, actor, source, at } = request;
  let refused: CommandOutcome | undefined;
  const done = await written(deps, async (configuration) => {
    const { rollout } = configuration;
    refused = undefined;
    if (rollout?.number !== number) refused = { status: 'unknown' };
    else if (!verbsFor(rollout).includes(verb)) refused = { status: 'impossible', rollout, allowed: verbsFor(rollout) };
    if (refused !== undefined || rollout === undefined) return undefined;
    const by = { actor, source, at };
    if (verb === 'abort') return rollback(configuration, rollout, `aborted by ${actor}`, by);
    const next = verb === 'pause' ? pause(rollout, actor, at) : resume(rollout, actor, at);
    return { ...by, affects: [], writes: [], rollout: next };
  });
  return refused ?? { status: 'done', rollout: done as Rollout };
}

/**
 * One look at the rollout that is under way, if there is one: what it takes in, and each step that follows, is stored by itself, on condition that
 * nobody else came first. So any number of processes may look at once, and each may die at any moment.
 */
export async function advanceRollouts(deps: RolloutDeps, now: number): Promise<void> {
  await written(deps, async (configuration) => {
    const { rollout } = configuration;
    if (!isActive(rollout) || rollout.state !== 'running') return undefined;
    const known = (await deps.store.rolloutProgress(rollout.number)) ?? noProgress(rollout.number);
    const fleet = await readFleet(deps, rollout, now);
    const { progress, next, halt } = advance(rollout, known, fleet, now, ALIVE_MS);
    if (!(await keep(deps, known, progress))) return undefined;
    const by = { actor: `rollout:${rollout.number}`, source: 'control plane', at: new Date(now).toISOString() };
    if (halt !== undefined) return rollback(configuration, rollout, halt, by);
    return next === undefined || next === rollout
      ? undefined
      : { ...by, affects: rollout.sites, writes: [], rollout: next };
  });
}

/** False: another process has looked meanwhile; what it has seen counts. */
async function keep(deps: RolloutDeps, known: RolloutProgress, progress: RolloutProgress): Promise<boolean> {
  if (canonicalJson(known) === canonicalJson(progress)) return true;
  return deps.store.putRolloutProgress({ ...progress, version: known.version + 1 });
}

/** Agents of a rollout's sites, and what they should run. */
export async function readFleet(
  { store, current, listeningSince = 0 }: Pick<RolloutDeps, 'store' | 'current' | 'listeningSince'>,
  { sites }: Rollout,
  now: number,
): Promise<Fleet> {
  const agents: SeenAgent[] = [];
  for (const site of sites)
    for (const agent of await store.agentsAt(site))
      agents.push(seen(agent, (at) => now - Math.max(at, listeningSince) < ALIVE_MS));
  const targets = new Map<string, { next: string; before: string }>();
  for (const site of sites) {
    const { next, before } = await current.snapshots(site);
    targets.set(site, { next: next.etag, before: before.etag });
  }
  return { agents, targets };
}

function seen(agent: SiteAgent, isAlive: (heardAt: number) => boolean): SeenAgent {
  const { agentId, number, name, site, firstSeenAt, lastReportAt, report } = agent;
  const heardAt = Date.parse(lastReportAt ?? firstSeenAt);
  return { agentId, number, name, site, firstSeenAt, heardAt, alive: isAlive(heardAt), report };
}

type Rollback = Omit<ChangeSet, 'id' | 'base'>;

/** Everything back to what it was before, in one revision with the end of the rollout. */
function rollback(
  configuration: Configuration,
  rollout: Rollout,
  reason: string,
  by: Pick<ChangeSet, 'actor' | 'source' | 'at'>,
): Rollback {
  const alike = (a: StoredFarm, b: StoredFarm) => sameSpec(a, b.spec);
  const back = restorations(configuration, rollout, alike);
  const affects = new Set(rollout.sites);
  const writes = back.map((restoration): ResourceWrite => {
    const [before, after] = transition(configuration, restoration);
    for (const site of affectedSites(before, after)) affects.add(site);
    const name = (after ?? before)?.name as string;
    const known = configuration.departures.get(name);
    const departures = departuresAfter(known, before, after, configuration.revision + 1);
    const { action, expected } = restoration;
    if (action === 'delete') return { action, kind: 'Farm', name, expected, departures };
    const { spec, tokenKeys } = restoration.stored;
    return { action, spec, tokenKeys, expected, departures };
  });
  return { ...by, affects: [...affects].sort(), writes, rollout: rolledBack(rollout, reason, by.at) };
}

function transition({ farms }: Configuration, restoration: Restoration) {
  if (restoration.action === 'delete') return [farms.get(restoration.name)?.spec, undefined] as const;
  const { spec } = restoration.stored;
  return [farms.get(spec.name)?.spec, spec] as const;
}

/** What routes need of rollouts. */
export const rolloutCommands = (deps: RolloutDeps, now: () => number) => ({
  command: (request: Omit<Parameters<typeof commandRollout>[1], 'at'>) =>
    commandRollout(deps, { ...request, at: new Date(now()).toISOString() }),
  fleet: (rollout: Rollout) => readFleet(deps, rollout, now()),
});

/** Reports come in crowds: one look for all that come within this. */
const GATHER_MS = 500;
/** Bake times end without a report. */
const LOOK_MS = 5000;

export interface RolloutTicker {
  /** An agent reported: a rollout may go on with that. */
  reported(): void;
  /** Looks no more; resolves when the last look is over. Safe to call twice. */
  close(): Promise<void>;
}

/** Looks at the rollout under way every few seconds, and soon after reports. */
export function createRolloutTicker(
  deps: RolloutDeps & { now: () => number; log: { error(fields: object, message: string): void } },
): RolloutTicker {
  let looking: Promise<void> | undefined;
  let gathering: NodeJS.Timeout | undefined;
  let closed = false;

  function look(): void {
    if (closed) return;
    looking ??= advanceRollouts(deps, deps.now())
      .catch((error: unknown) => deps.log.error({ err: error }, 'a rollout cannot be looked at: trying again'))
      .finally(() => {
        looking = undefined;
      });
  }

  const timer = setInterval(look, LOOK_MS).unref();
  return {
    reported() {
      gathering ??= setTimeout(() => {
        gathering = undefined;
        look();
      }, GATHER_MS).unref();
    },
    async close() {
      closed = true;
      clearInterval(timer);
      clearTimeout(gathering);
      await looking;
    },
  };
}
