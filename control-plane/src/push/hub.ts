import type { PushHint, RunCheck, ScheduleHint } from '@sipfleet/contract';

/** What the hub uses of a WebSocket (package ws). */
export interface PushSocket {
  send(text: string): void;
  ping(): void;
  close(code: number, reason: string): void;
  terminate(): void;
  on(event: 'pong' | 'message' | 'close' | 'error', listener: () => void): unknown;
}

/** The push connections of this process, by agent and site. */
export interface Hub {
  add(agent: { agentId: string; site: string }, socket: PushSocket): void;
  connected(agentId: string): boolean;
  /** Tells every agent of these sites that there may be something new. */
  hint(sites: readonly string[], generation: number): void;
  /** Tells every agent of these sites that its check schedule may be another. */
  scheduleChanged(sites: readonly string[]): void;
  /** Has one agent make a check now. False: it has no connection here. */
  runCheck(agentId: string, check: Omit<RunCheck, 'type'>): boolean;
  /** What the return of all connections is to be spread over, should this process end. */
  reach(): { spreadMs: number };
  /** Ends the connections of an agent that was revoked. */
  disconnect(agentId: string): void;
  /** Ends all connections; resolves when they have ended. Safe to call twice. */
  close(): Promise<void>;
}

/** Application close codes start at 4000 (RFC 6455 §7.4.2); 1001 is "going away", 1008 "policy violation". */
export const CLOSE = { goingAway: 1001, violation: 1008, revoked: 4401 } as const;

/**
 * Every agent that is hinted to asks after a random part of this: up to ten at once, a crowd of any number of sites at 3,000 a second, which
 * one process on one core answers (docs/cost.md has the figures).
 */
export const jitterFor = (agents: number): number => (agents <= 10 ? 0 : Math.min(60_000, Math.ceil(agents / 3)));

/** 500 connections a second, which is also what API Gateway takes; TLS handshakes of more would keep the process from everything else. */
export const spreadFor = (agents: number): number => Math.min(300_000, agents * 2);

/** A round of pings is dealt over its interval. */
const PING_TURNS = 30;

interface Connection {
  readonly agentId: string;
  readonly site: string;
  readonly socket: PushSocket;
  /** It has answered the last ping, or said something since. */
  alive: boolean;
  /** It said something since it was last looked at: a ping would be of no use. */
  heard: boolean;
}

/**
 * @param pingIntervalMs a connection over which nothing comes for so long is pinged, and cut where it leaves that unanswered for so long
 * @param onLost called when the last connection of an agent has ended
 */
export function createHub(pingIntervalMs = 30_000, onLost: (agentId: string) => void = () => {}): Hub {
  const connections = new Set<Connection>();
  const byAgent = new Map<string, Set<Connection>>();
  const bySite = new Map<string, Set<Connection>>();
  let closed = false;

  // In turns: ten thousand pings at once would hold up everything else for a tenth of a second.
  const turns = Array.from({ length: PING_TURNS }, () => new Set<Connection>());
  let turn = 0;
  let joined = 0;
  const pinger = setInterval(() => {
    for (const connection of turns[turn] as Set<Connection>) {
      if (connection.heard) connection.heard = false;
      else if (connection.alive) {
        connection.alive = false;
        connection.socket.ping();
      } else connection.socket.terminate();
    }
    turn = (turn + 1) % PING_TURNS;
  }, pingIntervalMs / PING_TURNS);
  pinger.unref();

  function remember(connection: Connection): Set<Connection> {
    const pinged = turns[joined++ % PING_TURNS] as Set<Connection>;
    connections.add(connection);
    pinged.add(connection);
    for (const [index, key] of [
      [byAgent, connection.agentId],
      [bySite, connection.site],
    ] as const)
      index.set(key, (index.get(key) ?? new Set()).add(connection));
    return pinged;
  }

  function forget(connection: Connection): void {
    connections.delete(connection);
    for (const [index, key] of [
      [byAgent, connection.agentId],
      [bySite, connection.site],
    ] as const) {
      const left = index.get(key);
      left?.delete(connection);
      if (left?.size === 0) index.delete(key);
    }
  }

  function toSites(
    sites: readonly string[],
    message: (site: string, jitterMs: number) => PushHint | ScheduleHint,
  ): void {
    const told = new Map(sites.map((site) => [site, [...(bySite.get(site) ?? [])]] as const));
    const crowd = [...told.values()].reduce((sum, there) => sum + there.length, 0);
    for (const [site, there] of told) {
      const text = JSON.stringify(message(site, jitterFor(crowd)));
      for (const { socket } of there) socket.send(text);
    }
  }

  return {
    add({ agentId, site }, socket) {
      if (closed) {
        // Its upgrade was under way when the hub closed.
        socket.terminate();
        return;
      }
      const connection: Connection = { agentId, site, socket, alive: true, heard: false };
      const pinged = remember(connection);
      socket.on('pong', () => {
        connection.alive = true;
      });
      socket.on('message', () => {
        connection.alive = true;
        connection.heard = true;
      });
      socket.on('close', () => {
        pinged.delete(connection);
        forget(connection);
        if (!closed && !byAgent.has(agentId)) onLost(agentId);
      });
      // ws closes the socket itself after an error; without a listener the error would end the process.
      socket.on('error', () => socket.terminate());
    },
    connected: (agentId) => byAgent.has(agentId),
    hint(sites, generation) {
      toSites(sites, (site, jitterMs) => ({ type: 'snapshot', site, generation, jitterMs }));
    },
    scheduleChanged(sites) {
      toSites(sites, (site, jitterMs) => ({ type: 'schedule', site, jitterMs }));
    },
    runCheck(agentId, check) {
      const [connection] = byAgent.get(agentId) ?? [];
      connection?.socket.send(JSON.stringify({ type: 'check', ...check } satisfies RunCheck));
      return connection !== undefined;
    },
    reach: () => ({ spreadMs: spreadFor(connections.size) }),
    disconnect(agentId) {
      for (const { socket } of byAgent.get(agentId) ?? []) socket.close(CLOSE.revoked, 'revoked');
    },
    async close() {
      closed = true;
      clearInterval(pinger);
      const ended = [...connections].map(({ socket }) => new Promise<void>((resolve) => socket.on('close', resolve)));
      for (const { socket } of connections) socket.close(CLOSE.goingAway, 'the control plane is shutting down');
      // Who does not answer the close frame is cut off.
      const cut = setTimeout(() => {
        for (const { socket } of connections) socket.terminate();
      }, 1000);
      await Promise.all(ended);
      clearTimeout(cut);
    },
  };
}
