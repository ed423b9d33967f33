import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { type APIGatewayProxyResult, getConnInfo, handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda';
import { firstAdmin as firstAdminToken } from '../auth/admin-token.ts';
import { authenticateAgent } from '../auth/agent.ts';
import { compose } from '../compose.ts';
import type { Gateway } from '../push/fan-out.ts';
import { createPublisher } from '../push/publisher.ts';
import type { AppDeps, Log } from '../routes/deps.ts';
import { connectionsOf } from '../store/connections.ts';
import { openDynamoStore } from '../store/dynamo.ts';
import { tableOf } from '../store/dynamo-table.ts';
import { advanceRollouts } from '../store/rollouts.ts';
import type { Store } from '../store/store.ts';
import type { KeyWrapper } from '../vault/key-wrapper.ts';
import { gatewayHub } from './hub.ts';
import { createReconciler, type Reconciled } from './reconciler.ts';
import { createStreamHandler, type StreamEvent, type StreamResult } from './stream.ts';
import { createWebSocketHandler, type WebSocketEvent } from './websocket.ts';

/** What the deployment says; infra/ sets it. */
export interface Environment {
  table: string;
  /** `wss://…`: where agents open their push sockets. */
  pushUrl: string;
  /** What the return of all agents is to be spread over, in milliseconds: API Gateway takes 500 new connections a second. */
  spreadMs: number;
  /** SHA-256, as hex, of the first admin's token, so that the token itself is in no template. */
  adminTokenHash: string | undefined;
}

export interface LambdaDeps {
  client: DynamoDBClient;
  environment: Environment;
  keys: KeyWrapper;
  gateway: Gateway;
  /** Who is let in beside API tokens and join tokens. */
  access?: Pick<AppDeps, 'oidc' | 'iam'>;
  now: () => number;
  randomBytes: (length: number) => Uint8Array;
  log: Log;
}

export interface Handlers {
  http(event: LambdaEvent, context?: LambdaContext): Promise<APIGatewayProxyResult>;
  websocket(event: WebSocketEvent): Promise<{ statusCode: number; body?: string }>;
  stream(event: StreamEvent): Promise<StreamResult>;
  reconcile(): Promise<Reconciled>;
}

/** The control plane on Lambda: the same app on the same table, with API Gateway's connections. */
export async function lambdaHandlers(deps: LambdaDeps): Promise<Handlers> {
  const { client, environment, keys, gateway, now, randomBytes, log } = deps;
  const store = openDynamoStore(client, environment.table);
  const connections = connectionsOf(tableOf(client, environment.table));
  await firstAdmin(store, environment, now);
  const { app, current, rollouts } = compose({
    store,
    keys,
    hub: gatewayHub({ connections, gateway, now, ...environment }),
    // The table's stream tells of commits, and the answers to reports of schedules: no function lives long enough to.
    onCommit: () => {},
    // The reconciler looks, once a minute.
    reported: () => {},
    // A function's memory is its own: what API Gateway throttles comes before.
    addressOf: (c) => getConnInfo(c).remote.address,
    oidc: deps.access?.oidc,
    iam: deps.access?.iam,
    now,
    randomBytes,
    log,
  });
  const publisher = createPublisher({ connections, outbox: store, gateway, now, log });
  const answer = handle(app);
  return {
    http: async (event, context) => (await answer(event, context)) as APIGatewayProxyResult,
    websocket: createWebSocketHandler({
      connections,
      authenticate: (authorization) => authenticateAgent(store, authorization, now),
      now,
      log,
    }),
    stream: createStreamHandler({ publisher, log }),
    reconcile: createReconciler({
      store,
      sites: async () => [...(await current.configuration()).sites.keys()],
      wanted: (agents) => current.snapshotsFor(agents),
      advance: () => advanceRollouts(rollouts, now()),
      connections,
      publisher,
      gateway,
      now,
      log,
    }),
  };
}

async function firstAdmin(store: Store, { adminTokenHash: hash }: Environment, now: () => number): Promise<void> {
  if (hash === undefined || hash === '' || (await store.apiToken(hash)) !== undefined) return;
  await store.putApiToken({ hash, ...firstAdminToken('first-admin', now()) });
}
