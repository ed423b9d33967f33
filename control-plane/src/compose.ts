import packageJson from '../package.json' with { type: 'json' };
import { createApp } from './app.ts';
import { createLimits, DEFAULT_RATES, type Limits, type Rates } from './auth/limits.ts';
import { VerifiedTokens } from './auth/verified-tokens.ts';
import { createExchanges } from './routes/agent-exchange.ts';
import type { AppDeps, Log } from './routes/deps.ts';
import { fleetSource } from './routes/metrics.ts';
import type { App } from './routes/route.ts';
import { createArchive, type ObjectStore, type SnapshotArchive } from './store/archive.ts';
import { type CheckPlans, type CheckPlansDeps, createCheckPlans } from './store/check-plans.ts';
import { createCommit } from './store/commit.ts';
import { type Current, createCurrent } from './store/current.ts';
import { type RolloutDeps, rolloutCommands } from './store/rollouts.ts';
import type { Store } from './store/store.ts';
import { ControlPlaneMetrics } from './telemetry/metrics.ts';
import type { KeyWrapper } from './vault/key-wrapper.ts';
import { createSigner } from './vault/signer.ts';
import { createVault } from './vault/vault.ts';

/** Where the control plane runs: one process with its own push connections, or Lambda with API Gateway's. */
export interface Platform extends Pick<CheckPlansDeps, 'changed' | 'listeningSince'>, Pick<AppDeps, 'oidc' | 'iam'> {
  store: Store;
  /** For snapshots that are too large for the store; without one these are not kept. */
  objects?: ObjectStore;
  keys: KeyWrapper;
  hub: AppDeps['hub'];
  /** Called after each report: a rollout may go on with it. */
  reported: () => void;
  /** Called after each write that changed something. */
  onCommit: () => void;
  /** How much one may ask of this process. Default: {@link DEFAULT_RATES}. */
  rates?: Rates | undefined;
  addressOf: AppDeps['addressOf'];
  now: () => number;
  randomBytes: (length: number) => Uint8Array;
  log: Log;
}

export interface Plane {
  app: App;
  /** What agents ask over connections that this process holds. */
  exchanges: ReturnType<typeof createExchanges>;
  archive: SnapshotArchive;
  current: Current;
  checks: CheckPlans;
  signer: AppDeps['signer'];
  limits: Limits;
  /** What a rollout is looked at with. */
  rollouts: RolloutDeps;
}

/** The control plane, the same on every platform. */
export function compose(platform: Platform): Plane {
  const { store, objects, keys, hub, onCommit, reported, oidc, iam, now, randomBytes, log, ...rest } = platform;
  const { rates = DEFAULT_RATES, addressOf, ...watching } = rest;
  const current = createCurrent(store);
  const secrets = createVault(keys);
  const signer = createSigner({ store, keys, now });
  const checks = createCheckPlans({ store, current, now, log, ...watching });
  const commit = createCommit({ store, current, secrets, now, randomBytes, onCommit });
  const archive = createArchive({ store, objects, now });
  const tokens = new VerifiedTokens();
  const limits = createLimits(rates, now);
  const listening = watching.listeningSince === undefined ? {} : { listeningSince: watching.listeningSince };
  const rolling: RolloutDeps = { store, current, onCommit, ...listening };
  const rollouts = { reported, ...rolloutCommands(rolling, now) };
  const deps: AppDeps = {
    store,
    current,
    commit,
    secrets,
    signer,
    archive,
    checks,
    tokens,
    rollouts,
    now,
    randomBytes,
    hub,
    oidc,
    iam,
    limits,
    addressOf,
    log,
  };
  const metrics = new ControlPlaneMetrics(fleetSource(deps), packageJson.version);
  const [app, exchanges] = [createApp(deps, metrics), createExchanges(deps, metrics)];
  return { app, exchanges, archive, current, checks, signer, limits, rollouts: rolling };
}
