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

/** Sites whose connections are read at the same time. */
const READS = 20;

export function createPublisher(deps: PublisherDeps): Publisher {
  const { connections, outbox, now, log } = deps;
  const fan = { ...deps, forget: (connectionId: string) => connections.remove(connectionId) };

  /** Hints to the agents of these sites that are wanted; the connections that were not reached. */
  async function hint(
    sites: readonly string[],
    generation: number,
    wanted: (agentId: string) => boolean,
  ): Promise<string[]> {
    const at = Math.floor(now() / 1000);
    const found: { site: string; connectionId: string }[] = [];
    let next = 0;
    const read = async (): Promise<void> => {
      while (next < sites.length) {
        const site = sites[next++] as string;
        for (const { connectionId, agentId } of await connections.at(site, at))
          if (wanted(agentId)) found.push({ site, connectionId });
      }
    };
    await Promise.all(Array.from({ length: Math.min(READS, sites.length) }, read));
    const jitterMs = jitterFor(found.length);
    const posts = found.map(({ site, connectionId }) => ({
      connectionId,
      text: JSON.stringify({ type: 'snapshot', site, generation, jitterMs } satisfies PushHint),
    }));
    const failed = await fanOut(fan, posts);
    log.info({ sites: sites.length, generation, connections: found.length, failed: failed.length }, 'hints sent');
    return failed;
  }

  return {
    async publish({ revision, affects }) {
      const failed = (await hint(affects, revision, () => true)).length;
      if (failed > 0) throw new Error(`${failed} connections were not reached with revision ${revision}`);
      await outbox.settle(revision);
    },
    nudge: async (site, agentIds, generation) => (await hint([site], generation, (id) => agentIds.has(id))).length,
  };
}
