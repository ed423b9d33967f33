import type { SiteAgent } from './identity.ts';

/** What agents that have reported lately carry of one farm. */
export interface FarmLoad {
  readonly farm: string;
  /** Calls and registrations that are alive, of the agents that say. Null: none of them says. */
  readonly calls: number | null;
  readonly registrations: number | null;
}

/** Whom a change touches, as far as agents have said lately. What they have not said is unknown, not nothing. */
export interface BlastRadius {
  /** Sites whose agents take a new snapshot. */
  readonly sites: readonly string[];
  /** How many agents that is. */
  readonly agents: number;
  /** Those of them whose live calls are not known: away, or they do not report traffic. By name. */
  readonly unknown: readonly string[];
  /** Live calls of the changed farms at these agents; null where no agent says, and where no farm that exists is changed. */
  readonly calls: number | null;
  readonly registrations: number | null;
  readonly farms: readonly FarmLoad[];
}

/**
 * @param sites whose snapshots change
 * @param farms those that are changed, or use a Secret that is, and exist before
 * @param isAlive of an agent last heard of at that time, RFC 3339
 */
export function blastRadiusOf(
  sites: readonly string[],
  farms: readonly string[],
  agents: readonly SiteAgent[],
  isAlive: (heardAt: string) => boolean,
): BlastRadius {
  const touched = agents.filter((agent) => sites.includes(agent.site));
  const saying = touched.filter(
    ({ lastReportAt, report }) => lastReportAt !== null && isAlive(lastReportAt) && report?.traffic !== undefined,
  );
  const loads = [...farms].sort().map((farm): FarmLoad => {
    if (saying.length === 0) return { farm, calls: null, registrations: null };
    const traffic = saying.flatMap(({ report }) => report?.traffic?.find((t) => t.farm === farm) ?? []);
    return {
      farm,
      calls: traffic.reduce((sum, t) => sum + t.activeSessions, 0),
      registrations: traffic.reduce((sum, t) => sum + t.activeRegistrations, 0),
    };
  });
  return {
    sites: [...sites],
    agents: touched.length,
    unknown: touched
      .filter((agent) => !saying.includes(agent))
      .map(({ name }) => name)
      .sort(),
    calls: total(loads.map(({ calls }) => calls)),
    registrations: total(loads.map(({ registrations }) => registrations)),
    farms: loads,
  };
}

function total(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0);
}
