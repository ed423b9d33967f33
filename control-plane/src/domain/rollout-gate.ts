import type { AgentReport } from '@sipfleet/contract';
import { isMoved, type Member, nextStage, pointOf, type Rollout, type Stage, stageName } from './rollout.ts';
import { type Counts, type Evidence, NO_EVIDENCE, observe, strength } from './sequential.ts';

/** An agent as a rollout sees it. */
export interface SeenAgent extends Member {
  readonly number: number;
  readonly name: string;
  /** It has reported lately. */
  readonly alive: boolean;
  /** Milliseconds since the epoch of its last report, or of its enrolment. */
  readonly heardAt: number;
  readonly report: SeenReport | null;
}

/** What of an agent's report counts here. */
export interface SeenReport extends Pick<AgentReport, 'snapshot' | 'backends'> {
  /** Totals since the agent's start; undefined where it does not count. */
  readonly traffic?:
    | readonly (Readonly<Record<(typeof COUNTERS)[number], number>> & { readonly farm: string })[]
    | undefined;
}

const COUNTERS = [
  'sessionAttempts',
  'sessionsEstablished',
  'sessionFailures',
  'registrationAttempts',
  'registrationFailures',
  'checksFailed',
] as const;

/** ETags of a site's snapshot with the change, and without it. */
export interface Targets {
  readonly next: string;
  readonly before: string;
}

export interface Fleet {
  /** All agents of the rollout's sites. */
  readonly agents: readonly SeenAgent[];
  readonly targets: ReadonlyMap<string, Targets>;
}

export const MEASURES = [
  'calls failed',
  'calls not answered',
  'registrations failed',
  'reports with failed checks',
] as const;
export type Measure = (typeof MEASURES)[number];

/** What was counted for one agent at its last report: differences between two reports are what is compared. */
interface Sample {
  readonly at: string;
  /** The beginning of the ETag that it ran. */
  readonly running: string;
  /** Sums over the farms of the rollout; see {@link countsOf}. */
  readonly counts: readonly number[];
}

/** What a rollout has learned; stored beside it after every look, so that no look is lost or taken twice. */
export interface RolloutProgress {
  readonly number: number;
  /** Counts the times that it was stored. */
  readonly version: number;
  /** The stage, and its beginning, that `ackedAt` is about. */
  readonly stageAt: string | null;
  /** When all agents of the stage had applied the change; null: not yet. */
  readonly ackedAt: string | null;
  /** Farms that had no backend left at some agent before anybody was moved: that is not the change's doing. */
  readonly deadBefore: readonly string[];
  /** By agent number. */
  readonly samples: Readonly<Record<string, Sample>>;
  readonly evidence: Readonly<Record<Measure, Evidence>>;
}

/** A false halt of one rollout: at most one in a hundred, shared by the measures. */
export const HALT_AT = MEASURES.length / 0.01;
/** So many agents of either group are compared: the record of a rollout stays below what an item of DynamoDB holds. */
export const MAX_SAMPLED = 200;
/** Up to so many moved agents each one counts; above, this share of them may be away or late. */
const FEW = 10;
const TOLERATED = 0.05;

export const noProgress = (number: number): RolloutProgress => ({
  number,
  version: 0,
  stageAt: null,
  ackedAt: null,
  deadBefore: [],
  samples: {},
  evidence: Object.fromEntries(MEASURES.map((measure) => [measure, NO_EVIDENCE])) as RolloutProgress['evidence'],
});

/** How far the present stage is. */
export interface StageView {
  readonly moved: readonly SeenAgent[];
  readonly others: readonly SeenAgent[];
  /** Of `moved`: those that were alive when the stage began, or have been since. */
  readonly expected: readonly SeenAgent[];
  readonly acked: readonly SeenAgent[];
}

export function stageView(rollout: Rollout, { agents, targets }: Fleet, aliveMs: number): StageView {
  const moved = agents.filter((agent) => isMoved(rollout, agent));
  const since = Date.parse(rollout.stageAt) - aliveMs;
  const expected = moved.filter(({ heardAt, alive }) => alive || heardAt >= since);
  const acked = expected.filter((agent) => runs(agent, targets.get(agent.site)?.next));
  return { moved, others: agents.filter((agent) => !isMoved(rollout, agent)), expected, acked };
}

const runs = ({ report }: SeenAgent, etag: string | undefined): boolean =>
  etag !== undefined && report?.snapshot.running === etag;

export interface Advance {
  readonly progress: RolloutProgress;
  /** What it becomes; undefined: it stays as it is. */
  readonly next?: Rollout;
  /** It must be rolled back, and why. */
  readonly halt?: string;
}

/**
 * One look at a running rollout: takes in what agents reported, then halts it, moves it on, or waits.
 *
 * @param aliveMs how long an agent may be silent before it counts as gone
 */
export function advance(rollout: Rollout, known: RolloutProgress, fleet: Fleet, now: number, aliveMs: number): Advance {
  const at = new Date(now).toISOString();
  if (rollout.stage < 0) {
    const next = nextStage(rollout, fleet.agents, at);
    const deadBefore = rollout.farms.filter((farm) => fleet.agents.some((agent) => agent.alive && isDead(agent, farm)));
    const progress = { ...known, deadBefore };
    return next === rollout ? { progress } : { progress, next };
  }
  const view = stageView(rollout, fleet, aliveMs);
  const progress = acknowledged(rollout, gather(rollout, known, view, fleet.targets), view, at);
  const why = fault(rollout, progress, view, fleet, now);
  if (why !== undefined) return { progress, halt: why };
  if (progress.ackedAt === null || now - Date.parse(progress.ackedAt) < rollout.policy.bakeMs) return { progress };
  return { progress, next: nextStage(rollout, fleet.agents, at, passedText(rollout, progress, view)) };
}

/** How many of the stage's agents may be silent or late. */
const tolerated = ({ moved }: StageView): number => (moved.length <= FEW ? 0 : Math.floor(moved.length * TOLERATED));

function acknowledged(rollout: Rollout, progress: RolloutProgress, view: StageView, at: string): RolloutProgress {
  const { stageAt } = rollout;
  const ackedAt = progress.stageAt === stageAt ? progress.ackedAt : null;
  const all = view.expected.length > 0 && view.expected.length - view.acked.length <= tolerated(view);
  return { ...progress, stageAt, ackedAt: ackedAt ?? (all ? at : null) };
}

/** Why the rollout must not go on; undefined: it may. */
function fault(
  rollout: Rollout,
  progress: RolloutProgress,
  view: StageView,
  { targets }: Fleet,
  now: number,
): string | undefined {
  for (const { name, site, report } of view.moved)
    if (report?.snapshot.status === 'FAILED' && report.snapshot.etag === targets.get(site)?.next)
      return `agent ${name} refused the change: ${report.snapshot.reason ?? 'it gave no reason'}`;
  const most = tolerated(view);
  const silent = view.expected.filter(({ alive }) => !alive);
  if (silent.length > most) return `${named(silent)} went silent after the change`;
  const waited = now - Date.parse(rollout.stageAt);
  const late = view.expected.filter((agent) => !view.acked.includes(agent));
  if (progress.ackedAt === null && late.length > most && waited >= rollout.policy.ackTimeoutMs)
    return `${named(late)} did not apply the change within ${Math.round(rollout.policy.ackTimeoutMs / 1000)} s`;
  return deadFarm(rollout, progress, view) ?? worse(progress);
}

const named = (agents: readonly SeenAgent[]): string => {
  const names = agents.slice(0, 5).map(({ name }) => name);
  const more = agents.length - names.length;
  return `${agents.length === 1 ? 'agent' : 'agents'} ${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
};

const backendsOf = ({ report }: SeenAgent, farm: string) => (report?.backends ?? []).filter((b) => b.farm === farm);

function isDead(agent: SeenAgent, farm: string): boolean {
  const backends = backendsOf(agent, farm);
  return backends.length > 0 && backends.every(({ state }) => state === 'down');
}

/** A farm that has no backend left at an agent with the change, and was neither so before nor is so without the change. */
function deadFarm(
  { farms }: Rollout,
  { deadBefore }: RolloutProgress,
  { acked, others }: StageView,
): string | undefined {
  for (const farm of farms) {
    if (deadBefore.includes(farm) || others.some((agent) => agent.alive && isDead(agent, farm))) continue;
    const agent = acked.find((moved) => isDead(moved, farm));
    if (agent !== undefined)
      return `all backends of farm ${farm} are down at agent ${agent.name}: ${backendsOf(agent, farm)[0]?.reason}`;
  }
  return undefined;
}

function worse({ evidence }: RolloutProgress): string | undefined {
  for (const measure of MEASURES) {
    const { moved, others } = evidence[measure];
    if (strength(evidence[measure]) >= HALT_AT)
      return `${measure}: ${share(moved)} at agents that have the change, ${share(others)} at the others`;
  }
  return undefined;
}

const share = ({ n, bad }: Counts): string => `${bad} of ${n}`;

function passedText({ stage, policy }: Rollout, { evidence }: RolloutProgress, { acked, expected }: StageView): string {
  const head = `stage ${stageName(policy.stages[stage] as Stage)} passed: ${acked.length} of ${expected.length} applied it`;
  const { moved, others } = evidence['calls failed'];
  if (moved.n === 0) return `${head}; no traffic to compare, the bake time alone counted`;
  return `${head}; ${share(moved)} calls failed there, ${share(others)} at the others`;
}

/** Adds what was reported since the last look. Only what came while the same snapshot ran: a report may span the change. */
function gather(rollout: Rollout, known: RolloutProgress, view: StageView, targets: Fleet['targets']): RolloutProgress {
  const sums = { moved: zeros(), others: zeros() };
  const samples: Record<string, Sample> = {};
  for (const agent of sampled(rollout, view)) {
    const { report, site, number, heardAt } = agent;
    const before = known.samples[number];
    if (report?.traffic === undefined) continue;
    const running = (report.snapshot.running ?? '').slice(0, 16);
    const sample = { at: new Date(heardAt).toISOString(), running, counts: countsOf(report, rollout.farms) };
    samples[number] = sample;
    if (before === undefined || before.running !== running || before.at === sample.at) continue;
    const group = runs(agent, targets.get(site)?.next) ? sums.moved : sums.others;
    for (const [i, measured] of outcomes(before.counts, sample.counts).entries())
      group[i] = { n: (group[i] as Counts).n + measured.n, bad: (group[i] as Counts).bad + measured.bad };
  }
  const evidence = Object.fromEntries(
    MEASURES.map((measure, i) => [
      measure,
      observe(known.evidence[measure], sums.moved[i] as Counts, sums.others[i] as Counts),
    ]),
  ) as RolloutProgress['evidence'];
  return { ...known, samples, evidence };
}

const zeros = (): Counts[] => MEASURES.map(() => ({ n: 0, bad: 0 }));

/** The first that were moved and the last that will be: the same ones from look to look. */
function sampled(rollout: Rollout, { moved, others }: StageView): SeenAgent[] {
  const byPoint = (agents: readonly SeenAgent[]) =>
    agents
      .map((agent) => ({ agent, point: pointOf(rollout, agent.agentId) }))
      .sort((a, b) => a.point - b.point)
      .map(({ agent }) => agent);
  return [...byPoint(moved).slice(0, MAX_SAMPLED), ...byPoint(others).slice(-MAX_SAMPLED)];
}

const countsOf = ({ traffic = [] }: SeenReport, farms: readonly string[]): number[] =>
  COUNTERS.map((counter) => {
    const of = traffic.filter(({ farm }) => farms.includes(farm));
    return of.reduce((sum, farm) => sum + farm[counter], 0);
  });

/** In the order of {@link MEASURES}. Counters that went back began anew: the agent was restarted. */
function outcomes(before: readonly number[], now: readonly number[]): Counts[] {
  const restarted = now.some((value, i) => value < (before[i] as number));
  const since = now.map((value, i) => (restarted ? value : value - (before[i] as number)));
  const [attempts = 0, established = 0, failed = 0, registrations = 0, refused = 0, checks = 0] = since;
  // A call may be attempted in one report and established in the next.
  const of = (n: number, bad: number): Counts => ({ n, bad: Math.min(n, Math.max(0, bad)) });
  return [
    of(attempts, failed),
    of(attempts, attempts - established),
    of(registrations, refused),
    of(1, checks > 0 ? 1 : 0),
  ];
}
