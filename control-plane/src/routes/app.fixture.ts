import { randomBytes } from 'node:crypto';
import { type Resource, type RunCheck, Site } from '@sipfleet/contract';
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { Problem } from '../api.ts';
import { createApp } from '../app.ts';
import { createLimits, type Rates } from '../auth/limits.ts';
import { hashSecret, newSecret } from '../auth/secret.ts';
import { VerifiedTokens } from '../auth/verified-tokens.ts';
import { farm } from '../domain/configuration.fixture.ts';
import type { Role } from '../domain/identity.ts';
import { createArchive } from '../store/archive.ts';
import { type CheckPlans, createCheckPlans } from '../store/check-plans.ts';
import { createCommit } from '../store/commit.ts';
import { createCurrent } from '../store/current.ts';
import { advanceRollouts, rolloutCommands } from '../store/rollouts.ts';
import { openSqliteStore } from '../store/sqlite.ts';
import type { Store } from '../store/store.ts';
import { ControlPlaneMetrics } from '../telemetry/metrics.ts';
import { memoryKeys } from '../vault/keys.fixture.ts';
import { createSigner } from '../vault/signer.ts';
import { createVault } from '../vault/vault.ts';
import { createExchanges } from './agent-exchange.ts';
import type { AppDeps } from './deps.ts';
import { fleetSource } from './metrics.ts';
import type { App } from './route.ts';

export interface Asked {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: what an answer holds is what each test asserts
  body: any;
}

export interface TestApp {
  app: App;
  exchanges: ReturnType<typeof createExchanges>;
  store: Store;
  checks: CheckPlans;
  /** Everything that was logged, as JSON lines. */
  logged: string[];
  /** A look at the rollout under way, as the ticker has it. */
  look(): Promise<void>;
  /** What the hub was told. */
  hub: {
    connectedIds: Set<string>;
    disconnected: string[];
    runs: (Omit<RunCheck, 'type'> & { agentId: string })[];
    rescheduled: string[];
  };
  /** Where requests come from; may be moved. */
  address: { from: string };
  /** Milliseconds since the epoch; may be moved. */
  clock: { now: number };
  token(role: Role, sites?: readonly string[]): Promise<string>;
  /** Asks with a token of the role, `null`: without, or with any other token as it is. */
  ask(method: string, path: string, options?: AskOptions): Promise<Asked>;
  put(resource: Resource, headers?: Record<string, string>): Promise<Asked>;
  /** `sealKey`: the agent's X25519 JWK. */
  enrol(site?: string, sealKey?: object): Promise<{ agentId: string; number: number; jwt: () => Promise<string> }>;
}

export interface AskOptions {
  as?: Role | null | { bearer: string };
  body?: unknown;
  headers?: Record<string, string>;
}

export const CREATE = { 'if-none-match': '*' };
export const match = (revision: number) => ({ 'if-match': `"${revision}"` });
export const problemOf = (asked: Asked) => asked.body as Problem;
export const milan = Site.parse({ kind: 'Site', name: 'milan' });
export { farm };

/** For tests that are about something else, and whose clock stands still. */
const NO_LIMITS: Rates = { agent: undefined, operator: undefined, address: undefined };

/** The whole app on an empty store in memory. */
export function testApp({
  oidc,
  iam,
  rates = NO_LIMITS,
}: Partial<Pick<AppDeps, 'oidc' | 'iam'>> & { rates?: Rates } = {}): TestApp {
  const store = openSqliteStore(':memory:');
  const current = createCurrent(store);
  const clock = { now: Date.now() };
  const address = { from: '192.0.2.1' };
  const now = () => clock.now;
  const logged: string[] = [];
  const line = (fields: object, message: string) => logged.push(JSON.stringify({ ...fields, message }));
  const log = { debug: line, info: line, error: line };
  const hub: TestApp['hub'] = { connectedIds: new Set(), disconnected: [], runs: [], rescheduled: [] };
  const changed = (sites: readonly string[]) => hub.rescheduled.push(...sites);
  const checks = createCheckPlans({ store, current, now, changed, log });
  const rolling = { store, current, onCommit: () => {} };
  const keys = memoryKeys();
  const secrets = createVault(keys);
  const deps: AppDeps = {
    store,
    current,
    commit: createCommit({ store, current, secrets, now, randomBytes, onCommit: () => {} }),
    secrets,
    signer: createSigner({ store, keys, now }),
    archive: createArchive({ store, now }),
    now,
    randomBytes,
    checks,
    tokens: new VerifiedTokens(),
    rollouts: { reported: () => {}, ...rolloutCommands(rolling, now) },
    hub: {
      connected: ({ agentId }) => hub.connectedIds.has(agentId),
      reach: () => ({ spreadMs: 0 }),
      disconnect: ({ agentId }) => void hub.disconnected.push(agentId),
      runCheck: (agentId, check) => {
        if (hub.connectedIds.has(agentId)) hub.runs.push({ agentId, ...check });
        return hub.connectedIds.has(agentId);
      },
    },
    oidc,
    iam,
    limits: createLimits(rates, now),
    addressOf: () => address.from,
    log,
  };
  const metrics = new ControlPlaneMetrics(fleetSource(deps), '0.1.0');
  const [app, exchanges] = [createApp(deps, metrics), createExchanges(deps, metrics)];

  async function token(role: Role, sites: readonly string[] | null = null): Promise<string> {
    const secret = newSecret('sft_', randomBytes);
    const always = { createdAt: new Date().toISOString(), expiresAt: null };
    await store.putApiToken({ hash: hashSecret(secret), name: `a-${role}`, role, sites, ...always });
    return secret;
  }

  async function ask(method: string, path: string, { as = 'admin', body, headers = {} }: AskOptions = {}) {
    const bearer = as === null ? undefined : typeof as === 'string' ? await token(as) : as.bearer;
    const response = await app.request(path, {
      method,
      headers: {
        ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) };
  }

  const put = (resource: Resource, headers: Record<string, string> = CREATE) =>
    ask('PUT', `/v1/${resource.kind.toLowerCase()}s/${resource.name}`, { body: resource, headers });

  async function enrol(site = 'milan', sealKey?: object) {
    const joined = await ask('POST', '/v1/join-tokens', { body: { site } });
    const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
    const { kty, crv, x } = await exportJWK(publicKey);
    const body = {
      joinToken: joined.body.token,
      name: 'edge-1',
      publicKey: { kty, crv, x },
      version: '1.0.0',
      ...(sealKey && { sealKey }),
    };
    const { agentId, number } = (await ask('POST', '/v1/agents/enrol', { as: null, body })).body;
    return { agentId, number, jwt: () => signJwt(agentId, privateKey, clock.now) };
  }

  const look = () => advanceRollouts(rolling, clock.now);
  return { app, exchanges, store, look, checks, address, logged, hub, clock, token, ask, put, enrol };
}

/** As an agent does it: a minute long. */
export const signJwt = (agentId: string, key: CryptoKey, now: number) =>
  new SignJWT({})
    .setProtectedHeader({ alg: 'EdDSA' })
    .setIssuer(agentId)
    .setSubject(agentId)
    .setAudience('sipfleet')
    .setExpirationTime(Math.floor(now / 1000) + 60)
    .sign(key);
