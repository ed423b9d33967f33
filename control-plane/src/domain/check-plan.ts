import { createHash } from 'node:crypto';
import { type AgentReport, type CheckSchedule, canonicalJson, type Farm } from '@sipfleet/contract';
import type { SiteAgent } from './identity.ts';
import { type Assignment, type Disagreement, disagreements, planChecks } from './schedule.ts';

/** An agent that has not reported for this long counts as gone: two of its reports (60 s ± 20 %) are missing. */
export const ALIVE_MS = 150_000;

export interface PlannedAgent extends SiteAgent {
  readonly alive: boolean;
}

/** Everything about checks at one moment: who makes which, who said what last, where agents disagree. */
export interface CheckPlan {
  readonly agents: readonly PlannedAgent[];
  readonly assignments: readonly Assignment[];
  readonly disagreements: readonly Disagreement[];
}

/**
 * @param isAlive of an agent that was last heard of at `heardAt`, milliseconds since the epoch
 * @param only the site that all of `records` are of: then the plan of that site alone
 */
export function buildCheckPlan(
  farms: readonly Farm[],
  records: readonly SiteAgent[],
  isAlive: (heardAt: number, agentId: string) => boolean,
  only?: string,
): CheckPlan {
  const agents = records.map((record) => {
    // One that has just joined is about to report.
    const heardAt = Date.parse(record.lastReportAt ?? record.firstSeenAt);
    return { ...record, alive: isAlive(heardAt, record.agentId) };
  });
  const reporting = agents
    .filter((a) => a.alive)
    .map(({ site, report }) => ({ site, backends: report?.backends ?? [] }));
  return { agents, assignments: planChecks(farms, agents, only), disagreements: disagreements(reporting) };
}

/** What schedules of others are made of in an agent's report: another one of the same makes no other schedule. */
export const saidIn = (report: AgentReport | null): string =>
  JSON.stringify([
    report?.backends.map(({ farm, backend, state }) => [farm, backend, state]),
    report?.checks?.map(({ farm, backend, check, state, evidence }) => [
      ...[farm, backend, check, state],
      state === 'down' ? evidence : '',
    ]),
  ]);

/** What one agent is to do and to know, as canonical JSON with its SHA-256. */
export function scheduleOf(plan: CheckPlan, agent: Pick<SiteAgent, 'agentId' | 'site'>) {
  const { site } = agent;
  const schedule: CheckSchedule = {
    format: 1,
    site,
    checks: plan.assignments
      .filter((a) => a.agentId === agent.agentId)
      .map(({ farm, backend, check, periodMs, phaseMs }) => ({ farm, backend, check, periodMs, phaseMs })),
    verdicts: sharedAt(plan, site)
      .verdicts.filter((v) => v.agentId !== agent.agentId)
      .map(({ agentId: _id, ...verdict }) => verdict),
    disagreements: plan.disagreements.filter((d) => d.site === site).map(({ site: _site, ...d }) => d),
    peers: sharedAt(plan, site)
      .peers.filter((peer) => peer.agentId !== agent.agentId)
      .map(({ agentId: _id, ...peer }) => peer),
  };
  const body = canonicalJson(schedule);
  return { schedule, body, etag: createHash('sha256').update(body).digest('hex') };
}

/** Changes whenever the schedule of an agent of the site does. */
export function fingerprintOf(plan: CheckPlan, site: string): string {
  const assignments = plan.assignments.filter((a) => a.site === site);
  const split = plan.disagreements.filter((d) => d.site === site);
  return createHash('sha256')
    .update(canonicalJson({ assignments, ...sharedAt(plan, site), split }))
    .digest('hex');
}

/** What stands in the schedules of all agents of a site, but each one's own. Made once of a plan: a large site asks for it as often as it has agents. */
function sharedAt(plan: CheckPlan, site: string) {
  const sites = SHARED.get(plan) ?? new Map<string, Shared>();
  SHARED.set(plan, sites);
  const shared = sites.get(site) ?? { verdicts: verdictsAt(plan, site), peers: peersAt(plan, site) };
  sites.set(site, shared);
  return shared;
}
type Shared = { verdicts: ReturnType<typeof verdictsAt>; peers: ReturnType<typeof peersAt> };
const SHARED = new WeakMap<CheckPlan, Map<string, Shared>>();

/** Living agents of a site that have said where they are. */
const peersAt = ({ agents }: CheckPlan, site: string) =>
  agents
    .filter((agent) => agent.alive && agent.site === site)
    .flatMap(({ agentId, number, report }) => (report?.address ? [{ agentId, number, address: report.address }] : []))
    .sort((a, b) => a.number - b.number);

/** What living agents of a site say about the checks that they are to make. */
function verdictsAt({ agents, assignments }: CheckPlan, site: string) {
  const assigned = new Set(assignments.map((a) => `${a.agentId}/${a.farm}/${a.backend}/${a.check}`));
  return agents
    .filter((agent) => agent.alive && agent.site === site)
    .flatMap(({ agentId, name, report }) =>
      (report?.checks ?? []).flatMap(({ farm, backend, check, state, evidence }) =>
        state === 'unknown' || !assigned.has(`${agentId}/${farm}/${backend}/${check}`)
          ? []
          : // Evidence of success differs from probe to probe and changes nothing: it would make a new schedule each time.
            [{ agentId, farm, backend, check, agent: name, state, evidence: state === 'down' ? evidence : '' }],
      ),
    );
}
