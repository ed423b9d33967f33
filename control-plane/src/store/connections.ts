import { conditions, key, numberOf, type Table, textOf } from './dynamo-table.ts';

/** A push connection that API Gateway holds. */
export interface Connection {
  readonly connectionId: string;
  readonly agentId: string;
  readonly site: string;
}

/** Which agents are connected, for processes that hold no connection themselves. */
export interface Connections {
  /** @param expiresAt seconds since the epoch: no connection lives longer */
  put(connection: Connection, expiresAt: number): Promise<void>;
  get(connectionId: string): Promise<Connection | undefined>;
  /** Without effect where it is gone already. */
  remove(connectionId: string): Promise<void>;
  /** Of a site, those that have not expired. @param at seconds since the epoch: now */
  at(site: string, at: number): Promise<Connection[]>;
}

/**
 * Two items a connection: by site for hints, by id since that is all that API Gateway tells when one ends. DynamoDB removes what has
 * expired within days: readers look for themselves.
 */
export function connectionsOf(table: Table): Connections {
  const { put, remove } = table.actions;
  const get = async (connectionId: string): Promise<Connection | undefined> => {
    const item = await table.get(key.connection(connectionId));
    if (item === undefined) return undefined;
    return { connectionId, agentId: textOf(item, 'agentId'), site: textOf(item, 'site') };
  };
  return {
    get,
    async put({ connectionId, agentId, site }, expiresAt) {
      const done = await table.transact([
        put(key.connection(connectionId), { agentId, site, ttl: expiresAt }),
        put(key.connectionAt(site, connectionId), { agentId, ttl: expiresAt }),
      ]);
      if (!done) throw new Error(`connection ${connectionId} is being written by another process`);
    },
    async remove(connectionId) {
      const known = await get(connectionId);
      if (known === undefined) return;
      await table.transact([
        remove(key.connection(connectionId), conditions.present),
        remove(key.connectionAt(known.site, connectionId)),
      ]);
    },
    async at(site, at) {
      const items = await table.query(key.connectionAt(site, '').pk);
      return items
        .filter((item) => numberOf(item, 'ttl') > at)
        .map((item) => ({ connectionId: textOf(item, 'sk'), agentId: textOf(item, 'agentId'), site }));
    },
  };
}
