import { AuthError } from '../auth/auth-error.ts';
import type { Log } from '../routes/deps.ts';
import type { Connections } from '../store/connections.ts';

/** What is used of the event of an API Gateway WebSocket API, whichever route it comes by. */
export interface WebSocketEvent {
  requestContext: { routeKey: string; connectionId: string; connectedAt?: number };
  /** With `$connect` alone, in the case that the client sent them in. */
  headers?: Record<string, string | undefined> | null;
}

export interface WebSocketDeps {
  connections: Pick<Connections, 'put' | 'remove'>;
  authenticate(authorization: string | undefined): Promise<{ agentId: string; site: string }>;
  /** Milliseconds since the epoch. */
  now: () => number;
  log: Log;
}

/** API Gateway ends a connection after two hours; ten minutes for clocks and the way. */
const LIFE_SECONDS = 130 * 60;

/**
 * `$connect` lets an agent in and writes down where it is; `$disconnect`, which API Gateway sends as well as it can, strikes it out;
 * `$default` is what an agent sends: nothing. Nothing is posted at `$connect`, which API Gateway answers with 410: the agent asks by itself.
 */
export function createWebSocketHandler({ connections, authenticate, now, log }: WebSocketDeps) {
  return async ({ requestContext, headers }: WebSocketEvent): Promise<{ statusCode: number; body?: string }> => {
    const { routeKey, connectionId } = requestContext;
    if (routeKey === '$disconnect') {
      await connections.remove(connectionId);
      return { statusCode: 200 };
    }
    if (routeKey !== '$connect') return { statusCode: 400 };
    try {
      const { agentId, site } = await authenticate(authorizationOf(headers ?? {}));
      await connections.put({ connectionId, agentId, site }, Math.floor(now() / 1000) + LIFE_SECONDS);
      return { statusCode: 200 };
    } catch (error) {
      if (error instanceof AuthError) return { statusCode: error.status, body: error.message };
      log.error({ err: error, connectionId }, 'an agent cannot be let in');
      return { statusCode: 500 };
    }
  };
}

const authorizationOf = (headers: NonNullable<WebSocketEvent['headers']>): string | undefined =>
  Object.entries(headers).find(([name]) => name.toLowerCase() === 'authorization')?.[1];
