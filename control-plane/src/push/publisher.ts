import type { PushHint } from '@sipfleet/contract';
import { type FanOutDeps, fanOut } from './fan-out.ts';
import { jitterFor } from './hub.ts';

/** A committed change whose hint is to go out. */
export interface Change {
  readonly revision: number;
  /** Sites. */
  readonly affects: readonly string[];
}

export interface PublisherDeps extends Omit<FanOutDeps, 'forget'> {
  connections: {
    at(site: string, at: number): Promise<{ connectionId: string; agentId: string }[]>;
    remove(connectionId: string): Promise<void>;
  };
  outbox: { settle(revision: number): Promise<void> };
  /** Milliseconds since the epoch. */
  now: () => number;
  log: { info(fields: object, message: string): void; error(fields: object, message: string): void };
}

/** Sends hints where connections are held by a gateway and not by this process. */
export interface Publisher {
  /**
   * Hints to every agent of the change's sites, then takes the change off the outbox. Rejects where an agent that is connected was not
   * reached: to be called again with the same change, which costs those that were one request answered 304.
   */
  publish(change: Change): Promise<void>;
  /** Hints to these agents of a site, whatever the reason. Resolves with the number of connections that were not reached. */
  nudge(site: string, agentIds: ReadonlySet<string>, generation: number): Promise<number>;
}

export function createPublisher(deps: PublisherDeps): Publisher {
  const { connections, outbox, now, log } = deps;
  const fan = { ...deps, forget: (connectionId: string) => connections.remove(connectionId) };

  async function hint(site: string, generation: number, wanted: (agentId: string) => boolean): Promise<string[]> {
    const there = (await connections.at(site, Math.floor(now() / 1000))).filter(({ agentId }) => wanted(agentId));
    const message: PushHint = { type: 'snapshot', site, generation, jitterMs: jitterFor(there.length) };
    const ids = there.map(({ connectionId }) => connectionId);
    const failed = await fanOut(fan, ids, JSON.stringify(message));
    log.info({ site, generation, connections: ids.length, failed: failed.length }, 'hints sent');
    return failed;
  }

  return {
    async publish({ revision, affects }) {
      let failed = 0;
      for (const site of affects) failed += (await hint(site, revision, () => true)).length;
      if (failed > 0) throw new Error(`${failed} connections were not reached with revision ${revision}`);
      await outbox.settle(revision);
    },
    nudge: async (site, agentIds, generation) => (await hint(site, generation, (id) => agentIds.has(id))).length,
  };
}
