import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { AttributeValue, ConsumedCapacity, TransactWriteItemsCommandInput } from '@aws-sdk/client-dynamodb';
import { type AgentReport, Farm, Site } from '@sipfleet/contract';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { AT, putNow, putOf, setOf } from './change-set.fixture.ts';
import { type DynamoLocal, noDynamoLocal, startDynamoLocal } from './dynamo-local.fixture.ts';
import type { Store } from './store.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** What an operator may have: 10 sites, 100 farms of 8 PBXs, 100 agents at each site. */
const site = (i: number) => `site-${String(i).padStart(4, '0')}`;
const farm = (i: number, sites: string[], weight = 1) =>
  Farm.parse({
    kind: 'Farm',
    name: `farm-${String(i).padStart(4, '0')}`,
    sites,
    listeners: [
      { transport: 'udp', port: 5060 + i },
      { transport: 'tcp', port: 5060 + i },
    ],
    backends: Array.from({ length: 8 }, (_, b) => ({ name: `pbx-${b}`, address: `10.0.${i % 250}.${b + 1}`, weight })),
    checks: [{ name: 'ping', type: 'options' as const, interval: '5s' }],
  });
/** Of farm(1). */
const NAME = 'farm-0001';
const LATER = '2099-01-03T03:04:05.000Z';
const report: AgentReport = {
  version: '1.0.0',
  uptimeSeconds: 86_400,
  snapshot: { status: 'APPLIED', etag: 'e'.repeat(64), generation: 7, running: 'e'.repeat(64) },
  backends: Array.from({ length: 80 }, (_, i) => ({
    farm: `farm-${String(i >> 3).padStart(4, '0')}`,
    backend: `pbx-${i & 7}`,
    state: 'up',
    since: new Date(Date.parse(AT) + i * 7_919_003).toISOString(),
    reason: `${i} answers in a row`,
  })),
};

interface Measured {
  requests: number;
  read: number;
  write: number;
}

/** As DynamoDB counts an item: names and values in UTF-8, numbers two digits a byte and one more. */
function bytesOf(item: Record<string, AttributeValue>): number {
  let bytes = 0;
  for (const [name, { S, N, B }] of Object.entries(item))
    bytes +=
      name.length + (S === undefined ? (B?.length ?? Math.ceil((N?.length ?? 0) / 2) + 1) : Buffer.byteLength(S));
  return bytes;
}

/** By the price list: each item of a transaction in whole kilobytes, twice. DynamoDB Local counts transactions otherwise. */
function transactionUnits({ TransactItems = [] }: TransactWriteItemsCommandInput): number {
  const sizes = TransactItems.map(({ Put, Update, Delete, ConditionCheck }) => {
    if (Put) return bytesOf(Put.Item ?? {});
    const { Key = {} } = Update ?? Delete ?? ConditionCheck ?? {};
    return bytesOf({ ...Key, ...Update?.ExpressionAttributeValues });
  });
  return sizes.reduce((sum, bytes) => sum + 2 * Math.ceil(bytes / 1024), 0);
}

/** Counts what DynamoDB says that each request consumed; of transactions what the price list says. */
async function metered(local: DynamoLocal) {
  const used: Measured = { requests: 0, read: 0, write: 0 };
  const store = await local.open((client) => {
    client.middlewareStack.add(
      (next, context) => async (args) => {
        const result = await next({ ...args, input: { ...args.input, ReturnConsumedCapacity: 'TOTAL' } as never });
        const { ConsumedCapacity } = result.output as { ConsumedCapacity?: ConsumedCapacity | ConsumedCapacity[] };
        const command = String(context.commandName);
        used.requests++;
        if (command.startsWith('TransactWrite')) used.write += transactionUnits(args.input as never);
        else
          for (const { CapacityUnits = 0 } of [ConsumedCapacity ?? []].flat())
            used[/^(Put|Update|Delete)/.test(command) ? 'write' : 'read'] += CapacityUnits;
        return result;
      },
      { step: 'initialize', name: 'meter' },
    );
    return client;
  });
  async function measure(work: () => Promise<unknown>): Promise<Measured> {
    Object.assign(used, { requests: 0, read: 0, write: 0 });
    await work();
    return { ...used };
  }
  return { store, measure };
}

/** As the table of docs/data-model.md has it. */
type Row = [operation: string, work: (store: Store) => Promise<unknown>];

describe.skipIf(noDynamoLocal)('what operations cost', () => {
  let local: DynamoLocal;
  beforeAll(async () => {
    local = await startDynamoLocal();
  });
  afterAll(() => local.stop());

  test('is what docs/data-model.md says', async () => {
    const { store, measure } = await metered(local);
    const sites = Array.from({ length: 10 }, (_, i) => site(i));
    for (let first = 0; first < 100; first += 25) {
      const farms = Array.from({ length: 25 }, (_, i) => putOf(farm(first + i, [site((first + i) % 10)]), null));
      await store.write(setOf(await store.revision(), farms));
    }
    await store.write(
      setOf(
        await store.revision(),
        sites.map((name) => putOf(Site.parse({ kind: 'Site', name }), null)),
      ),
    );
    for (let i = 0; i < 100; i++) {
      await store.putJoinToken({ hash: `join-${i}`, site: site(0), createdAt: AT, expiresAt: LATER });
      const agentId = `agt_${String(i).padStart(20, '0')}`;
      const identity = {
        agentId,
        name: `edge-${i}`,
        publicKey: 'x'.repeat(43),
        sealKey: 'y'.repeat(43),
        version: '1.0.0',
      };
      if (i < 99) {
        await store.enrol({ tokenHash: `join-${i}`, ...identity, at: AT });
        await store.recordReport({ agentId, site: site(0) }, report, AT);
      }
    }
    const agent = { agentId: `agt_${'0'.repeat(20)}`, site: site(0) };
    const last = {
      agentId: `agt_${'9'.repeat(20)}`,
      name: 'edge-99',
      publicKey: 'x'.repeat(43),
      sealKey: 'y'.repeat(43),
    };
    const everywhere = Array.from({ length: 500 }, (_, i) => site(i));
    const event = { id: 'e', at: AT, actor: 'a', source: 's', action: 'x.y', revision: null, changes: [], details: {} };
    const snapshot = gzipSync(JSON.stringify(Array.from({ length: 10 }, (_, i) => farm(i * 10, [site(0)]))));
    const record = { key: 'k'.repeat(64), request: 'r'.repeat(64), answer: '{"revision":1}', expiresAt: LATER };

    const rows: Row[] = [
      ['The revision: has anything changed?', (s) => s.revision()],
      ['The whole configuration: 10 sites, 100 farms', (s) => s.configuration()],
      ['One farm', (s) => s.get('Farm', NAME)],
      ['A page of 100 farms', (s) => s.list('Farm', { limit: 100 })],
      ['A farm changes', (s) => putNow(s, farm(1, [site(1)], 2))],
      ['The same, with an Idempotency-Key', (s) => putNow(s, farm(1, [site(1)], 3), { idempotency: record })],
      ['A farm of 500 sites is made', (s) => putNow(s, farm(200, everywhere))],
      [
        '31 farms change in one revision',
        async (s) => {
          const found = (await s.list('Farm', { limit: 31 })).items;
          const writes = found.map(({ spec, revision }, i) => putOf(farm(i, (spec as Farm).sites, 9), revision));
          return s.write(setOf(await s.revision(), writes));
        },
      ],
      ['A write that comes too late', (s) => s.write(setOf(0, [putOf(farm(1, [site(1)]), 1)]))],
      ['A page of 20 versions of a farm', (s) => s.history('Farm', NAME, { limit: 20 })],
      ['A page of 100 entries of the audit log', (s) => s.audit({ limit: 100 })],
      ['An entry of the audit log alone', (s) => s.appendAudit(event)],
      ['The outbox: what is pending', (s) => s.outbox(1)],
      ['A hint is out', (s) => s.settle(1)],
      [
        'A snapshot of 10 farms is kept',
        (s) => s.putSnapshot({ etag: 'e'.repeat(64), site: site(0), generation: 1, body: snapshot, expiresAt: LATER }),
      ],
      ['An agent joins', (s) => s.enrol({ tokenHash: 'join-99', ...last, version: '1.0.0', at: AT })],
      ['Who is this agent?', (s) => s.identity(agent.agentId)],
      ['A report of 80 backends', (s) => s.recordReport(agent, report, AT)],
      ['The reports of 100 agents of a site', (s) => s.agentsAt(site(0))],
      ['An operator’s token', (s) => s.apiToken('h'.repeat(64))],
    ];
    const table: string[] = [];
    for (const [operation, work] of rows) {
      const { requests, read, write } = await measure(() => work(store));
      table.push(`| ${operation} | ${requests} | ${read} | ${write} |`);
    }
    await store.close();
    const text = readFileSync(join(import.meta.dirname, '..', '..', '..', 'docs', 'data-model.md'), 'utf8');
    const written = text
      .split('\n')
      .filter((line) => /\| *[\d.]+ *\| *[\d.]+ *\| *[\d.]+ *\|$/.test(line))
      .map((line) => line.replaceAll(/ +/g, ' '));
    expect(table).toEqual(written);
  });
});
