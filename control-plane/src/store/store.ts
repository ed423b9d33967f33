import type { AgentReport, Farm, Kind, SecretView, Site, TokenKey } from '@sipfleet/contract';
import type { AuditChange, AuditEntry, AuditEvent, AuditHead } from '../audit-chain.ts';
import type { Configuration, Departures, StoredResource, StoredSpec } from '../domain/configuration.ts';
import type {
  AgentIdentity,
  AgentRecord,
  ApiToken,
  JoinToken,
  SiteAgent,
  StoredSigningKey,
} from '../domain/identity.ts';
import type { Rollout } from '../domain/rollout.ts';
import type { RolloutProgress } from '../domain/rollout-gate.ts';

/**
 * What the control plane remembers. Two implementations, sqlite.ts and dynamo.ts, held to one behaviour by contract.suite.ts.
 *
 * Every change set takes the next global revision, and stores its resources, their versions, the revision, an AUDIT entry and an
 * OUTBOX entry in one transaction, or none of them. It is conditional on the revision that its author read the whole configuration
 * at: what was validated across resources is still true when it is stored. Revisions have neither gap nor double.
 */
export interface Store {
  /** The global revision; 0 before the first write. */
  revision(): Promise<number>;
  /** Everything that operators wrote, as it was at one revision. */
  configuration(): Promise<Configuration>;
  get(kind: Kind, name: string): Promise<StoredResource | undefined>;
  /** By name. */
  list(kind: Kind, page: PageRequest): Promise<PageOf<StoredResource>>;
  write(set: ChangeSet): Promise<WriteOutcome>;
  /** Undefined: no such request, or it is too long ago. @param at RFC 3339: now */
  idempotency(key: string, at: string): Promise<IdempotencyRecord | undefined>;

  /** Newest first. */
  history(kind: Kind, name: string, page: PageRequest): Promise<PageOf<ResourceVersion>>;
  /** What a resource was at a global revision. Undefined: it had never existed by then. */
  version(kind: Kind, name: string, revision: number): Promise<ResourceVersion | undefined>;

  audit(query: AuditQuery): Promise<PageOf<AuditEntry>>;
  auditHead(): Promise<AuditHead>;
  /** Of what changes no resource; a change's entry is stored with the change. */
  appendAudit(event: AuditEvent): Promise<AuditEntry>;

  /** Replaces the one of the same ETag: they differ in their expiry alone. */
  putSnapshot(snapshot: StoredSnapshot): Promise<void>;
  /** Undefined: there is none, or it has expired. @param at RFC 3339: now */
  snapshot(etag: string, at: string): Promise<StoredSnapshot | undefined>;

  /** Newest first. */
  rollouts(page: PageRequest): Promise<PageOf<Rollout>>;
  /** Undefined: nothing was learned yet. */
  rolloutProgress(number: number): Promise<RolloutProgress | undefined>;
  /** False: another look was stored first; what is stored must be of the version before. */
  putRolloutProgress(progress: RolloutProgress): Promise<boolean>;

  /** Committed writes whose push hint is not known to be out, oldest first. */
  outbox(limit: number): Promise<OutboxEntry[]>;
  /** The hint of this revision went out. Without effect where the entry is gone. */
  settle(revision: number): Promise<void>;

  /** Stores a token's hash, name and role; replaces what the same hash had. */
  putApiToken(token: ApiToken): Promise<void>;
  apiToken(hash: string): Promise<ApiToken | undefined>;
  /** All of them: they are few. */
  apiTokens(): Promise<ApiToken[]>;
  /** False: there was none. */
  deleteApiToken(hash: string): Promise<boolean>;

  putJoinToken(token: JoinToken): Promise<void>;
  /** Used, expired or neither. */
  hasJoinToken(hash: string): Promise<boolean>;
  /**
   * Consumes the join token and creates its agent in one transaction. The same public key with the same token again gets the
   * same identity: the first answer may have been lost on its way.
   */
  enrol(enrolment: Enrolment): Promise<EnrolOutcome>;

  identity(agentId: string): Promise<AgentIdentity | undefined>;
  agent(agentId: string): Promise<AgentRecord | undefined>;
  /**
   * All agents of a site, by id. May lag a second behind the last report.
   *
   * @param known by id, as read before: whose last report is still of the same moment is given back as it stands there, unread
   */
  agentsAt(site: string, known?: ReadonlyMap<string, SiteAgent>): Promise<SiteAgent[]>;
  /** By id. */
  agents(page: PageRequest): Promise<PageOf<AgentRecord>>;
  /** False: there is no such agent (any more). Never brings one back. */
  recordReport(agent: Pick<AgentIdentity, 'agentId' | 'site'>, report: AgentReport, at: string): Promise<boolean>;
  /** The `x` of the X25519 JWK that Secrets are sealed to from now on. False: there is no such agent. */
  setSealKey(agentId: string, sealKey: string): Promise<boolean>;
  /** The `x` of the Ed25519 JWK that its requests are verified with from now on. False: there is no such agent. */
  setPublicKey(agentId: string, publicKey: string): Promise<boolean>;
  /** False: there was no such agent. Its number becomes free. */
  deleteAgent(agentId: string): Promise<boolean>;

  /** Oldest first. */
  signingKeys(): Promise<StoredSigningKey[]>;
  /** False: there is one of this sequence already. */
  addSigningKey(key: StoredSigningKey): Promise<boolean>;

  /** Safe to call twice. */
  close(): Promise<void>;
}

/** `cursor`: the last key of the page before. */
export interface PageRequest {
  limit: number;
  cursor?: string | undefined;
}
export interface PageOf<T> {
  items: T[];
  cursor?: string;
}

/** A resource as it is to be stored. `expected`: the revision that it must have; null: it must not exist. */
export interface PutWrite {
  readonly action: 'put';
  readonly spec: StoredSpec;
  readonly expected: number | null;
  /** Of a farm. */
  readonly tokenKeys: readonly TokenKey[];
  /** Of a farm: all sites that it has ever left, this write included. Undefined: unchanged. */
  readonly departures?: Departures | undefined;
}

export interface DeleteWrite {
  readonly action: 'delete';
  readonly kind: Kind;
  readonly name: string;
  readonly expected: number;
  readonly departures?: Departures | undefined;
}

export type ResourceWrite = PutWrite | DeleteWrite;

/** What becomes the next revision, whole or not at all. */
export interface ChangeSet {
  /** Random: by it a writer that got no answer finds out whether this was stored. */
  readonly id: string;
  /** The global revision of the configuration that it was decided on. */
  readonly base: number;
  /** The name of the API token behind it. */
  readonly actor: string;
  /** The program it came through. */
  readonly source: string;
  /** RFC 3339. */
  readonly at: string;
  /** Sites whose snapshot changes with it. */
  readonly affects: readonly string[];
  /** At most {@link MAX_WRITES}, each of another resource; none where a rollout alone goes on. */
  readonly writes: readonly ResourceWrite[];
  /** The rollout as it is from this revision on. */
  readonly rollout?: Rollout | undefined;
  /** Stored with it: the same request again gets the same answer. */
  readonly idempotency?: IdempotencyRecord | undefined;
}

/** Each write is up to three of the 100 items of a DynamoDB transaction; six more are revision, AUDIT, OUTBOX, idempotency record and rollout. */
export const MAX_WRITES = 31;

/** What was answered to a request that carried an Idempotency-Key. */
export interface IdempotencyRecord {
  /** SHA-256 of actor and key, as hex. */
  readonly key: string;
  /** SHA-256 of the request: the same key with another one is a mistake of the client. */
  readonly request: string;
  /** JSON, as the route that made it understands it. */
  readonly answer: string;
  /** RFC 3339; unknown afterwards. */
  readonly expiresAt: string;
}

export type WriteOutcome =
  | { status: 'written'; revision: number }
  /** A resource has another revision than expected (null: it does not exist). */
  | { status: 'stale'; kind: Kind; name: string; actual: number | null }
  /** A request with this idempotency key was stored before. */
  | { status: 'repeated'; record: IdempotencyRecord }
  /** Another write came in between: read the configuration again and decide anew. */
  | { status: 'moved' };

/** What one resource was from this revision on. */
export interface ResourceVersion {
  readonly revision: number;
  readonly at: string;
  readonly actor: string;
  readonly action: AuditChange['action'];
  /** Of a Secret its view alone: what was rotated away is nowhere any more. Null: deleted. */
  readonly spec: Site | Farm | SecretView | null;
}

/** Which entries of the audit log, and in which order. */
export interface AuditQuery extends PageRequest {
  /** Default: newest last. */
  readonly newestFirst?: boolean;
  /** Only what made a revision. */
  readonly changesOnly?: boolean;
}

/** A snapshot that agents were given, kept as long as one may ask for it. */
export interface StoredSnapshot {
  /** SHA-256 of the canonical JSON. */
  readonly etag: string;
  readonly site: string;
  readonly generation: number;
  /** gzip of the canonical JSON; null: too large for the store, it stands in the object store. */
  readonly body: Uint8Array | null;
  /** RFC 3339. */
  readonly expiresAt: string;
}

export interface OutboxEntry {
  readonly revision: number;
  readonly affects: readonly string[];
}

export interface Enrolment {
  readonly tokenHash: string;
  readonly agentId: string;
  readonly name: string;
  /** The `x` of the Ed25519 JWK. */
  readonly publicKey: string;
  /** The `x` of the X25519 JWK; null where the agent has none. */
  readonly sealKey: string | null;
  readonly version: string;
  readonly at: string;
}

export type EnrolOutcome =
  | { status: 'enrolled'; agentId: string; number: number; site: string }
  /** `site-gone`: the token's site was deleted; `full`: all 65,535 agent numbers are taken. */
  | { status: 'unknown' | 'used' | 'expired' | 'site-gone' | 'full' };

/** What a join token that was used already still gives: its agent, to the holder of the same key. */
export function enrolledBefore(agent: AgentIdentity | undefined, enrolment: Enrolment): EnrolOutcome {
  if (agent === undefined || agent.publicKey !== enrolment.publicKey) return { status: 'used' };
  return { status: 'enrolled', agentId: agent.agentId, number: agent.number, site: agent.site };
}
