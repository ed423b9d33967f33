import { setTimeout as delay } from 'node:timers/promises';

/** A service that holds connections for us, API Gateway's WebSocket API. */
export interface Gateway {
  /** Rejects with {@link GoneError} where there is no such connection any more. */
  post(connectionId: string, text: string): Promise<void>;
  /** Ends a connection; without effect where it is gone. */
  close(connectionId: string): Promise<void>;
}

/** The connection that was to be posted to has ended. */
export class GoneError extends Error {
  override readonly name = 'GoneError';
}

export interface FanOutDeps {
  gateway: Gateway;
  /** Of connections that are gone. */
  forget(connectionId: string): Promise<void>;
  random?: () => number;
  /** Milliseconds before the second try of a post; the following wait longer. */
  retryMs?: number;
}

/** Posts that are under way at the same time: callbacks of an account share 10,000 a second, and a post takes some milliseconds. */
const CONCURRENCY = 50;
const TRIES = 5;

/** A connection, and what is to be posted to it. */
export interface Post {
  readonly connectionId: string;
  readonly text: string;
}

/**
 * Posts to many connections, a bounded number at a time. Tries again with backoff and full jitter where the gateway has too much
 * to do. Connections that are gone are forgotten, and no fault. Resolves with those that could not be reached.
 */
export async function fanOut(deps: FanOutDeps, posts: readonly Post[]): Promise<string[]> {
  const failed: string[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < posts.length) {
      const post = posts[next++] as Post;
      if (!(await reach(deps, post))) failed.push(post.connectionId);
    }
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, posts.length) }, work));
  return failed;
}

async function reach(deps: FanOutDeps, { connectionId, text }: Post): Promise<boolean> {
  const { gateway, forget, random = Math.random, retryMs = 100 } = deps;
  for (let attempt = 0; attempt < TRIES; attempt++) {
    if (attempt > 0) await delay(random() * retryMs * 2 ** (attempt - 1));
    try {
      await gateway.post(connectionId, text);
      return true;
    } catch (error) {
      if (!(error instanceof GoneError)) continue;
      // Left for the next time where the store does not answer either: it costs one more post.
      await forget(connectionId).catch(() => {});
      return true;
    }
  }
  return false;
}
