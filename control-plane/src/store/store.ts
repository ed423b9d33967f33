import type { AgentReport, Kind, TokenKey } from '@sipfleet/contract';
import type { Configuration, Departures, StoredResource, StoredSpec } from '../domain/configuration.ts';
import type { AgentRecord, ApiToken, JoinToken, StoredSigningKey } from '../domain/identity.ts';

/**
 * What the control plane remembers. Two implementations, sqlite.ts and dynamo.ts, held to one behaviour by contract.suite.ts.
 *
 * Every write of a resource takes the next global revision, and stores resource, revision, AUDIT entry and OUTBOX entry in one
 * transaction, or none of them. It is conditional on the revision that its author read the whole configuration at: what was
 * validated across resources is still true when it is stored. Revisions have neither gap nor double.
 */
export interface Store {
  /** The global revision; 0 before the first write. */
  revision(): Promise<number>;
  /** Everything that operators wrote, as it was at one revision. */
  configuration(): Promise<Configuration>;
  get(kind: Kind, name: string): Promise<StoredResource | undefined>;
  /** By name. */
  list(kind: Kind, page: PageRequest): Promise<PageOf<StoredResource>>;
  write(write: ResourceWrite): Promise<WriteOutcome>;
  /** Newest last. */
  audit(page: PageRequest): Promise<PageOf<AuditEntry>>;

  /** Committed writes whose push hint is not known to be out, oldest first. */
  outbox(limit: number): Promise<OutboxEntry[]>;
  /** The hint of this revision went out. Without effect where the entry is gone. */
  settle(revision: number): Promise<void>;

  /** Stores a token's hash, name and role; replaces what the same hash had. */
  putApiToken(token: ApiToken): Promise<void>;
  apiToken(hash: string): Promise<ApiToken | undefined>;

  putJoinToken(token: JoinToken): Promise<void>;
  /**
   * Consumes the join token and creates its agent in one transaction. The same public key with the same token again gets the
   * same identity: the first answer may have been lost on its way.
   */
  enrol(enrolment: Enrolment): Promise<EnrolOutcome>;

  agent(agentId: string): Promise<AgentRecord | undefined>;
  /** By id. */
  agents(page: PageRequest): Promise<PageOf<AgentRecord>>;
  /** False: there is no such agent (any more). Never brings one back. */
  recordReport(agentId: string, report: AgentReport, at: string): Promise<boolean>;
  /** The `x` of the X25519 JWK that Secrets are sealed to from now on. False: there is no such agent. */
  setSealKey(agentId: string, sealKey: string): Promise<boolean>;
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

interface WriteBase {
  /** The global revision of the configuration that the write was decided on. */
  readonly base: number;
  /** The revision that the resource must have; null: it must not exist. */
  readonly expected: number | null;
  /** The name of the API token behind it. */
  readonly actor: string;
  /** RFC 3339. */
  readonly at: string;
  /** Sites whose snapshot changes with it. */
  readonly affects: readonly string[];
  /** Of a farm: all sites that it has ever left, this write included. Undefined: unchanged. */
  readonly departures?: Departures | undefined;
}

export interface PutWrite extends WriteBase {
  readonly action: 'put';
  readonly spec: StoredSpec;
  /** Of a farm. */
  readonly tokenKeys: readonly TokenKey[];
}

export interface DeleteWrite extends WriteBase {
  readonly action: 'delete';
  readonly kind: Kind;
  readonly name: string;
  readonly expected: number;
}

export type ResourceWrite = PutWrite | DeleteWrite;

export type WriteOutcome =
  | { status: 'written'; revision: number }
  /** The resource has another revision than expected (null: it does not exist). */
  | { status: 'stale'; actual: number | null }
  /** Another write came in between: read the configuration again and decide anew. */
  | { status: 'moved' };

export interface AuditEntry {
  readonly revision: number;
  readonly at: string;
  readonly actor: string;
  readonly action: 'create' | 'update' | 'delete';
  readonly kind: Kind;
  readonly name: string;
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
export function enrolledBefore(agent: AgentRecord | undefined, enrolment: Enrolment): EnrolOutcome {
  if (agent === undefined || agent.publicKey !== enrolment.publicKey) return { status: 'used' };
  return { status: 'enrolled', agentId: agent.agentId, number: agent.number, site: agent.site };
}
