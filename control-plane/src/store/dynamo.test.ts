import type { AgentReport } from '@sipfleet/contract';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { putNow } from './change-set.fixture.ts';
import { changesContract } from './changes.suite.ts';
import { storeContract } from './contract.suite.ts';
import { openDynamoStore } from './dynamo.ts';
import { type DynamoLocal, noDynamoLocal, startDynamoLocal } from './dynamo-local.fixture.ts';
import { createTable } from './dynamo-table.ts';
import { rolloutsContract } from './rollouts.suite.ts';

// The JVM answers when it gets to it on a busy machine: no test here depends on speed.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

describe.skipIf(noDynamoLocal)('DynamoDB', () => {
  let local: DynamoLocal;
  const open = () => local.open();

  beforeAll(async () => {
    local = await startDynamoLocal();
  });
  afterAll(() => local.stop());

  storeContract(open);
  changesContract(open);
  rolloutsContract(open);

  test('creating a table that exists changes nothing', async () => {
    const client = local.connect();
    await createTable(client, 'again');
    const store = openDynamoStore(client, 'again');
    await store.putApiToken({ hash: 'h', name: 'n', role: 'viewer', sites: null, createdAt: '2099', expiresAt: null });
    await createTable(client, 'again');
    expect((await store.apiToken('h'))?.name).toBe('n');
    await store.close();
  });

  test('a report as large as the contract allows fits into an item', async () => {
    const store = await open();
    const at = '2099-01-02T03:04:05.000Z';
    await putNow(store, { kind: 'Site', name: 'milan' });
    await store.putJoinToken({ hash: 'j', site: 'milan', createdAt: at, expiresAt: '2100-01-01T00:00:00.000Z' });
    await store.enrol({ tokenHash: 'j', agentId: 'agt_1', name: 'a', publicKey: 'x', sealKey: null, version: '1', at });
    const report: AgentReport = {
      version: '1',
      uptimeSeconds: 1,
      snapshot: { status: 'NONE', etag: null, generation: null, running: null },
      backends: Array.from({ length: 20_000 }, (_, i) => ({
        farm: `farm-${i >> 8}`,
        backend: `pbx-${i & 255}`,
        state: 'down',
        since: new Date(Date.parse(at) + i * 7919).toISOString(),
        reason: Buffer.from(String(Math.sin(i)).repeat(9))
          .toString('base64')
          .slice(0, 200),
      })),
    };
    expect(await store.recordReport({ agentId: 'agt_1', site: 'milan' }, report, at)).toBe(true);
    const kept = (await store.agent('agt_1'))?.report;
    expect(kept?.backends.length).toBe(20_000);
    expect(kept?.backends[19_999]).toMatchObject({ farm: 'farm-78', backend: 'pbx-31', state: 'down' });
    await store.close();
  });
});
