import { agentsOf, type Check, isExpensive } from './check.ts';
import { addFault, type Refine } from './faults.ts';
import { formatDuration, parseDuration } from './units.ts';

/**
 * A probe that is stopped at its deadline still ends its dialog and unregisters (2 s), and the clocks of two agents differ a
 * little: this much lies between the end of one slot and the begin of the next.
 */
const GUARD_MS = 3_000;
/** Holders of slots per agent wanted: while half of them are away, the others have slots of their own. */
const SPARE = 2;

export interface CheckedFarm {
  sites: readonly string[];
  checks: readonly Check[];
  health: { maxConcurrentCalls: number };
}

/**
 * Time is cut into cycles, a cycle into slots, and in each slot at most `lanes` probes of one backend run side by side. Depends on
 * the farm alone, not on the agents there are, so that agents with an older schedule still keep to their slots.
 */
export interface Cycle {
  slotMs: number;
  periodMs: number;
  /** Probes at once. */
  lanes: number;
  /** Slots of each check at each site. */
  checks: { check: Check; slots: number; everyCycles: number }[];
}

const msOf = (text: string | undefined): number => parseDuration(text ?? '') as number;

/** The cycle of a farm's expensive checks; undefined where it has none. */
export function cycleOf(farm: CheckedFarm): Cycle | undefined {
  const checks = farm.checks.filter(isExpensive);
  if (checks.length === 0) return undefined;
  const lanes = farm.health.maxConcurrentCalls;
  const slotMs = Math.max(...checks.map((c) => msOf(c.timeout))) + GUARD_MS;
  const wanted = farm.sites.length * checks.reduce((sum, c) => sum + SPARE * agentsOf(c), 0);
  const shortest = Math.min(...checks.map((c) => msOf(c.interval)));
  const periodMs = Math.max(shortest, Math.ceil(wanted / lanes) * slotMs);
  const factor = Math.max(1, Math.floor((Math.floor(periodMs / slotMs) * lanes) / wanted));
  return {
    slotMs,
    periodMs,
    lanes,
    checks: checks.map((check) => ({
      check,
      slots: factor * SPARE * agentsOf(check),
      // Never more often than asked for.
      everyCycles: Math.max(1, Math.ceil(msOf(check.interval) / periodMs)),
    })),
  };
}

/** Intervals into which the slots of all agents do not fit without exceeding `maxConcurrentCalls`. */
export function cycleFaults(ctx: Refine, farm: CheckedFarm): void {
  const cycle = cycleOf(farm);
  if (!cycle) return;
  for (const [i, check] of farm.checks.entries())
    if (isExpensive(check) && msOf(check.interval) < cycle.periodMs)
      addFault(
        ctx,
        ['checks', i, 'interval'],
        `${check.interval} is too short for the slots of all agents (${cycle.slotMs / 1000}s each) with health.maxConcurrentCalls ${cycle.lanes}`,
        `at least ${formatDuration(cycle.periodMs)}; or a shorter timeout, fewer agents, a greater maxConcurrentCalls`,
      );
}
