import type { SiteAgent } from '../domain/identity.ts';
import type { Gateway } from '../push/fan-out.ts';
import type { Change, Publisher } from '../push/publisher.ts';
import type { Log } from '../routes/deps.ts';
import type { Connections } from '../store/connections.ts';

export interface ReconcilerDeps {
  store: { outbox(limit: number): Promise<readonly Change[]>; agentsAt(site: string): Promise<SiteAgent[]> };
  sites(): Promise<readonly string[]>;
  /** What each of these should run, in their order. */
  wanted(agents: readonly SiteAgent[]): Promise<readonly { generation: number; etag: string }[]>;
  /** Has the rollout that is under way looked at. */
  advance(): Promise<void>;
  connections: Pick<Connections, 'at' | 'remove'>;
  publisher: Publisher;
  gateway: Pick<Gateway, 'close'>;
  /** Milliseconds since the epoch. */
  now: () => number;
  log: Log;
}

/** What one run found and did. */
export interface Reconciled {
  /** Changes whose hints the stream had given up. */
  overdue: number;
  /** Agents that run something else than they should, and were hinted again. */
  behind: number;
  /** Connections of agents that were revoked, ended. */
  orphaned: number;
}

const BATCH = 100;
/** An agent that refused what it should run tries again by itself. */
const isBehind = ({ report }: SiteAgent, etag: string): boolean =>
  report !== null &&
  report.snapshot.running !== etag &&
  !(report.snapshot.status === 'FAILED' && report.snapshot.etag === etag);

/**
 * Run every few minutes: makes up for whatever was lost on the way. Agents poll, so nothing here is needed for them to catch up within
 * 72 seconds; it keeps the outbox from growing, ends what revocation left open, and says what it found.
 */
export function createReconciler(deps: ReconcilerDeps): () => Promise<Reconciled> {
  const { store, sites, wanted, connections, publisher, gateway, now, log } = deps;

  async function overdue(): Promise<number> {
    const changes = await store.outbox(BATCH);
    for (const change of changes)
      await publisher.publish(change).catch((error: unknown) => {
        log.error({ err: error, revision: change.revision }, 'hints are still not out');
      });
    return changes.length;
  }

  async function reconcileSite(site: string): Promise<Omit<Reconciled, 'overdue'>> {
    const [agents, connected] = await Promise.all([
      store.agentsAt(site),
      connections.at(site, Math.floor(now() / 1000)),
    ]);
    const known = new Set(agents.map(({ agentId }) => agentId));
    const orphans = connected.filter(({ agentId }) => !known.has(agentId));
    for (const { connectionId } of orphans) {
      await gateway.close(connectionId);
      await connections.remove(connectionId);
    }
    const targets = await wanted(agents);
    // During a rollout the agents of a site have two targets, and a hint of what an agent runs already is passed over.
    const behind = new Map<number, Set<string>>();
    for (const [i, agent] of agents.entries()) {
      const { generation, etag } = targets[i] as { generation: number; etag: string };
      if (isBehind(agent, etag)) behind.set(generation, (behind.get(generation) ?? new Set()).add(agent.agentId));
    }
    for (const [generation, ids] of behind) await publisher.nudge(site, ids, generation);
    return { behind: [...behind.values()].reduce((sum, ids) => sum + ids.size, 0), orphaned: orphans.length };
  }

  return async () => {
    // First: what it moves is what the agents are then held to.
    await deps.advance().catch((error: unknown) => log.error({ err: error }, 'a rollout cannot be looked at'));
    const found: Reconciled = { overdue: await overdue(), behind: 0, orphaned: 0 };
    for (const site of await sites()) {
      try {
        const { behind, orphaned } = await reconcileSite(site);
        found.behind += behind;
        found.orphaned += orphaned;
      } catch (error) {
        log.error({ err: error, site }, 'a site cannot be reconciled: going on with the others');
      }
    }
    log.info(found, 'reconciled');
    return found;
  };
}
