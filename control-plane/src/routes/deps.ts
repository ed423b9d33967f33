import type { RunCheck, Target } from '@sipfleet/contract';
import type { Context } from 'hono';
import type { AskSts } from '../auth/iam.ts';
import type { Limits } from '../auth/limits.ts';
import type { Oidc } from '../auth/oidc.ts';
import type { VerifiedTokens } from '../auth/verified-tokens.ts';
import type { AgentIdentity, Operator } from '../domain/identity.ts';
import type { JoinRule } from '../domain/join-rule.ts';
import type { Rollout, Verb } from '../domain/rollout.ts';
import type { Fleet } from '../domain/rollout-gate.ts';
import type { SecretSealer } from '../domain/secrets.ts';
import type { Signer } from '../domain/signing.ts';
import type { SnapshotArchive } from '../store/archive.ts';
import type { CheckPlans } from '../store/check-plans.ts';
import type { Commit } from '../store/commit.ts';
import type { Current } from '../store/current.ts';
import type { CommandOutcome, RolloutTicker } from '../store/rollouts.ts';
import type { Store } from '../store/store.ts';

/** What the routes need: abilities, not platforms. */
export interface AppDeps {
  store: Store;
  current: Current;
  commit: Commit;
  secrets: SecretSealer;
  signer: Signer;
  archive: Pick<SnapshotArchive, 'keep' | 'find'>;
  /** Milliseconds since the epoch. */
  now: () => number;
  randomBytes: (length: number) => Uint8Array;
  hub: {
    connected(agent: Pick<AgentIdentity, 'agentId' | 'site'>): boolean | Promise<boolean>;
    /** Ends the connections of an agent that was revoked. */
    disconnect(agent: Pick<AgentIdentity, 'agentId' | 'site'>): void | Promise<void>;
    /** Where push sockets are if not here, and what their return is to be spread over should all be lost at once. */
    reach(): Pick<Target, 'push' | 'spreadMs'>;
    /** False: the agent has no connection here. */
    runCheck(agentId: string, check: Omit<RunCheck, 'type'>): boolean;
  };
  checks: CheckPlans;
  /** Agents' tokens that were found to be right. */
  tokens: VerifiedTokens;
  /** The rollout that is under way: looked at, and told what operators want. */
  rollouts: Pick<RolloutTicker, 'reported'> & RolloutCommands;
  /** Undefined: operators come with API tokens alone. */
  oidc: Oidc | undefined;
  /** Undefined: agents come with join tokens alone. */
  iam: IamJoin | undefined;
  limits: Limits;
  /** From where a request came; undefined where that is not known. */
  addressOf: (c: Context) => string | undefined;
  log: Log;
}

/** How agents may join by the IAM role of their instance. */
export interface IamJoin {
  readonly audience: string;
  readonly rules: readonly JoinRule[];
  readonly ask: AskSts;
}

export interface RolloutCommands {
  command(request: { number: number; verb: Verb; actor: string; source: string }): Promise<CommandOutcome>;
  fleet(rollout: Rollout): Promise<Fleet>;
}

/** What is used of pino. Neither tokens nor keys nor bodies may be handed to it. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Writes an entry of the audit log about what changed no resource. */
export type Audit = (entry: { actor: string; action: string; details: Record<string, string> }) => Promise<void>;

/** What guards leave for handlers. */
export interface AppEnv {
  Variables: { audit: Audit; operator: Operator; agent: AgentIdentity };
}
