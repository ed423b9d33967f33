import { flushCompileCache } from 'node:module';
import { DatabaseSync, StatementSync } from 'node:sqlite';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { type StoreOptions, startControlPlane } from '../../control-plane/src/server.ts';

/**
 * A control plane that kills itself (SIGKILL) at its Nth step with the store from when it is told on: before each statement of SQLite,
 * before each request to DynamoDB and after its answer. Run as a child process: STORE as JSON, DATADIR. Says `{ url }`, takes `{ dieAt }`.
 */

let left = Number.POSITIVE_INFINITY;

function step(): void {
  if (--left <= 0) process.kill(process.pid, 'SIGKILL');
}

/** Calls `step` before a method of all instances. */
function dieIn<T extends object>(prototype: T, method: keyof T): void {
  const original = prototype[method] as (...values: unknown[]) => unknown;
  prototype[method] = function (this: T, ...values: unknown[]) {
    step();
    return original.apply(this, values);
  } as T[keyof T];
}
dieIn(DatabaseSync.prototype, 'exec');
for (const method of ['get', 'all', 'run'] as const) dieIn(StatementSync.prototype, method);

const send = DynamoDBClient.prototype.send as (...values: unknown[]) => Promise<unknown>;
DynamoDBClient.prototype.send = async function (this: DynamoDBClient, ...values: unknown[]) {
  step();
  const answer = await send.apply(this, values);
  step();
  return answer;
} as typeof DynamoDBClient.prototype.send;

const [store = '', dataDir = ''] = process.argv.slice(2);
const log = { debug() {}, info() {}, error() {} };
const { url } = await startControlPlane({
  http: { host: '127.0.0.1', port: 0 },
  store: JSON.parse(store) as StoreOptions,
  dataDir,
  logger: log,
});
process.on('message', ({ dieAt }: { dieAt: number }) => {
  left = dieAt;
  process.send?.({ armed: true });
});
// Who started it has gone: nobody is left to end it.
process.on('disconnect', () => process.exit());
// A process that is killed writes nothing down by itself.
flushCompileCache();
process.send?.({ url });
