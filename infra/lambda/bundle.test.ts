import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { httpEvent } from '../../control-plane/src/lambda/events.fixture.ts';
import { type DynamoLocal, startDynamoLocal } from '../../control-plane/src/store/dynamo-local.fixture.ts';
import { createTable } from '../../control-plane/src/store/dynamo-table.ts';
import { bundleLambda } from './bundle.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const hasJava = spawnSync('java', ['-version']).status === 0;

/** As Lambda does it: a process of its own, the function by its name, an event in, JSON out. */
const CALL = `
const { main, name, event } = JSON.parse(process.env.CALL);
const handlers = await import(main);
console.log('\\n' + JSON.stringify({ names: Object.keys(handlers).sort(), answer: await handlers[name](event) }));
`;

describe.skipIf(!hasJava && !process.env.CI)('the bundle that Lambda runs', () => {
  let directory: string;
  let local: DynamoLocal;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sipfleet-bundle-'));
    await Promise.all([
      bundleLambda(directory),
      (async () => {
        local = await startDynamoLocal();
      })(),
    ]);
  });
  afterAll(async () => {
    await local.stop();
    await rm(directory, { recursive: true });
  });

  async function call(name: string, event: unknown, more: Record<string, string> = {}) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', CALL], {
      // Nothing of this project is within reach: what is missing in the bundle is missing.
      cwd: directory,
      env: {
        CALL: JSON.stringify({ main: join(directory, 'main.mjs'), name, event }),
        AWS_REGION: 'local',
        AWS_ACCESS_KEY_ID: 'local',
        AWS_SECRET_ACCESS_KEY: 'local',
        AWS_ENDPOINT_URL_DYNAMODB: local.endpoint,
        SIPFLEET_TABLE: 'bundle',
        SIPFLEET_KMS_KEY: 'alias/sipfleet',
        SIPFLEET_PUSH_URL: 'wss://push.example.com/push',
        SIPFLEET_PUSH_ENDPOINT: 'https://push.example.com/push',
        ...more,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk) => (out += chunk));
    child.stderr.on('data', (chunk) => (err += chunk));
    const code = await new Promise((resolve) => child.once('close', resolve));
    // Log lines may stand before it and behind.
    const told = out.split('\n').find((line) => line.startsWith('{"names"'));
    if (code === 0 && told === undefined) throw new Error(`${name} said nothing: ${out}${err}`);
    return { code, err, ...(code === 0 ? JSON.parse(told as string) : {}) };
  }

  test('answers an API request, knows an agent from a stranger, and has nothing to reconcile', async () => {
    const client = local.connect();
    await createTable(client, 'bundle');
    client.destroy();
    const health = await call('http', httpEvent('GET', '/healthz'));
    expect(health).toMatchObject({ code: 0, answer: { statusCode: 200, body: '{"status":"ok"}' } });
    expect(health.names).toEqual(['http', 'reconcile', 'stream', 'websocket']);
    const openapi = await call('http', httpEvent('GET', '/v1/openapi.json'));
    expect(JSON.parse(openapi.answer.body).openapi).toBe('3.1.0');
    const stranger = { requestContext: { routeKey: '$connect', connectionId: 'a' }, headers: {} };
    expect(await call('websocket', stranger)).toMatchObject({ code: 0, answer: { statusCode: 401 } });
    expect(await call('stream', { Records: [] })).toMatchObject({ code: 0, answer: { batchItemFailures: [] } });
    expect(await call('reconcile', {})).toMatchObject({ code: 0, answer: { overdue: 0, behind: 0, orphaned: 0 } });
  });

  test('a deployment that lacks a variable says which', async () => {
    const { code, err } = await call('http', httpEvent('GET', '/healthz'), { SIPFLEET_TABLE: '' });
    expect([code, err]).toEqual([1, expect.stringContaining('the environment variable SIPFLEET_TABLE is missing')]);
  });

  test('stays small enough to start quickly, and carries the licences of what is in it', async () => {
    expect((await stat(join(directory, 'main.mjs'))).size).toBeLessThan(5_000_000);
    expect(await readFile(join(directory, 'main.mjs.LEGAL.txt'), 'utf8')).not.toBe('');
  });
});
