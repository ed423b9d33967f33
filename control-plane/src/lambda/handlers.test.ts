import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DescribeTableCommand } from '@aws-sdk/client-dynamodb';
import { DynamoDBStreams } from '@aws-sdk/client-dynamodb-streams';
import type { AgentReport, Farm } from '@sipfleet/contract';
import { exportJWK, generateKeyPair } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { hashSecret, newSecret } from '../auth/secret.ts';
import { farm } from '../domain/configuration.fixture.ts';
import { type Gateway, GoneError } from '../push/fan-out.ts';
import { signJwt } from '../routes/app.fixture.ts';
import { connectionsOf } from '../store/connections.ts';
import { openDynamoStore } from '../store/dynamo.ts';
import { type DynamoLocal, startDynamoLocal } from '../store/dynamo-local.fixture.ts';
import { createTable, tableOf } from '../store/dynamo-table.ts';
import { memoryKeys } from '../vault/keys.fixture.ts';
import { httpEvent, webSocketEvent } from './events.fixture.ts';
import { type Handlers, lambdaHandlers } from './handlers.ts';
import type { StreamRecord } from './stream.ts';

// The JVM answers when it gets to it on a busy machine: no test here depends on speed.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const hasJava = spawnSync('java', ['-version']).status === 0;
const CREATE = { 'if-none-match': '*' };

/** API Gateway's side: connections that exist, and what was posted to each. */
class FakeGateway implements Gateway {
  readonly posted: [string, unknown][] = [];
  readonly closed: string[] = [];
  readonly gone = new Set<string>();
  /** Posts to these fail so many times more. */
  readonly throttled = new Map<string, number>();
  async post(connectionId: string, text: string) {
    if (this.gone.has(connectionId)) throw new GoneError('gone');
    const left = this.throttled.get(connectionId) ?? 0;
    if (left > 0) {
      this.throttled.set(connectionId, left - 1);
      throw Object.assign(new Error('Rate exceeded'), { name: 'LimitExceededException' });
    }
    this.posted.push([connectionId, JSON.parse(text)]);
  }
  async close(connectionId: string) {
    this.closed.push(connectionId);
  }
}

describe.skipIf(!hasJava && !process.env.CI)('the control plane on Lambda', () => {
  let local: DynamoLocal;
  let client: DynamoDBClient;
  let streams: DynamoDBStreams;
  let table: string;
  let gateway: FakeGateway;
  let lambda: Handlers;
  let clock: number;
  let tables = 0;
  const token = newSecret('sft_', randomBytes);

  beforeAll(async () => {
    local = await startDynamoLocal();
    client = local.connect();
    streams = new DynamoDBStreams(local.config);
  });
  afterAll(async () => {
    client.destroy();
    streams.destroy();
    await local.stop();
  });
  beforeEach(async () => {
    table = `lambda-${tables++}`;
    await createTable(client, table);
    gateway = new FakeGateway();
    clock = Date.now();
    lambda = await lambdaHandlers({
      client,
      environment: {
        table,
        pushUrl: 'wss://push.example.com/push',
        spreadMs: 20_000,
        adminTokenHash: hashSecret(token),
      },
      keys: memoryKeys(),
      gateway,
      now: () => clock,
      randomBytes,
      log: { debug() {}, info() {}, error() {} },
    });
  });

  const store = () => openDynamoStore(client, table);
  const connections = () => connectionsOf(tableOf(client, table));

  async function ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const authorization = `Bearer ${token}`;
    const event = httpEvent(method, path, {
      headers: { authorization, ...headers },
      ...(body === undefined ? {} : { body }),
    });
    const { statusCode, body: text, headers: answered } = await lambda.http(event);
    return { status: statusCode, headers: answered, body: text ? JSON.parse(text) : undefined };
  }
  const put = (resource: { kind: string; name: string }) =>
    ask('PUT', `/v1/${resource.kind.toLowerCase()}s/${resource.name}`, resource, CREATE);

  async function enrol(site = 'milan') {
    const { body: joined } = await ask('POST', '/v1/join-tokens', { site });
    const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
    const { kty, crv, x } = await exportJWK(publicKey);
    const request = { joinToken: joined.token, name: 'edge', publicKey: { kty, crv, x }, version: '1' };
    const { agentId } = (await ask('POST', '/v1/agents/enrol', request)).body;
    const bearer = async () => `Bearer ${await signJwt(agentId, privateKey, clock)}`;
    return {
      agentId: agentId as string,
      connect: async (connectionId: string, name = 'Authorization') =>
        lambda.websocket(webSocketEvent('$connect', connectionId, { [name]: await bearer() })),
      report: async (snapshot: Partial<AgentReport['snapshot']> = {}) =>
        ask(
          'POST',
          '/v1/agent/report',
          {
            version: '1',
            uptimeSeconds: 1,
            backends: [],
            snapshot: { status: 'NONE', etag: null, generation: null, running: null, ...snapshot },
          },
          { authorization: await bearer() },
        ),
    };
  }

  /** Everything that the table's own stream has, as Lambda would be handed it. */
  async function streamed(): Promise<StreamRecord[]> {
    const { Table } = await client.send(new DescribeTableCommand({ TableName: table }));
    const StreamArn = Table?.LatestStreamArn as string;
    const { StreamDescription } = await streams.describeStream({ StreamArn });
    const records: StreamRecord[] = [];
    for (const { ShardId } of StreamDescription?.Shards ?? []) {
      const iterator = { StreamArn, ShardId, ShardIteratorType: 'TRIM_HORIZON' as const };
      let next = (await streams.getShardIterator(iterator)).ShardIterator;
      // An open shard never ends: a page without records is as far as it goes now.
      while (next !== undefined) {
        const page = await streams.getRecords({ ShardIterator: next });
        records.push(...((page.Records ?? []) as StreamRecord[]));
        next = page.Records?.length ? page.NextShardIterator : undefined;
      }
    }
    return records;
  }
  const outboxOf = (records: StreamRecord[]) =>
    records.filter((r) => r.eventName === 'INSERT' && r.dynamodb?.Keys?.pk?.S === 'OUTBOX');
  const site = (name = 'milan') => put({ kind: 'Site', name });
  const pbx = (name: string, sites: string[], port: number): Farm =>
    farm(name, sites, { listeners: [{ transport: 'udp', address: '10.0.0.1', port }] as never });

  test('HTTP: the whole API, by the event of an HTTP API', async () => {
    expect(await site()).toMatchObject({ status: 201, body: { revision: 1 } });
    const listed = await ask('GET', '/v1/sites');
    expect([listed.status, listed.body.items[0].spec.name]).toEqual([200, 'milan']);
    const encoded = httpEvent('PUT', '/v1/sites/rome', {
      headers: { authorization: `Bearer ${token}`, ...CREATE },
      body: { kind: 'Site', name: 'rome' },
      base64: true,
    });
    expect((await lambda.http(encoded)).statusCode).toBe(201);
    const query = httpEvent('GET', '/v1/sites', { headers: { authorization: `Bearer ${token}` }, query: 'limit=1' });
    expect(JSON.parse((await lambda.http(query)).body).items).toHaveLength(1);
    const refused = await ask('GET', '/v1/sites', undefined, { authorization: 'Bearer sft_wrong' });
    expect([refused.status, refused.headers?.['content-type']]).toEqual([401, 'application/problem+json']);
    expect((await ask('GET', '/v1/nothing')).status).toBe(404);
  });

  test('the first admin is known by the hash alone, and is not made again', async () => {
    expect(await store().apiToken(hashSecret(token))).toMatchObject({ name: 'first-admin', role: 'admin' });
  });

  test('$connect lets in who signs for an agent, in whatever case its header comes; $disconnect strikes it out', async () => {
    await site();
    const agent = await enrol();
    expect(await agent.connect('one')).toEqual({ statusCode: 200 });
    expect(await agent.connect('two', 'authorization')).toEqual({ statusCode: 200 });
    const refused = await lambda.websocket(webSocketEvent('$connect', 'three', { Authorization: 'Bearer a.b.c' }));
    expect(refused).toMatchObject({ statusCode: 401, body: expect.stringContaining('JWT') });
    expect(await lambda.websocket(webSocketEvent('$connect', 'four', {}))).toMatchObject({ statusCode: 401 });
    const there = async () => (await connections().at('milan', clock / 1000)).map((c) => c.connectionId).sort();
    expect(await there()).toEqual(['one', 'two']);
    expect((await ask('GET', '/v1/agents')).body.items[0].connected).toBe(true);
    await lambda.websocket(webSocketEvent('$disconnect', 'one'));
    await lambda.websocket(webSocketEvent('$disconnect', 'one'));
    expect(await there()).toEqual(['two']);
    expect(await lambda.websocket(webSocketEvent('$default', 'two'))).toEqual({ statusCode: 400 });
    clock += 131 * 60_000;
    expect(await there()).toEqual([]);
    // Nothing was posted from $connect.
    expect(gateway.posted).toEqual([]);
  });

  test('a commit goes out over the stream to the agents of its sites, once per record, and leaves the outbox', async () => {
    await site();
    await site('rome');
    const [a, b, c] = [await enrol(), await enrol(), await enrol('rome')];
    await a.connect('a');
    await b.connect('b');
    await c.connect('c');
    await put(pbx('pbx', ['milan'], 5060));
    const records = await streamed();
    expect(await lambda.stream({ Records: records })).toEqual({ batchItemFailures: [] });
    const hint = { type: 'snapshot', site: 'milan', generation: 3, jitterMs: 0 };
    expect(gateway.posted.sort()).toEqual([
      ['a', hint],
      ['b', hint],
    ]);
    expect(await store().outbox(10)).toEqual([]);
    // What left the outbox is in the stream as well, and is no news.
    const after = await streamed();
    expect(after.some((r) => r.eventName === 'REMOVE')).toBe(true);
    gateway.posted.length = 0;
    await lambda.stream({ Records: after.slice(records.length) });
    expect(gateway.posted).toEqual([]);
    // Delivered twice, or in another order: hinted again, and nothing else.
    await put(pbx('fax', ['rome'], 5062));
    const entries = outboxOf(await streamed());
    expect(await lambda.stream({ Records: [...entries].reverse() })).toEqual({ batchItemFailures: [] });
    expect(await lambda.stream({ Records: entries })).toEqual({ batchItemFailures: [] });
    expect(gateway.posted.filter(([id]) => id === 'c')).toHaveLength(2);
    expect(await store().outbox(10)).toEqual([]);
  });

  test('a connection that is gone is forgotten; one that API Gateway has no time for is tried again', async () => {
    await site();
    const [a, b, c] = [await enrol(), await enrol(), await enrol()];
    await a.connect('a');
    await b.connect('b');
    await c.connect('c');
    gateway.gone.add('a');
    gateway.throttled.set('b', 2);
    await put(pbx('pbx', ['milan'], 5060));
    expect(await lambda.stream({ Records: outboxOf(await streamed()) })).toEqual({ batchItemFailures: [] });
    expect(gateway.posted.map(([id]) => id).sort()).toEqual(['b', 'c']);
    expect((await connections().at('milan', clock / 1000)).map((x) => x.connectionId).sort()).toEqual(['b', 'c']);
    expect(await connections().get('a')).toBeUndefined();
  });

  test('where an agent cannot be reached the batch is tried again from that record on; the reconciler makes up for it', async () => {
    await site();
    await site('rome');
    const [a, b] = [await enrol(), await enrol('rome')];
    await a.connect('a');
    await b.connect('b');
    await put(pbx('pbx', ['milan'], 5060));
    await put(pbx('fax', ['rome'], 5062));
    await put(pbx('door', ['milan'], 5064));
    gateway.throttled.set('b', 1000);
    const entries = outboxOf(await streamed());
    const failing = entries.find((r) => r.dynamodb?.NewImage?.revision?.N === '4');
    expect(await lambda.stream({ Records: entries })).toEqual({
      batchItemFailures: [{ itemIdentifier: failing?.dynamodb?.SequenceNumber }],
    });
    // Those before it are done, it and those after it are not.
    expect((await store().outbox(10)).map((entry) => entry.revision)).toEqual([4, 5]);
    expect(gateway.posted.map(([id]) => id)).toEqual(['a']);
    gateway.throttled.clear();
    expect(await lambda.reconcile()).toMatchObject({ overdue: 2 });
    expect(gateway.posted.map(([id]) => id)).toEqual(['a', 'b', 'a']);
    expect(await store().outbox(10)).toEqual([]);
  });

  test('the reconciler hints again to agents that are behind, and to no others', async () => {
    await site();
    await put(pbx('pbx', ['milan'], 5060));
    const [current, behind, refusing, silent] = [await enrol(), await enrol(), await enrol(), await enrol()];
    const agents = { current, behind, refusing, silent };
    for (const [name, agent] of Object.entries(agents)) await agent.connect(name);
    const { etag, push, spreadMs } = (await silent.report()).body;
    expect([push, spreadMs]).toEqual(['wss://push.example.com/push', 20_000]);
    await current.report({ status: 'APPLIED', etag, generation: 2, running: etag });
    await behind.report({ status: 'APPLIED', etag: 'old', generation: 1, running: 'old' });
    await refusing.report({ status: 'FAILED', etag, generation: 2, running: 'old' });
    await lambda.stream({ Records: outboxOf(await streamed()) });
    gateway.posted.length = 0;
    expect(await lambda.reconcile()).toEqual({ overdue: 0, behind: 2, orphaned: 0 });
    expect(gateway.posted.map(([id]) => id).sort()).toEqual(['behind', 'silent']);
  });

  test('a revoked agent loses its connection at once; what revocation left open the reconciler ends', async () => {
    await site();
    const [agent, left] = [await enrol(), await enrol()];
    await agent.connect('a');
    await left.connect('b');
    expect((await ask('DELETE', `/v1/agents/${agent.agentId}`)).status).toBe(204);
    expect(gateway.closed).toEqual(['a']);
    expect((await agent.connect('again')).statusCode).toBe(401);
    await store().deleteAgent(left.agentId);
    expect(await lambda.reconcile()).toMatchObject({ orphaned: 1 });
    expect(gateway.closed).toEqual(['a', 'b']);
    expect(await connections().at('milan', clock / 1000)).toEqual([]);
  });
});
