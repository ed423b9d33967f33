import { randomBytes } from 'node:crypto';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { KMS } from '@aws-sdk/client-kms';
import { logOptions } from '@sipfleet/contract';
import { pino } from 'pino';
import { kmsKeys } from '../vault/kms-keys.ts';
import { accessOf } from './access.ts';
import { apiGateway } from './gateway.ts';
import { type Environment, type Handlers, lambdaHandlers } from './handlers.ts';

/** The functions that Lambda calls. Each keeps what it made for the next call; what fails at the start fails the call, and is tried again. */
let handlers: Promise<Handlers> | undefined;

function ready(): Promise<Handlers> {
  handlers ??= lambdaHandlers({
    client: new DynamoDBClient({}),
    environment: environment(process.env),
    keys: kmsKeys(new KMS({}), required(process.env, 'SIPFLEET_KMS_KEY')),
    gateway: apiGateway(required(process.env, 'SIPFLEET_PUSH_ENDPOINT')),
    access: accessOf(process.env),
    now: Date.now,
    randomBytes,
    log: pino({ level: process.env.SIPFLEET_LOG_LEVEL ?? 'info', ...logOptions() }),
  });
  handlers.catch(() => {
    handlers = undefined;
  });
  return handlers;
}

function environment(env: NodeJS.ProcessEnv): Environment {
  return {
    table: required(env, 'SIPFLEET_TABLE'),
    pushUrl: required(env, 'SIPFLEET_PUSH_URL'),
    spreadMs: Number(env.SIPFLEET_SPREAD_MS ?? 20_000),
    adminTokenHash: env.SIPFLEET_ADMIN_TOKEN_HASH,
  };
}

function required(env: NodeJS.ProcessEnv, name: string): string {
  const value = env[name];
  if (value === undefined || value === '') throw new Error(`the environment variable ${name} is missing`);
  return value;
}

/** API Gateway HTTP API, payload format 2.0. */
export const http: Handlers['http'] = async (event, context) => (await ready()).http(event, context);
/** API Gateway WebSocket API: `$connect`, `$disconnect`, `$default`. */
export const websocket: Handlers['websocket'] = async (event) => (await ready()).websocket(event);
/** The table's DynamoDB stream. */
export const stream: Handlers['stream'] = async (event) => (await ready()).stream(event);
/** An EventBridge schedule. */
export const reconcile: Handlers['reconcile'] = async () => (await ready()).reconcile();
