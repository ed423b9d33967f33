import { randomBytes } from 'node:crypto';
import type { DynamoDBClient, TransactWriteItem, TransactWriteItemsInput } from '@aws-sdk/client-dynamodb';
import { exportJWK, generateKeyPair } from 'jose';
import { hashSecret, newSecret } from '../../control-plane/src/auth/secret.ts';
import { httpEvent, webSocketEvent } from '../../control-plane/src/lambda/events.fixture.ts';
import { lambdaHandlers } from '../../control-plane/src/lambda/handlers.ts';
import { signJwt } from '../../control-plane/src/routes/app.fixture.ts';
import { startDynamoLocal } from '../../control-plane/src/store/dynamo-local.fixture.ts';
import { createTable } from '../../control-plane/src/store/dynamo-table.ts';
import { memoryKeys } from '../../control-plane/src/vault/keys.fixture.ts';
import { reportOf } from './agent.ts';
import { farmOn } from './farm.ts';
import { siteName } from './fleet.ts';
import { ASSUMED, PRICES } from './prices.ts';

/** DynamoDB's request units. */
export interface Units {
  reads: number;
  writes: number;
}

/** One size of fleet: what each operation takes, and a month of all of them. */
export interface FleetCost {
  agents: number;
  sites: number;
  operations: Record<Operation, Units>;
  month: Units & { requests: number; dollars: Record<string, number>; total: number };
}
export type Cost = FleetCost[];

export const OPERATIONS = ['report', 'snapshot', 'connect', 'disconnect', 'change', 'publish', 'reconcile'] as const;
export type Operation = (typeof OPERATIONS)[number];

/**
 * Adds up what every command says that it used. Not of transactions, which DynamoDB Local counts too low: two units for every kilobyte begun of each
 * item, as DynamoDB's documentation has it.
 */
function meter(client: DynamoDBClient): Units {
  const used: Units = { reads: 0, writes: 0 };
  client.middlewareStack.add(
    (next, context) => async (args) => {
      Object.assign(args.input, { ReturnConsumedCapacity: 'TOTAL' });
      const result = await next(args);
      if (context.commandName === 'TransactWriteItemsCommand') {
        used.writes += transactionUnits((args.input as TransactWriteItemsInput).TransactItems ?? []);
        return result;
      }
      const { ConsumedCapacity } = result.output as { ConsumedCapacity?: Capacity | Capacity[] };
      const units = [ConsumedCapacity ?? []].flat().reduce((sum, { CapacityUnits = 0 }) => sum + CapacityUnits, 0);
      if (/^(Get|Query|BatchGet)/.test(context.commandName ?? '')) used.reads += units;
      else used.writes += units;
      return result;
    },
    { step: 'initialize', name: 'meter' },
  );
  return used;
}

type Capacity = { CapacityUnits?: number };

/** Of an update or a removal what is sent stands for the item: keys and values, here all there is. */
const transactionUnits = (items: readonly TransactWriteItem[]): number =>
  items.reduce((sum, item) => sum + 2 * Math.ceil(sizeOf(Object.values(item)[0] as object) / 1024), 0);

function sizeOf({
  Item,
  Key,
  ExpressionAttributeValues,
}: {
  Item?: object;
  Key?: object;
  ExpressionAttributeValues?: object;
}) {
  return [Item, Key, ExpressionAttributeValues].reduce(
    (sum, part) => sum + (part ? JSON.stringify(part).length : 0),
    0,
  );
}

const minus = (a: Units, b: Units): Units => ({ reads: a.reads - b.reads, writes: a.writes - b.writes });
const times = (a: Units, n: number): Units => ({ reads: a.reads * n, writes: a.writes * n });
const plus = (...all: Units[]): Units =>
  all.reduce((a, b) => ({ reads: a.reads + b.reads, writes: a.writes + b.writes }), { reads: 0, writes: 0 });

/**
 * Measures a fleet of this size. One site has its agents; what the others add is what that one added to empty ones, times their number.
 * Nothing is remembered between calls but the configuration: each comes as to a function that saw no other of the site for half a minute.
 */
async function measureFleetCost(client: DynamoDBClient, agents: number): Promise<FleetCost> {
  const used = meter(client);
  const { agentsPerSite } = ASSUMED;
  const sites = Array.from({ length: Math.max(1, Math.round(agents / agentsPerSite)) }, (_, i) => siteName(i));
  const table = `cost-${agents}`;
  await createTable(client, table);
  const token = newSecret('sft_', randomBytes);
  let now = Date.now();
  const lambda = await lambdaHandlers({
    client,
    environment: { table, pushUrl: 'wss://push', spreadMs: 20_000, adminTokenHash: hashSecret(token) },
    keys: memoryKeys(),
    gateway: { post: async () => {}, close: async () => {} },
    now: () => now,
    randomBytes,
    log: { debug() {}, info() {}, error() {} },
  });

  async function ask(method: string, path: string, body: unknown, headers: Record<string, string> = {}) {
    const authorization = `Bearer ${token}`;
    const answer = await lambda.http(httpEvent(method, path, { headers: { authorization, ...headers }, body }));
    if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${answer.body}`);
    return JSON.parse(answer.body);
  }
  async function measured(work: () => Promise<unknown>): Promise<Units> {
    const before = { ...used };
    await work();
    return minus(used, before);
  }
  async function join(site: string) {
    const { token: joinToken } = await ask('POST', '/v1/join-tokens', { site });
    const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
    const { kty, crv, x } = await exportJWK(publicKey);
    const request = { joinToken, name: 'edge', publicKey: { kty, crv, x }, version: '0.1.0' };
    const { agentId } = await ask('POST', '/v1/agents/enrol', request);
    const bearer = async () => ({ authorization: `Bearer ${await signJwt(agentId, privateKey, now)}` });
    return { agentId: agentId as string, bearer };
  }

  for (const name of sites) await ask('PUT', `/v1/sites/${name}`, { kind: 'Site', name }, { 'if-none-match': '*' });
  let { revision } = await ask('PUT', '/v1/farms/pbx', farmOn(sites, 1), { 'if-none-match': '*' });
  const [full] = sites as [string];
  const members = await Promise.all(Array.from({ length: agentsPerSite }, () => join(full)));
  const [member] = members as [(typeof members)[number]];
  // Nothing waits to be hinted: what it took to come this far is no part of a month.
  while ((await lambda.reconcile()).overdue > 0);

  const empty = { publish: await publishing(), reconcile: await measured(lambda.reconcile) };
  const connect = await measured(async () => {
    for (const [i, { bearer }] of members.entries())
      await lambda.websocket(webSocketEvent('$connect', `c${i}`, await bearer()));
  });
  const report = async () => {
    now += 31_000;
    return measured(async () =>
      ask('POST', '/v1/agent/report', reportOf({ etag: 'e'.repeat(64), generation: revision }), await member.bearer()),
    );
  };
  for (const { bearer } of members)
    await ask('POST', '/v1/agent/report', reportOf({ etag: 'e'.repeat(64), generation: revision }), await bearer());
  const reported = times(plus(...(await sequence(10, report))), 1 / 10);
  const snapshot = await measured(async () =>
    lambda.http(httpEvent('GET', '/v1/agent/snapshot', { headers: await member.bearer() })),
  );
  const change = await measured(async () => {
    const headers = { 'if-match': `"${revision}"` };
    ({ revision } = await ask('PUT', '/v1/farms/pbx', farmOn(sites, 2), headers));
  });
  const withAgents = { publish: await publishing(), reconcile: await measured(lambda.reconcile) };
  const disconnect = await measured(async () => {
    for (const i of members.keys()) await lambda.websocket(webSocketEvent('$disconnect', `c${i}`));
  });
  const whole = (name: 'publish' | 'reconcile'): Units =>
    plus(empty[name], times(minus(withAgents[name], empty[name]), sites.length));
  const operations = {
    report: reported,
    snapshot,
    connect: times(connect, 1 / members.length),
    disconnect: times(disconnect, 1 / members.length),
    change,
    // Its one write takes the change off the outbox, however many sites there are.
    publish: { reads: whole('publish').reads, writes: withAgents.publish.writes },
    reconcile: whole('reconcile'),
  };
  return { agents, sites: sites.length, operations, month: monthOf(agents, operations) };

  /** Of the newest change, as the stream hands it over. */
  async function publishing(): Promise<Units> {
    const image = { revision: { N: String(revision) }, affects: { S: JSON.stringify(sites) } };
    const record = {
      eventName: 'INSERT',
      dynamodb: { Keys: { pk: { S: 'OUTBOX' } }, NewImage: image, SequenceNumber: '1' },
    };
    return measured(() => lambda.stream({ Records: [record] }));
  }
}

async function sequence<T>(count: number, work: () => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let i = 0; i < count; i++) results.push(await work());
  return results;
}

const MONTH_SECONDS = (365.25 / 12) * 86_400;
/** Mean of the 100 to 115 minutes after which an agent opens another push socket. */
const SOCKET_SECONDS = 107.5 * 60;
const RECONCILE_SECONDS = 300;

function monthOf(agents: number, of: Record<Operation, Units>): FleetCost['month'] {
  const changes = ASSUMED.changesPerDay * (MONTH_SECONDS / 86_400);
  const idle = agents * (MONTH_SECONDS / 60);
  const sockets = agents * (MONTH_SECONDS / SOCKET_SECONDS);
  // After a change every agent asks once for the snapshot and reports once more.
  const counts: Record<Operation, number> = {
    report: idle + changes * agents,
    snapshot: changes * agents,
    connect: sockets,
    disconnect: sockets,
    change: changes,
    publish: changes,
    reconcile: MONTH_SECONDS / RECONCILE_SECONDS,
  };
  const { reads, writes } = plus(...OPERATIONS.map((name) => times(of[name], counts[name])));
  const requests = counts.report + counts.snapshot + counts.change;
  const calls = requests + 2 * sockets + counts.publish + counts.reconcile;
  const { httpRequestsAfter: after } = PRICES;
  const dollars = {
    dynamodb: reads * PRICES.readUnits + writes * PRICES.writeUnits,
    'http-api':
      Math.min(requests, after) * PRICES.httpRequests + Math.max(0, requests - after) * PRICES.httpRequestsThen,
    'websocket-api': agents * (MONTH_SECONDS / 60) * PRICES.connectionMinutes + changes * agents * PRICES.messages,
    lambda:
      calls * PRICES.invocations + calls * (ASSUMED.callMs / 1000) * ASSUMED.memoryGigabytes * PRICES.gigabyteSeconds,
    transfer: requests * ASSUMED.answerBytes * PRICES.bytesOut,
    kms: PRICES.key,
  };
  const total = Object.values(dollars).reduce((sum, part) => sum + part, 0);
  return { reads, writes, requests, dollars, total };
}

/** A hundred, a thousand and ten thousand agents. */
export async function measureCost(sizes: readonly number[] = [100, 1000, 10_000]): Promise<Cost> {
  const local = await startDynamoLocal();
  try {
    const costs: Cost = [];
    for (const agents of sizes) {
      const client = local.connect();
      costs.push(await measureFleetCost(client, agents));
      client.destroy();
    }
    return costs;
  } finally {
    await local.stop();
  }
}
