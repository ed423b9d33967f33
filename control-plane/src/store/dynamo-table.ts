import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type AttributeValue,
  BatchGetItemCommand,
  ConditionalCheckFailedException,
  CreateTableCommand,
  DeleteItemCommand,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  ResourceInUseException,
  TransactionCanceledException,
  TransactionConflictException,
  TransactionInProgressException,
  type TransactWriteItem,
  TransactWriteItemsCommand,
  UpdateItemCommand,
  UpdateTimeToLiveCommand,
  waitUntilTableExists,
} from '@aws-sdk/client-dynamodb';

export type Item = Record<string, AttributeValue>;
export type Values = Readonly<Record<string, string | number | Uint8Array>>;

/**
 * The single table. Partition `pk`, sort `sk`:
 *
 * | pk            | sk                   | holds                                                          |
 * |---------------|----------------------|----------------------------------------------------------------|
 * | `CONFIG`      | `Revision`           | the global revision; sequence and hash of the last AUDIT entry |
 * | `CONFIG`      | `Site#name`, `Farm#name`, `Secret#name`, `Departure#farm` | resources, and the sites a farm has left |
 * | `AUDIT`       | sequence, 12 digits  | one entry per change set, and per action that changes no resource |
 * | `OUTBOX`      | revision, 12 digits  | one entry per change set whose push hint is not out            |
 * | `HISTORY#Farm#name`, … | revision, 12 digits | what a resource was from that revision on              |
 * | `CONFIG`      | `Rollout`            | the last rollout: what its farms were before stands in it      |
 * | `ROLLOUT`, `ROLLOUT_PROGRESS` | number, 12 digits | every rollout; what the one under way has learned  |
 * | `IDEMPOTENCY#hash` | `-`             | what was answered to a request with an Idempotency-Key         |
 * | `SNAPSHOT#hash` | `-`                | a snapshot that agents were given                              |
 * | `API_TOKEN`   | SHA-256              | an operator's token                                            |
 * | `JOIN_TOKEN#hash` | `-`              | an agent's one-time token by SHA-256                           |
 * | `AGENT`       | agent id             | who it is: read with each of its requests                      |
 * | `REPORT#site` | agent id             | its last report: written once a minute, and in its site's partition, since one partition takes 1,000 writes a second |
 * | `CONNECTION#id` | `-`                | a push connection that API Gateway holds                       |
 * | `CONNECTIONS#site` | connection id   | the same, for hints to a site                                  |
 * | `SIGNING_KEY` | sequence, 5 digits   | a key that snapshots are signed with, its private half wrapped |
 * | `NUMBER`      | `Last`, number, 5 digits | the number given last; one item per number taken           |
 */
export const key = {
  revision: { pk: 'CONFIG', sk: 'Revision' },
  resource: (kind: string, name: string) => ({ pk: 'CONFIG', sk: `${kind}#${name}` }),
  departure: (farm: string) => ({ pk: 'CONFIG', sk: `Departure#${farm}` }),
  audit: (sequence: number) => ({ pk: 'AUDIT', sk: digits(sequence, 12) }),
  version: (kind: string, name: string, revision: number) => ({
    pk: `HISTORY#${kind}#${name}`,
    sk: digits(revision, 12),
  }),
  rollout: { pk: 'CONFIG', sk: 'Rollout' },
  rolloutRecord: (number: number) => ({ pk: 'ROLLOUT', sk: digits(number, 12) }),
  rolloutProgress: (number: number) => ({ pk: 'ROLLOUT_PROGRESS', sk: digits(number, 12) }),
  idempotency: (hash: string) => ({ pk: `IDEMPOTENCY#${hash}`, sk: '-' }),
  snapshot: (etag: string) => ({ pk: `SNAPSHOT#${etag}`, sk: '-' }),
  outbox: (revision: number) => ({ pk: 'OUTBOX', sk: digits(revision, 12) }),
  apiToken: (hash: string) => ({ pk: 'API_TOKEN', sk: hash }),
  joinToken: (hash: string) => ({ pk: `JOIN_TOKEN#${hash}`, sk: '-' }),
  agent: (agentId: string) => ({ pk: 'AGENT', sk: agentId }),
  report: (site: string, agentId: string) => ({ pk: `REPORT#${site}`, sk: agentId }),
  connection: (connectionId: string) => ({ pk: `CONNECTION#${connectionId}`, sk: '-' }),
  connectionAt: (site: string, connectionId: string) => ({ pk: `CONNECTIONS#${site}`, sk: connectionId }),
  number: (number: number) => ({ pk: 'NUMBER', sk: digits(number, 5) }),
  signingKey: (sequence: number) => ({ pk: 'SIGNING_KEY', sk: digits(sequence, 5) }),
  lastNumber: { pk: 'NUMBER', sk: 'Last' },
};
export type Key = { pk: string; sk: string };

const digits = (value: number, width: number) => String(value).padStart(width, '0');
const keyItem = ({ pk, sk }: Key): Item => ({ pk: { S: pk }, sk: { S: sk } });

/** A value as DynamoDB types it: text, number, or bytes. */
export function attribute(value: string | number | Uint8Array): AttributeValue {
  if (typeof value === 'string') return { S: value };
  return typeof value === 'number' ? { N: String(value) } : { B: value };
}

const attributes = (values: Values): Item =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, attribute(value)]));

export const textOf = (item: Item, name: string): string => item[name]?.S as string;
export const numberOf = (item: Item, name: string): number => Number(item[name]?.N);

/** One condition of a transaction or a single write. Names in `expression` are written `#name`, values `:name`. */
export interface Condition {
  expression: string;
  values?: Record<string, string | number>;
}

function conditionOf(condition: Condition | undefined, more: string[] = [], values: Item = {}) {
  const text = [condition?.expression ?? '', ...more].join(' ');
  const names = [...new Set(text.match(/#\w+/g))];
  const all: Item = {
    ...values,
    ...Object.fromEntries(Object.entries(condition?.values ?? {}).map(([name, v]) => [`:${name}`, attribute(v)])),
  };
  return {
    ...(condition === undefined ? {} : { ConditionExpression: condition.expression }),
    ...(names.length === 0
      ? {}
      : { ExpressionAttributeNames: Object.fromEntries(names.map((name) => [name, name.slice(1)])) }),
    ...(Object.keys(all).length === 0 ? {} : { ExpressionAttributeValues: all }),
  };
}

const ABSENT: Condition = { expression: 'attribute_not_exists(#pk)' };
const PRESENT: Condition = { expression: 'attribute_exists(#pk)' };
export const conditions = {
  absent: ABSENT,
  present: PRESENT,
  equal: (values: Record<string, string | number>): Condition => ({
    expression: Object.keys(values)
      .map((name) => `#${name} = :${name}`)
      .join(' AND '),
    values,
  }),
  /** What has expired may be there still: DynamoDB removes it within days. @param at RFC 3339 */
  absentOrUntil: (at: string): Condition => ({
    expression: 'attribute_not_exists(#pk) OR #expiresAt <= :at',
    values: { at },
  }),
};

export interface QueryOptions {
  prefix?: string;
  /** Exclusive; in the order asked for. */
  after?: string;
  limit?: number;
  descending?: boolean;
  /** What was written within the last second may be missing: half the price. */
  lagging?: boolean;
}

/** What the store does with the table, each with its types: no mapper in between, conditions and transactions are the design. */
export function tableOf(client: DynamoDBClient, table: string) {
  const TableName = table;

  /** The actions of one transaction. */
  const actions = {
    put: (at: Key, values: Values, when?: Condition): TransactWriteItem => ({
      Put: { TableName, Item: { ...keyItem(at), ...attributes(values) }, ...conditionOf(when) },
    }),
    set: (at: Key, values: Values, when?: Condition): TransactWriteItem => ({
      Update: { TableName, Key: keyItem(at), ...updateOf(values, when) },
    }),
    remove: (at: Key, when?: Condition): TransactWriteItem => ({
      Delete: { TableName, Key: keyItem(at), ...conditionOf(when) },
    }),
    check: (at: Key, when: Condition): TransactWriteItem => ({
      ConditionCheck: { TableName, Key: keyItem(at), ...conditionOf(when), ConditionExpression: when.expression },
    }),
  };

  /**
   * False: nothing was written, since a condition does not hold or another transaction holds one of the items. An answer that is lost
   * or late is asked for again with the same token, by which DynamoDB knows the request for ten minutes.
   *
   * @param token 1 to 36 characters, of this very request
   */
  async function transact(items: TransactWriteItem[], token: string = randomUUID()): Promise<boolean> {
    const command = new TransactWriteItemsCommand({ TransactItems: items, ClientRequestToken: token });
    for (let attempt = 1; ; attempt++) {
      try {
        await client.send(command);
        return true;
      } catch (error) {
        if (isRefused(error)) return false;
        if (attempt === MAX_SENDS || !mayHaveHappened(error)) throw error;
        await delay(Math.random() * 50 * 2 ** attempt);
      }
    }
  }

  async function get(at: Key): Promise<Item | undefined> {
    return (await client.send(new GetItemCommand({ TableName, Key: keyItem(at), ConsistentRead: true }))).Item;
  }

  /** Those that exist, in no order. */
  async function getMany(keys: readonly Key[]): Promise<Item[]> {
    const items: Item[] = [];
    let wanted = keys.map(keyItem);
    for (let attempt = 0; wanted.length > 0; attempt++) {
      const Keys = wanted.slice(0, 100);
      const output = await client.send(new BatchGetItemCommand({ RequestItems: { [TableName]: { Keys } } }));
      items.push(...(output.Responses?.[TableName] ?? []));
      const unread = output.UnprocessedKeys?.[TableName]?.Keys ?? [];
      wanted = [...unread, ...wanted.slice(100)];
      if (unread.length > 0) await delay(Math.random() * Math.min(1000, 20 * 2 ** attempt));
    }
    return items;
  }

  /** One partition in the order of its sort keys, those after `after` that begin with `prefix`. */
  async function query(pk: string, options: QueryOptions = {}): Promise<Item[]> {
    const { prefix = '', after, limit = Number.POSITIVE_INFINITY, descending = false, lagging = false } = options;
    const items: Item[] = [];
    let start: Item | undefined = after === undefined ? undefined : keyItem({ pk, sk: after });
    do {
      const output = await client.send(
        new QueryCommand({
          TableName,
          ConsistentRead: !lagging,
          ScanIndexForward: !descending,
          KeyConditionExpression: prefix === '' ? 'pk = :pk' : 'pk = :pk AND begins_with(sk, :prefix)',
          ExpressionAttributeValues: { ':pk': { S: pk }, ...(prefix === '' ? {} : { ':prefix': { S: prefix } }) },
          ...(start === undefined ? {} : { ExclusiveStartKey: start }),
          ...(Number.isFinite(limit) ? { Limit: limit - items.length } : {}),
        }),
      );
      items.push(...(output.Items ?? []));
      start = output.LastEvaluatedKey;
    } while (start !== undefined && items.length < limit);
    return items;
  }

  async function put(at: Key, values: Values): Promise<void> {
    const Item = { ...keyItem(at), ...attributes(values) };
    await single(() => client.send(new PutItemCommand({ TableName, Item })));
  }

  /** False: the condition does not hold. */
  async function update(at: Key, values: Values, when: Condition) {
    return single(() => client.send(new UpdateItemCommand({ TableName, Key: keyItem(at), ...updateOf(values, when) })));
  }

  async function remove(at: Key): Promise<void> {
    await single(() => client.send(new DeleteItemCommand({ TableName, Key: keyItem(at) })));
  }

  return { actions, transact, get, getMany, query, put, update, remove };
}
export type Table = ReturnType<typeof tableOf>;

function updateOf(values: Values, when: Condition | undefined) {
  const sets = Object.keys(values).map((name) => `#${name} = :set_${name}`);
  const setValues = Object.fromEntries(Object.entries(values).map(([name, v]) => [`:set_${name}`, attribute(v)]));
  return { ...conditionOf(when, sets, setValues), UpdateExpression: `SET ${sets.join(', ')}` };
}

/** Beyond the SDK's own three. */
const MAX_SENDS = 4;

function isRefused(error: unknown): boolean {
  if (!(error instanceof TransactionCanceledException)) return false;
  const codes = (error.CancellationReasons ?? []).map(({ Code }) => Code);
  return codes.includes('ConditionalCheckFailed') || codes.includes('TransactionConflict');
}

/** No answer, or one that says nothing of whether it was done: a broken connection, a timeout, 5xx, throttling. */
function mayHaveHappened(error: unknown): boolean {
  if (error instanceof TransactionCanceledException || error instanceof TransactionInProgressException) return true;
  const { $metadata, $retryable } = error as { $metadata?: { httpStatusCode?: number }; $retryable?: object };
  const status = $metadata?.httpStatusCode;
  return status === undefined || status >= 500 || $retryable !== undefined || THROTTLED.has((error as Error).name);
}

const THROTTLED = new Set([
  'ProvisionedThroughputExceededException',
  'RequestLimitExceeded',
  'ThrottlingException',
  'ThrottlingError',
]);

/** Sends a single write; again where a transaction holds the item just now. False: its condition does not hold. */
async function single(send: () => Promise<unknown>): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      await send();
      return true;
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return false;
      if (!(error instanceof TransactionConflictException) || attempt === 5) throw error;
    }
  }
}

/** Creates the table and its expiry of join tokens; without effect where it exists. */
export async function createTable(client: DynamoDBClient, table: string): Promise<void> {
  try {
    await client.send(
      new CreateTableCommand({
        TableName: table,
        BillingMode: 'PAY_PER_REQUEST',
        // What Lambda hears of a commit by; one process alone has no need of it, and it costs nothing unread.
        StreamSpecification: { StreamEnabled: true, StreamViewType: 'NEW_IMAGE' },
        AttributeDefinitions: [
          { AttributeName: 'pk', AttributeType: 'S' },
          { AttributeName: 'sk', AttributeType: 'S' },
        ],
        KeySchema: [
          { AttributeName: 'pk', KeyType: 'HASH' },
          { AttributeName: 'sk', KeyType: 'RANGE' },
        ],
      }),
    );
  } catch (error) {
    if (error instanceof ResourceInUseException) return;
    throw error;
  }
  await waitUntilTableExists({ client, maxWaitTime: 60, minDelay: 1, maxDelay: 2 }, { TableName: table });
  await client.send(
    new UpdateTimeToLiveCommand({
      TableName: table,
      TimeToLiveSpecification: { Enabled: true, AttributeName: 'ttl' },
    }),
  );
}
