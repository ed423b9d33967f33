import { ALIVE_MS, buildCheckPlan, type CheckPlan, fingerprintOf } from '../domain/check-plan.ts';
import type { AgentRecord } from '../domain/identity.ts';
import type { Current } from './current.ts';
import type { Store } from './store.ts';

/** The plan of all checks as it is now. */
export interface CheckPlans {
  plan(): Promise<CheckPlan>;
  /** An agent reported: where schedules change with that, or with an agent that is silent meanwhile, sites are told. */
  reported(): void;
  /** The push connection of an agent has ended: if it does not report again soon, it counts as gone without waiting longer. */
  lost(agentId: string): void;
  /** Forgets what is still to be compared. */
  close(): void;
}

export interface CheckPlansDeps {
  store: Pick<Store, 'agents'>;
  current: Pick<Current, 'configuration'>;
  now: () => number;
  /** The schedules of these sites are others than before. */
  changed(sites: readonly string[]): void;
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
/** A plan this old is as good as a new one. */
const FRESH_MS = 250;
const PAGE = 1000;

export function createCheckPlans(deps: CheckPlansDeps): CheckPlans {
  const { store, current, now, listeningSince = 0 } = deps;
  const fingerprints = new Map<string, string>();
  const lostAt = new Map<string, number>();
  let known: { plan: Promise<CheckPlan>; at: number } | undefined;
  let gathering = false;

  function isAlive(heardAt: number, lost = Number.NEGATIVE_INFINITY): boolean {
    const silent = now() - Math.max(heardAt, listeningSince) >= ALIVE_MS;
    return !silent && (heardAt > lost || now() - lost < LOST_MS);
  }

  async function build(): Promise<CheckPlan> {
    const { farms } = await current.configuration();
    const agents: AgentRecord[] = [];
    let cursor: string | undefined;
    do {
      const page = await store.agents({ limit: PAGE, cursor });
      agents.push(...page.items);
      cursor = page.cursor;
    } while (cursor !== undefined);
    return buildCheckPlan(
      [...farms.values()].map(({ spec }) => spec),
      agents,
      (heardAt, agentId) => isAlive(heardAt, lostAt.get(agentId)),
    );
  }

  function plan(): Promise<CheckPlan> {
    if (known === undefined || now() - known.at >= FRESH_MS || now() < known.at) known = { plan: build(), at: now() };
    return known.plan;
  }

  async function compare(): Promise<void> {
    gathering = false;
    known = undefined;
    const read = await plan();
    const changed = [...new Set(read.agents.map((a) => a.site))].filter((site) => {
      const print = fingerprintOf(read, site);
      const before = fingerprints.get(site);
      fingerprints.set(site, print);
      return before !== print;
    });
    if (changed.length > 0) deps.changed(changed);
  }

  const timers = new Set<NodeJS.Timeout>();
  let closed = false;

  function compareIn(ms: number): void {
    if (closed) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      compare().catch((error: unknown) => {
        // The store may be closed while it is read.
        if (!closed) deps.log.error({ err: error }, 'check schedules cannot be compared');
      });
    }, ms);
    timers.add(timer.unref());
  }

  return {
    plan,
    reported() {
      if (gathering) return;
      gathering = true;
      compareIn(GATHER_MS);
    },
    close() {
      closed = true;
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
    },
    lost(agentId) {
      lostAt.set(agentId, now());
      compareIn(LOST_MS + GATHER_MS);
    },
  };
}
