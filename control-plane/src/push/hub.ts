import type { PushHint, RunCheck, ScheduleHint } from '@sipfleet/contract';

/** What the hub uses of a WebSocket (package ws). */
export interface PushSocket {
  send(text: string): void;
  ping(): void;
  close(code: number, reason: string): void;
  terminate(): void;
  on(event: 'pong' | 'close' | 'error', listener: () => void): unknown;
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

/** Application close codes start at 4000 (RFC 6455 §7.4.2); 1001 is "going away". */
export const CLOSE = { goingAway: 1001, revoked: 4401 } as const;

/** Every agent asks after a random part of this: up to ten at once, a crowd at 100 a second. */
export const jitterFor = (agents: number): number => (agents <= 10 ? 0 : Math.min(60_000, agents * 10));

/** 500 connections a second, which is also what API Gateway takes; TLS handshakes of more would keep the process from everything else. */
export const spreadFor = (agents: number): number => Math.min(300_000, agents * 2);

interface Connection {
  readonly agentId: string;
  readonly site: string;
  readonly socket: PushSocket;
  /** It has answered the last ping. */
  alive: boolean;
}

/**
 * @param pingIntervalMs a connection that leaves a ping unanswered for this long is cut
 * @param onLost called when the last connection of an agent has ended
 */
export function createHub(pingIntervalMs = 30_000, onLost: (agentId: string) => void = () => {}): Hub {
  const connections = new Set<Connection>();
  let closed = false;

  const pinger = setInterval(() => {
    for (const connection of connections) {
      if (!connection.alive) {
        connection.socket.terminate();
        continue;
      }
      connection.alive = false;
      connection.socket.ping();
    }
  }, pingIntervalMs);
  pinger.unref();

  /** Every agent asks after a random part of the jitter. */
  function toSites(
    sites: readonly string[],
    message: (site: string, jitterMs: number) => PushHint | ScheduleHint,
  ): void {
    for (const site of sites) {
      const there = [...connections].filter((connection) => connection.site === site);
      const text = JSON.stringify(message(site, jitterFor(there.length)));
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
      const connection: Connection = { agentId, site, socket, alive: true };
      connections.add(connection);
      socket.on('pong', () => {
        connection.alive = true;
      });
      socket.on('close', () => {
        connections.delete(connection);
        if (!closed && ![...connections].some((c) => c.agentId === agentId)) onLost(agentId);
      });
      // ws closes the socket itself after an error; without a listener the error would end the process.
      socket.on('error', () => socket.terminate());
    },
    connected: (agentId) => [...connections].some((connection) => connection.agentId === agentId),
    hint(sites, generation) {
      toSites(sites, (site, jitterMs) => ({ type: 'snapshot', site, generation, jitterMs }));
    },
    scheduleChanged(sites) {
      toSites(sites, (site, jitterMs) => ({ type: 'schedule', site, jitterMs }));
    },
    runCheck(agentId, check) {
      const connection = [...connections].find((c) => c.agentId === agentId);
      connection?.socket.send(JSON.stringify({ type: 'check', ...check } satisfies RunCheck));
      return connection !== undefined;
    },
    reach: () => ({ spreadMs: spreadFor(connections.size) }),
    disconnect(agentId) {
      for (const connection of connections)
        if (connection.agentId === agentId) connection.socket.close(CLOSE.revoked, 'revoked');
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
