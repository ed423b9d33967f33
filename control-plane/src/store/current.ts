import { type CompiledSnapshot, compileSnapshot } from '../domain/compile.ts';
import type { Configuration } from '../domain/configuration.ts';
import { configurationBefore, isMoved, type Member } from '../domain/rollout.ts';
import type { Store } from './store.ts';

/** The stored configuration as it is now, and what is compiled from it. Costs one small read while nothing changes. */
export interface Current {
  configuration(): Promise<Configuration>;
  /** As it is for this agent: where a rollout has not moved it yet, as it was before. */
  configurationFor(agent: Member): Promise<Configuration>;
  /** What the agents of a site run once all have what is stored, and what those run that a rollout has not moved. The same where there is none. */
  snapshots(site: string): Promise<{ next: CompiledSnapshot; before: CompiledSnapshot }>;
  /** What this agent shall run. */
  snapshotFor(agent: Member): Promise<CompiledSnapshot>;
  /** That, and the configuration, as of one moment. */
  targetFor(agent: Member): Promise<{ snapshot: CompiledSnapshot; configuration: Configuration }>;
  /** What each of these shall run, in their order, as of one moment. */
  snapshotsFor(agents: readonly Member[]): Promise<CompiledSnapshot[]>;
}

/** One configuration, and what was compiled from it so far. */
interface View {
  readonly configuration: Configuration;
  readonly compiled: Map<string, CompiledSnapshot>;
}

interface Views {
  readonly revision: number;
  readonly next: View;
  readonly before: View;
}

function viewsOf(read: Configuration): Views {
  const next = { configuration: read, compiled: new Map() };
  const old = configurationBefore(read);
  return { revision: read.revision, next, before: old === read ? next : { configuration: old, compiled: new Map() } };
}

function compiled({ configuration, compiled: known }: View, site: string): CompiledSnapshot {
  const snapshot = known.get(site) ?? compileSnapshot(configuration, site);
  known.set(site, snapshot);
  return snapshot;
}

export function createCurrent(store: Pick<Store, 'revision' | 'configuration'>): Current {
  let known: Views | undefined;

  async function views(): Promise<Views> {
    const revision = await store.revision();
    if (known?.revision === revision) return known;
    const read = viewsOf(await store.configuration());
    // A slower reader must not put an older state back.
    if (known === undefined || read.revision > known.revision) known = read;
    return read;
  }
  const viewFor = (agent: Member, { next, before }: Views): View =>
    isMoved(next.configuration.rollout, agent) ? next : before;

  return {
    configuration: async () => (await views()).next.configuration,
    configurationFor: async (agent) => viewFor(agent, await views()).configuration,
    async snapshots(site) {
      const { next, before } = await views();
      return { next: compiled(next, site), before: compiled(before, site) };
    },
    snapshotFor: async (agent) => compiled(viewFor(agent, await views()), agent.site),
    async targetFor(agent) {
      const now = await views();
      return { snapshot: compiled(viewFor(agent, now), agent.site), configuration: now.next.configuration };
    },
    async snapshotsFor(agents) {
      const now = await views();
      return agents.map((agent) => compiled(viewFor(agent, now), agent.site));
    },
  };
}
