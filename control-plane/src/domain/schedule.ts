import { agentsOf, type Cycle, cycleOf, type Farm } from '@sipfleet/contract';

/** An agent as scheduling sees it. `alive`: its last report is young enough. */
export interface SchedulableAgent {
  readonly agentId: string;
  readonly site: string;
  readonly firstSeenAt: string;
  readonly alive: boolean;
}

/** One expensive check of one backend, made by one agent. */
export interface Assignment {
  readonly site: string;
  readonly farm: string;
  readonly backend: string;
  readonly check: string;
  readonly agentId: string;
  /** Probes start when the milliseconds since the epoch, modulo `periodMs`, are `phaseMs`. */
  readonly periodMs: number;
  readonly phaseMs: number;
}

/** FNV-1a with the finalizer of MurmurHash3: uniform in 0 … 2^32-1, the same for the same parts wherever it is computed. */
function hash(...parts: string[]): number {
  const text = parts.join('\n');
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Who makes which expensive check of which backend, and when. Pure, and computed alike wherever it is asked for.
 *
 * Agents learn of a new schedule at different times, and one that is cut off keeps its old one for ever. So that a PBX still never
 * sees more probes at once than its farm allows, an agent's slot depends neither on who is alive nor on who came after it: see README.md.
 *
 * @param only the site that is asked for: its part does not depend on other sites' agents
 */
export function planChecks(farms: readonly Farm[], agents: readonly SchedulableAgent[], only?: string): Assignment[] {
  const bySite = new Map<string, SchedulableAgent[]>();
  for (const agent of [...agents].sort(byAge)) bySite.set(agent.site, [...(bySite.get(agent.site) ?? []), agent]);
  return farms.flatMap((farm) => {
    const cycle = cycleOf(farm);
    return cycle ? farm.backends.flatMap(({ name }) => planBackend(farm, name, cycle, bySite, only)) : [];
  });
}

const byAge = (a: SchedulableAgent, b: SchedulableAgent): number =>
  a.firstSeenAt === b.firstSeenAt ? (a.agentId < b.agentId ? -1 : 1) : a.firstSeenAt < b.firstSeenAt ? -1 : 1;

function planBackend(
  farm: Farm,
  backend: string,
  cycle: Cycle,
  bySite: ReadonlyMap<string, readonly SchedulableAgent[]>,
  only: string | undefined,
): Assignment[] {
  // Backends of a farm are not probed all at the same moment.
  const offset = hash(farm.name, backend) % cycle.periodMs;
  const assignments: Assignment[] = [];
  let firstSlot = 0;
  for (const { check, slots, everyCycles } of cycle.checks) {
    const periodMs = cycle.periodMs * everyCycles;
    for (const site of [...farm.sites].sort()) {
      const key = [farm.name, backend, check.name] as const;
      const there = only === undefined || site === only ? (bySite.get(site) ?? []) : [];
      const chosen = there.length === 0 ? [] : choose(there, key, slots, agentsOf(check));
      for (const { agentId, slot } of chosen) {
        const index = firstSlot + slot;
        const position = Math.floor(index / cycle.lanes);
        const phaseMs = (offset + position * cycle.slotMs + (index % everyCycles) * cycle.periodMs) % periodMs;
        assignments.push({ site, farm: farm.name, backend, check: check.name, agentId, periodMs, phaseMs });
      }
      firstSlot += slots;
    }
  }
  return assignments;
}

/** `wanted` living agents, each in a slot of its own; `agents` oldest first. Fewer only where fewer live. */
function choose(
  agents: readonly SchedulableAgent[],
  key: readonly string[],
  slots: number,
  wanted: number,
): { agentId: string; slot: number }[] {
  const holders = slotHolders(agents, key, slots);
  const ranked = agents
    .filter((agent) => agent.alive)
    .map(({ agentId }) => ({ agentId, score: hash(...key, agentId) }))
    .sort((a, b) => b.score - a.score);
  const chosen = ranked
    .flatMap(({ agentId }) => {
      const slot = holders.findIndex((holder) => holder?.agentId === agentId);
      return slot < 0 ? [] : [{ agentId, slot }];
    })
    .slice(0, wanted);
  // Most holders are away: others stand in for them, in their slots.
  const standIns = ranked.filter(({ agentId }) => !holders.some((holder) => holder?.agentId === agentId));
  for (const [slot, holder] of holders.entries()) {
    if (chosen.length >= wanted) break;
    const standIn = holder?.alive ? undefined : standIns.shift();
    if (standIn) chosen.push({ agentId: standIn.agentId, slot });
  }
  return chosen;
}

/**
 * Oldest first, every agent takes the first free slot from where its hash points, until all are taken: who comes later moves
 * nobody. The price is that the oldest agents of a large site make the calls; the gain, that no two views of it ever collide.
 */
function slotHolders(
  agents: readonly SchedulableAgent[],
  key: readonly string[],
  slots: number,
): (SchedulableAgent | undefined)[] {
  const holders = new Array<SchedulableAgent | undefined>(slots).fill(undefined);
  for (const agent of agents.slice(0, slots)) {
    let slot = hash(...key, 'slot', agent.agentId) % slots;
    while (holders[slot]) slot = (slot + 1) % slots;
    holders[slot] = agent;
  }
  return holders;
}

/** A backend that living agents of one site hold for up and for down at once. */
export interface Disagreement {
  readonly site: string;
  readonly farm: string;
  readonly backend: string;
  readonly up: number;
  readonly down: number;
}

interface Reporting {
  readonly site: string;
  readonly backends: readonly { farm: string; backend: string; state: 'unknown' | 'up' | 'down' }[];
}

/** `unknown` takes no side. By site, farm and backend. */
export function disagreements(agents: readonly Reporting[]): Disagreement[] {
  const counts = new Map<string, { site: string; farm: string; backend: string; up: number; down: number }>();
  for (const { site, backends } of agents)
    for (const { farm, backend, state } of backends) {
      const key = `${site}/${farm}/${backend}`;
      const count = counts.get(key) ?? { site, farm, backend, up: 0, down: 0 };
      if (state !== 'unknown') count[state]++;
      counts.set(key, count);
    }
  return [...counts]
    .filter(([, { up, down }]) => up > 0 && down > 0)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, count]) => count);
}
