import type { Gateway } from '../push/fan-out.ts';
import type { AppDeps } from '../routes/deps.ts';
import type { Connections } from '../store/connections.ts';

export interface GatewayHubDeps {
  connections: Pick<Connections, 'at' | 'remove'>;
  gateway: Pick<Gateway, 'close'>;
  now: () => number;
  pushUrl: string;
  spreadMs: number;
}

/** Who is connected is asked of the store once per site, not once per agent of a list. */
const REMEMBER_MS = 2_000;

/**
 * The push connections that API Gateway holds. A check that an operator wants made now is not possible through it: its result would come
 * to another function than the one that waits.
 */
export function gatewayHub(deps: GatewayHubDeps): AppDeps['hub'] {
  const { connections, gateway, now, pushUrl, spreadMs } = deps;
  const known = new Map<string, { at: number; agents: Promise<Set<string>> }>();

  const thereAt = (site: string) => connections.at(site, Math.floor(now() / 1000));

  function agentsAt(site: string): Promise<Set<string>> {
    const before = known.get(site);
    if (before !== undefined && now() - before.at < REMEMBER_MS) return before.agents;
    const agents = thereAt(site).then((there) => new Set(there.map(({ agentId }) => agentId)));
    known.set(site, { at: now(), agents });
    agents.catch(() => known.delete(site));
    return agents;
  }

  return {
    connected: async ({ agentId, site }) => (await agentsAt(site)).has(agentId),
    async disconnect({ agentId, site }) {
      for (const { connectionId, agentId: whose } of await thereAt(site)) {
        if (whose !== agentId) continue;
        await gateway.close(connectionId);
        await connections.remove(connectionId);
      }
    },
    reach: () => ({ push: pushUrl, spreadMs }),
    runCheck: () => false,
  };
}
