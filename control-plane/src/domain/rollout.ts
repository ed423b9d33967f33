import { createHash } from 'node:crypto';
import { type Configuration, type Departures, find, type StoredFarm } from './configuration.ts';

/**
 * A change that reaches the agents a few at a time. What it changes is stored at once, as every write is; what was stored before it
 * is kept here, and the agents that are not moved yet are given that. So an agent's target follows from the configuration, the
 * rollout and the agent alone, and nothing needs to be undone for an agent that was away.
 */
export interface Rollout {
  /** The revision that opened it. */
  readonly number: number;
  readonly state: RolloutState;
  readonly policy: RolloutPolicy;
  /** Who opened it. */
  readonly actor: string;
  /** Agents that joined later are moved last. */
  readonly openedAt: string;
  /** What each of its farms was before. Emptied at the end: it carries keys. */
  readonly before: Readonly<Record<string, Before>>;
  /** Names of its farms. */
  readonly farms: readonly string[];
  /** Where its farms are, or were. */
  readonly sites: readonly string[];
  /** Index in `policy.stages`; -1: nobody is moved yet. */
  readonly stage: number;
  /** Site → the agents up to this {@link pointOf} are moved. */
  readonly moved: Readonly<Record<string, number>>;
  /** When the present stage began, or was resumed. */
  readonly stageAt: string;
  /** Why it halted, was aborted or ended as it did. */
  readonly reason: string | null;
  /** What happened, oldest first; the last {@link MAX_EVENTS}. */
  readonly events: readonly { readonly at: string; readonly text: string }[];
}

export const ROLLOUT_STATES = ['running', 'paused', 'completed', 'rolled-back'] as const;
export type RolloutState = (typeof ROLLOUT_STATES)[number];

export type Stage = { readonly agents: number } | { readonly percent: number };

export interface RolloutPolicy {
  /** The last one is 100 percent. */
  readonly stages: readonly Stage[];
  /** Whether a stage counts the agents of each site, or of all its sites together. */
  readonly scope: 'fleet' | 'site';
  /** How long a stage is watched after all its agents have applied the change. */
  readonly bakeMs: number;
  /** How long that may take. */
  readonly ackTimeoutMs: number;
}

export interface Before {
  /** Null: there was no such farm. */
  readonly stored: StoredFarm | null;
  readonly departures: Departures | null;
}

/** What is needed of an agent to say what it should run. */
export interface Member {
  readonly agentId: string;
  readonly site: string;
  readonly firstSeenAt: string;
}

export const MAX_EVENTS = 40;
export const isActive = (rollout: Rollout | undefined): rollout is Rollout =>
  rollout?.state === 'running' || rollout?.state === 'paused';

export const stageName = (stage: Stage): string =>
  'percent' in stage ? `${stage.percent} %` : stage.agents === 1 ? '1 agent' : `${stage.agents} agents`;

const isLast = ({ stage, policy }: Rollout): boolean => stage === policy.stages.length - 1;

/** 0 … 2^48: in the order of this the agents are moved, another one for every rollout. */
export const pointOf = (rollout: Pick<Rollout, 'number'>, agentId: string): number =>
  createHash('sha256').update(`${rollout.number} ${agentId}`).digest().readUIntBE(0, 6);

/** Whether this agent shall run what is stored, or (false) what was stored before the rollout. */
export function isMoved(rollout: Rollout | undefined, agent: Member): boolean {
  if (!isActive(rollout) || !rollout.sites.includes(agent.site)) return true;
  if (isLast(rollout)) return true;
  if (agent.firstSeenAt > rollout.openedAt) return false;
  return pointOf(rollout, agent.agentId) <= (rollout.moved[agent.site] ?? -1);
}

/** The configuration as it is for agents that are not moved; the same object where no rollout is under way. */
export function configurationBefore(configuration: Configuration): Configuration {
  const { rollout } = configuration;
  if (!isActive(rollout)) return configuration;
  const farms = new Map(configuration.farms);
  const departures = new Map(configuration.departures);
  for (const [name, before] of Object.entries(rollout.before)) {
    if (before.stored === null) farms.delete(name);
    else farms.set(name, before.stored);
    if (before.departures === null) departures.delete(name);
    else departures.set(name, before.departures);
  }
  return { ...configuration, farms, departures };
}

const said = ({ events }: Rollout, at: string, text: string): Rollout['events'] =>
  [...events, { at, text }].slice(-MAX_EVENTS);

/** What a rollout is made of. */
export interface RolloutOpening {
  readonly policy: RolloutPolicy;
  readonly actor: string;
  readonly at: string;
  /** Names of the farms that change with the next revision. */
  readonly farms: readonly string[];
  /** Sites whose snapshots change. */
  readonly sites: readonly string[];
}

/** The rollout of what becomes the next revision of this configuration; to be stored with it. */
export function openRollout(configuration: Configuration, opening: RolloutOpening): Rollout {
  const { policy, actor, at } = opening;
  const before = Object.fromEntries(
    opening.farms.map((farm): [string, Before] => [
      farm,
      {
        stored: configuration.farms.get(farm) ?? null,
        departures: configuration.departures.get(farm) ?? null,
      },
    ]),
  );
  return {
    number: configuration.revision + 1,
    state: 'running',
    policy,
    actor,
    openedAt: at,
    before,
    farms: [...opening.farms].sort(),
    sites: [...opening.sites].sort(),
    stage: -1,
    moved: {},
    stageAt: at,
    reason: null,
    events: [{ at, text: `opened by ${actor}` }],
  };
}

export const VERBS = ['pause', 'resume', 'abort'] as const;
export type Verb = (typeof VERBS)[number];

const FROM: Record<Verb, readonly RolloutState[]> = {
  pause: ['running'],
  resume: ['paused'],
  abort: ['running', 'paused'],
};

/** What an operator may do in this state. */
export const verbsFor = ({ state }: Rollout): Verb[] => VERBS.filter((verb) => FROM[verb].includes(state));

/** Stops moving agents, in either direction, until it is resumed. */
export const pause = (rollout: Rollout, actor: string, at: string): Rollout => ({
  ...rollout,
  state: 'paused',
  events: said(rollout, at, `paused by ${actor}`),
});

/** The stage is watched anew: what it showed before the pause may be what it was paused for. */
export const resume = (rollout: Rollout, actor: string, at: string): Rollout => ({
  ...rollout,
  state: 'running',
  stageAt: at,
  events: said(rollout, at, `resumed by ${actor}`),
});

/** Ends it with everybody on what is stored. Nothing of what was before is kept: the history of each resource has it. */
export const complete = (rollout: Rollout, at: string): Rollout => ({
  ...rollout,
  state: 'completed',
  before: {},
  moved: {},
  events: said(rollout, at, 'completed: every agent has it'),
});

/** Ends it with everything as it was before; to be stored together with its {@link restorations}. */
export const rolledBack = (rollout: Rollout, reason: string, at: string): Rollout => ({
  ...rollout,
  state: 'rolled-back',
  reason,
  before: {},
  moved: {},
  events: said(rollout, at, `rolled back: ${reason}`),
});

/** What takes a farm back to what it was; undefined: it is that already. */
export type Restoration =
  | { readonly action: 'put'; readonly stored: StoredFarm; readonly expected: number | null }
  | { readonly action: 'delete'; readonly name: string; readonly expected: number };

/** What is left to be taken back. `alike`: whether two specs are the same. */
export function restorations(
  configuration: Configuration,
  rollout: Rollout,
  alike: (a: StoredFarm, b: StoredFarm) => boolean,
): Restoration[] {
  return Object.entries(rollout.before).flatMap(([name, { stored }]): Restoration[] => {
    const now = find(configuration, 'Farm', name) as StoredFarm | undefined;
    if (stored === null) return now === undefined ? [] : [{ action: 'delete', name, expected: now.revision }];
    if (now !== undefined && alike(now, stored)) return [];
    return [{ action: 'put', stored, expected: now?.revision ?? null }];
  });
}

/**
 * On to the next stage that moves anybody. The same rollout again: there is nobody yet who could be moved. Stages count agents that are alive:
 * of a dead one nothing could be learned.
 *
 * @param passed what the stage before has shown, for the record
 */
export function nextStage(
  rollout: Rollout,
  agents: readonly (Member & { readonly alive: boolean })[],
  at: string,
  passed = '',
): Rollout {
  const here = agents.filter(({ site }) => rollout.sites.includes(site));
  const events = passed === '' ? rollout.events : said(rollout, at, passed);
  if (here.length === 0 || isLast(rollout)) return complete({ ...rollout, events }, at);
  const could = here.filter((agent) => agent.alive && agent.firstSeenAt <= rollout.openedAt);
  const before = could.filter((agent) => isMoved(rollout, agent)).length;
  for (let stage = rollout.stage + 1; stage < rollout.policy.stages.length; stage++) {
    const wanted = rollout.policy.stages[stage] as Stage;
    const next = { ...rollout, stage, moved: thresholds(rollout, could, wanted), stageAt: at };
    const now = could.filter((agent) => isMoved(next, agent)).length;
    if (now === before && !(isLast(next) && before > 0)) continue;
    const text = `stage ${stageName(wanted)}: ${now} of ${could.length} living agents have it as their target`;
    return { ...next, events: said({ ...rollout, events }, at, text) };
  }
  return rollout;
}

/** Never lower than they were: nobody is moved back but by a rollback. */
function thresholds(rollout: Rollout, could: readonly Member[], stage: Stage): Rollout['moved'] {
  const groups =
    rollout.policy.scope === 'fleet' ? [rollout.sites] : rollout.sites.map((site) => [site] as readonly string[]);
  return Object.fromEntries(
    groups.flatMap((sites) => {
      const points = could
        .filter(({ site }) => sites.includes(site))
        .map(({ agentId }) => pointOf(rollout, agentId))
        .sort((a, b) => a - b);
      const count = 'percent' in stage ? Math.ceil((points.length * stage.percent) / 100) : stage.agents;
      const threshold = points[Math.min(count, points.length) - 1] ?? -1;
      return sites.map((site) => [site, Math.max(threshold, rollout.moved[site] ?? -1)] as const);
    }),
  );
}
