import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { createAdaptorServer } from '@hono/node-server';
import { getConnInfo } from '@hono/node-server/conninfo';
import { type AdminToken, ensureAdminToken } from './auth/admin-token.ts';
import { authenticateAgent } from './auth/agent.ts';
import { AuthError } from './auth/auth-error.ts';
import { clientAddress } from './auth/client-address.ts';
import { askSts } from './auth/iam.ts';
import type { Rates } from './auth/limits.ts';
import { createOidc, type OidcOptions } from './auth/oidc.ts';
import { compose } from './compose.ts';
import { createHub } from './push/hub.ts';
import { createDrain } from './push/outbox.ts';
import { attachPush } from './push/upgrade.ts';
import type { IamJoin, Log } from './routes/deps.ts';
import { openDynamoStore } from './store/dynamo.ts';
import { createTable } from './store/dynamo-table.ts';
import { objectDirectory } from './store/object-directory.ts';
import { createRolloutTicker } from './store/rollouts.ts';
import { openSqliteStore } from './store/sqlite.ts';
import type { Store } from './store/store.ts';
import type { KeyWrapper } from './vault/key-wrapper.ts';
import { kmsKeys } from './vault/kms-keys.ts';
import { localKeys } from './vault/local-keys.ts';

export type StoreOptions =
  | { kind: 'sqlite' /** A path, or `:memory:`. */; file: string }
  | {
      kind: 'dynamodb';
      table: string /** Of DynamoDB Local; the table is then created. */;
      endpoint?: string;
      region?: string;
    };

export interface ControlPlaneOptions {
  /** Port 0: any that is free. */
  http: { host: string; port: number };
  store: StoreOptions;
  /** Holds the admin token and, without `kms`, the key that all Secrets are sealed with; made readable by its owner only. */
  dataDir: string;
  /** The key that Secrets and signing keys are sealed with stays in AWS KMS. `keyId`: an id, ARN or alias/NAME. */
  kms?: { keyId: string; region?: string /** Of something that speaks like KMS. */; endpoint?: string };
  /** Undefined: operators come with API tokens alone. */
  oidc?: Omit<OidcOptions, 'fetch'> | undefined;
  /** Undefined: agents come with join tokens alone. */
  iam?: Omit<IamJoin, 'ask'> | undefined;
  /** How much one may ask. Default: {@link DEFAULT_RATES}. */
  rates?: Rates | undefined;
  /** Reverse proxies in front, as addresses and CIDR blocks: what they say in X-Forwarded-For is believed. */
  trustedProxies?: readonly string[] | undefined;
  /** pino. */
  logger: Log;
}

export interface ControlPlane extends AdminToken {
  /** `http://127.0.0.1:8080` */
  readonly url: string;
  /** The port really bound. */
  readonly port: number;
  /** Stops listening, ends push connections, closes the store. Safe to call twice. */
  close(): Promise<void>;
}

const SWEEP_MS = 86_400_000;

/**
 * The control plane as one process. Rejects with a one-line error that names what is wrong (a taken port, a store that
 * cannot be opened), and then leaves nothing running.
 */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { http, dataDir, logger: log } = options;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const keys = options.kms === undefined ? await localKeys(join(dataDir, 'secret.key')) : await awsKeys(options.kms);
  const store = await openStore(options.store);
  const now = Date.now;
  const hub = createHub(undefined, (agentId) => checks.lost(agentId));
  const drain = createDrain({ outbox: store, hint: hub.hint, log });
  const from = clientAddress(options.trustedProxies ?? []);
  const { app, archive, current, checks, exchanges, limits, signer, rollouts } = compose({
    store,
    objects: objectDirectory(join(dataDir, 'snapshots')),
    keys,
    hub: {
      ...hub,
      connected: ({ agentId }) => hub.connected(agentId),
      disconnect: ({ agentId }) => hub.disconnect(agentId),
    },
    onCommit: drain.wake,
    changed: hub.scheduleChanged,
    reported: () => ticker.reported(),
    oidc: options.oidc && createOidc(options.oidc),
    iam: options.iam && { ...options.iam, ask: askSts() },
    listeningSince: now(),
    rates: options.rates,
    // Without a socket behind it: nothing but tests.
    addressOf: (c) => from(getConnInfo(c).remote.address, c.req.header('x-forwarded-for')),
    now,
    randomBytes,
    log,
  });
  const ticker = createRolloutTicker({ ...rollouts, now, log });
  const server = createAdaptorServer({ fetch: app.fetch }) as Server;
  attachPush(server, {
    hub,
    exchanges,
    log,
    authenticate: async ({ headers, socket }) => {
      const forwarded = [headers['x-forwarded-for'] ?? []].flat().join();
      const agent = await authenticateAgent(store, headers.authorization, now).catch((error: unknown) => {
        if (error instanceof AuthError) limits.address(from(socket.remoteAddress, forwarded));
        throw error;
      });
      limits.agent(agent.agentId);
      return agent;
    },
    generation: async (site) => (await current.snapshots(site)).next.generation,
  });

  const sweep = () =>
    archive.sweep().catch((error: unknown) => log.error({ err: error }, 'old snapshots cannot be removed'));
  const sweeper = setInterval(sweep, SWEEP_MS).unref();

  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= (async () => {
      const stopped = stop(server);
      clearInterval(sweeper);
      checks.close();
      await ticker.close();
      await hub.close();
      server.closeAllConnections();
      await stopped;
      await drain.close();
      await store.close();
    })();
    return closing;
  };

  try {
    // A key that is not the store's opens nothing that is in it: said now, not at the first request.
    await signer.sign('snapshot', '');
    await listen(server, http);
    const token = await ensureAdminToken({ store, dataDir, now, randomBytes });
    // Hints of writes that were committed and not sent before the last end.
    drain.wake();
    await sweep();
    const { port } = server.address() as AddressInfo;
    const url = `http://${hostInUrl(http.host)}:${port}`;
    log.info({ url, store: options.store.kind }, 'the control plane is listening');
    return { url, port, close, ...token };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Who has no key in KMS need not load its client. */
async function awsKeys({ keyId, region, endpoint }: NonNullable<ControlPlaneOptions['kms']>): Promise<KeyWrapper> {
  const { KMS } = await import('@aws-sdk/client-kms');
  const client = new KMS({
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
  });
  return kmsKeys(client, keyId);
}

async function openStore(options: StoreOptions): Promise<Store> {
  if (options.kind === 'sqlite') {
    if (options.file !== ':memory:') await mkdir(dirname(options.file), { recursive: true, mode: 0o700 });
    return openSqliteStore(options.file);
  }
  const { table, endpoint, region } = options;
  const client = new DynamoDBClient({
    ...(region === undefined ? {} : { region }),
    // DynamoDB Local takes any credentials, yet wants some.
    ...(endpoint === undefined
      ? {}
      : { endpoint, region: region ?? 'local', credentials: { accessKeyId: 'local', secretAccessKey: 'local' } }),
  });
  const store = openDynamoStore(client, table);
  try {
    if (endpoint !== undefined) await createTable(client, table);
    await store.revision();
    return store;
  } catch (error) {
    await store.close();
    const where = `${table}${endpoint === undefined ? '' : ` at ${endpoint}`}`;
    throw new Error(`cannot open the DynamoDB table ${where}: ${(error as Error).message}`, { cause: error });
  }
}

const hostInUrl = (host: string) => (host.includes(':') ? `[${host}]` : host);

const REASONS: Record<string, string> = {
  EADDRINUSE: 'the port is taken',
  EADDRNOTAVAIL: 'this machine does not have the address',
  EACCES: 'not permitted',
  ENOTFOUND: 'no such host',
};

function listen(server: Server, { host, port }: ControlPlaneOptions['http']): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason = REASONS[error.code ?? ''] ?? error.message;
      reject(
        new Error(`cannot listen on HTTP ${hostInUrl(host)}:${port}: ${reason} (${error.code})`, { cause: error }),
      );
    });
    // A fleet that comes back at once waits in the queue of the kernel (net.core.somaxconn), which is better than trying again.
    server.listen({ host, port, backlog: 4096 }, resolve);
  });
}

/** Resolves when the server no longer listens and its connections have ended; at once where it never listened. */
const stop = (server: Server) => new Promise<void>((resolve) => server.close(() => resolve()));
