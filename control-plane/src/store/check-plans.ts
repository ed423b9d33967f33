import type { AgentReport } from '@sipfleet/contract';
import { ALIVE_MS, buildCheckPlan, type CheckPlan, fingerprintOf, saidIn, scheduleOf } from '../domain/check-plan.ts';
import type { Configuration } from '../domain/configuration.ts';
import type { SiteAgent } from '../domain/identity.ts';
import type { Current } from './current.ts';
import type { Store } from './store.ts';

type Schedule = ReturnType<typeof scheduleOf>;

/** Who makes which check now. */
export interface CheckPlans {
  /** Of the whole fleet, read from the store. */
  plan(): Promise<CheckPlan>;
  /** Of one agent, from what is remembered of its site. @param configuration if it was just read: the one of now */
  schedule(agent: Pick<SiteAgent, 'agentId' | 'site'>, configuration?: Configuration): Promise<Schedule>;
  /** An agent reported: where schedules of its site change with that, the site is told. @param at RFC 3339 */
  reported(agent: Pick<SiteAgent, 'agentId' | 'site'>, report: AgentReport, at: string): void;
  /** The push connection of an agent has ended: if it does not report again soon, it counts as gone without waiting longer. */
  lost(agentId: string): void;
  /** There is no such agent any more. */
  gone(agent: Pick<SiteAgent, 'agentId' | 'site'>): void;
  /** Forgets what is still to be compared. */
  close(): void;
}

export interface CheckPlansDeps {
  store: Pick<Store, 'agents' | 'agentsAt'>;
  current: Pick<Current, 'configuration'>;
  now: () => number;
  /** The schedules of these sites are others than before. Left out where nobody could be told: then nothing is compared. */
  changed?: ((sites: readonly string[]) => void) | undefined;
  log: { error(fields: object, message: string): void };
  /**
   * When this process began to take reports, where it is the only one that does: what agents said while it was away was not heard, and
   * the silence until then is not theirs.
   */
  listeningSince?: number;
}

/** Reports come in crowds: schedules are compared once for all that come within this. */
const GATHER_MS = 500;
/** An agent that restarts, or whose network blinks, is back within this. */
const LOST_MS = 15_000;
/** Between looks for agents that fell silent. */
const LOOK_MS = 10_000;
/** A plan this old is as good as a new one. */
const FRESH_MS = 250;
/** What other processes on the same store heard is read again after this. */
const REMEMBER_MS = 30_000;
const PAGE = 1000;

interface Derived {
  readonly from: Configuration;
  /** Who lives is part of what a plan follows from, and changes with time alone. */
  readonly alive: string;
  lookedAt: number;
  readonly plan: CheckPlan;
  readonly schedules: Map<string, Schedule>;
}

/** What is remembered of a site: reports of its agents, and what follows from them as long as nothing changes. */
interface SiteView {
  readAt: number;
  readonly agents: Map<string, SiteAgent>;
  /** Reports since then say something new. */
  news: boolean;
  derived?: Derived;
}

/**
 * Ten thousand agents report 170 times a second: a report costs no more than comparing it with the one before, unless it says something new,
 * and then the plan of one site.
 */
export function createCheckPlans(deps: CheckPlansDeps): CheckPlans {
  const { store, current, now, listeningSince = 0 } = deps;
  const views = new Map<string, Promise<SiteView>>();
  const fingerprints = new Map<string, string>();
  const lostAt = new Map<string, number>();
  const dirty = new Set<string>();
  let fleet: { plan: Promise<CheckPlan>; at: number } | undefined;
  let closed = false;
  const timers = new Set<NodeJS.Timeout>();

  function isAlive(heardAt: number, agentId: string): boolean {
    const lost = lostAt.get(agentId) ?? Number.NEGATIVE_INFINITY;
    const silent = now() - Math.max(heardAt, listeningSince) >= ALIVE_MS;
    return !silent && (heardAt > lost || now() - lost < LOST_MS);
  }

  const specsOf = ({ farms }: Configuration) => [...farms.values()].map(({ spec }) => spec);

  async function wholePlan(): Promise<CheckPlan> {
    const agents: SiteAgent[] = [];
    let cursor: string | undefined;
    do {
      const page = await store.agents({ limit: PAGE, cursor });
      agents.push(...page.items);
      cursor = page.cursor;
    } while (cursor !== undefined);
    return buildCheckPlan(specsOf(await current.configuration()), agents, isAlive);
  }

  /** @param before what was read last: as long as nobody else heard an agent of the site, it still holds, and all that follows from it */
  async function read(site: string, before: SiteView | undefined): Promise<SiteView> {
    const readAt = now();
    const there = await store.agentsAt(site, before?.agents);
    if (before?.agents.size === there.length && there.every((agent) => before.agents.get(agent.agentId) === agent))
      return Object.assign(before, { readAt });
    return { readAt, news: false, agents: new Map(there.map((agent) => [agent.agentId, agent])) };
  }

  async function viewOf(site: string): Promise<SiteView> {
    const known = await views.get(site);
    if (known !== undefined && now() - known.readAt < REMEMBER_MS && now() >= known.readAt) return known;
    const reading = read(site, known);
    views.set(site, reading);
    reading.catch(() => views.delete(site));
    return reading;
  }

  const aliveIn = ({ agents }: SiteView): string =>
    [...agents.values()]
      .map((a) => (isAlive(Date.parse(a.lastReportAt ?? a.firstSeenAt), a.agentId) ? '1' : '0'))
      .join('');

  function stillHolds(view: SiteView, from: Configuration, exactly: boolean): boolean {
    const { derived } = view;
    if (derived?.from !== from) return false;
    // In a crowd of reports a large site's plan is made a few times a second, not with each of them.
    if (!exactly && now() >= derived.lookedAt && now() - derived.lookedAt < FRESH_MS) return true;
    derived.lookedAt = now();
    return !view.news && derived.alive === aliveIn(view);
  }

  /** @param exactly as things are now, not a moment ago */
  async function derive(site: string, view: SiteView, exactly: boolean, read?: Configuration): Promise<Derived> {
    const from = read ?? (await current.configuration());
    if (view.derived === undefined || !stillHolds(view, from, exactly)) {
      const plan = buildCheckPlan(specsOf(from), [...view.agents.values()], isAlive, site);
      view.derived = { from, alive: aliveIn(view), lookedAt: now(), plan, schedules: new Map() };
      view.news = false;
    }
    return view.derived;
  }

  async function compare(sites: readonly string[]): Promise<void> {
    const changed: string[] = [];
    for (const site of sites) {
      const print = fingerprintOf((await derive(site, await viewOf(site), true)).plan, site);
      if (fingerprints.get(site) !== print) changed.push(site);
      fingerprints.set(site, print);
    }
    if (changed.length > 0) deps.changed?.(changed);
  }

  function later(ms: number, work: () => Promise<void>): void {
    if (closed) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      work().catch((error: unknown) => {
        // The store may be closed while it is read.
        if (!closed) deps.log.error({ err: error }, 'check schedules cannot be compared');
      });
    }, ms);
    timers.add(timer.unref());
  }

  function compareSoon(site: string): void {
    if (deps.changed === undefined) return;
    if (dirty.size === 0)
      later(GATHER_MS, () => {
        const sites = [...dirty];
        dirty.clear();
        return compare(sites);
      });
    dirty.add(site);
  }

  /** Sites where somebody fell silent, or was heard again, since their plan was made. */
  function look(): void {
    later(LOOK_MS, async () => {
      look();
      for (const [site, reading] of views) {
        const view = await reading;
        if (view.derived !== undefined && view.derived.alive !== aliveIn(view)) compareSoon(site);
      }
    });
  }
  if (deps.changed !== undefined) look();

  /** Takes note of a report; true: it says something new to the site. */
  function note(view: SiteView, agentId: string, report: AgentReport, at: string): boolean {
    const known = view.agents.get(agentId);
    if (known === undefined) return true;
    view.agents.set(agentId, { ...known, report, lastReportAt: at });
    const news = saidIn(known.report) !== saidIn(report);
    view.news ||= news;
    return news;
  }

  return {
    plan() {
      if (fleet === undefined || now() - fleet.at >= FRESH_MS || now() < fleet.at)
        fleet = { plan: wholePlan(), at: now() };
      return fleet.plan;
    },
    async schedule(agent, configuration) {
      const view = await viewOf(agent.site);
      // It joined after the site was read.
      if (!view.agents.has(agent.agentId)) views.delete(agent.site);
      const { plan, schedules } = await derive(agent.site, await viewOf(agent.site), false, configuration);
      const schedule = schedules.get(agent.agentId) ?? scheduleOf(plan, agent);
      schedules.set(agent.agentId, schedule);
      return schedule;
    },
    reported({ agentId, site }, report, at) {
      const reading = views.get(site);
      if (reading === undefined) return compareSoon(site);
      reading.then(
        (view) => {
          if (note(view, agentId, report, at)) compareSoon(site);
        },
        () => {},
      );
    },
    gone({ site }) {
      views.delete(site);
      compareSoon(site);
    },
    close() {
      closed = true;
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
    },
    lost(agentId) {
      lostAt.set(agentId, now());
      later(LOST_MS + GATHER_MS, async () => {
        for (const [site, reading] of views) if ((await reading).agents.has(agentId)) compareSoon(site);
      });
    },
  };
}
