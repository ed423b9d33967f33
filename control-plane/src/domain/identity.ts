import type { AgentReport, SigningKey } from '@sipfleet/contract';

/** Each may do what those before it may: read; change resources and invite agents; revoke agents. */
export const ROLES = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export const allows = (role: Role, needed: Role): boolean => ROLES.indexOf(role) >= ROLES.indexOf(needed);

/** Somebody who may ask for something, however they proved who they are. */
export interface Operator {
  /** Stands in the audit log. */
  readonly name: string;
  readonly role: Role;
  /** What it may change concerns these sites alone; null: all. Reading is not bounded. */
  readonly sites: readonly string[] | null;
}

/** An operator's token as it is stored. */
export interface ApiToken extends Operator {
  /** SHA-256 as hex: the token itself is never stored. */
  readonly hash: string;
  readonly createdAt: string;
  /** RFC 3339; null: it does not expire. */
  readonly expiresAt: string | null;
}

/** Those of `sites` that are beyond what the operator may change. */
export const beyond = ({ sites: scope }: Pick<Operator, 'sites'>, sites: readonly string[]): string[] =>
  scope === null ? [] : sites.filter((site) => !scope.includes(site));

/** A one-time invitation of an agent as it is stored. */
export interface JoinToken {
  readonly hash: string;
  readonly site: string;
  readonly createdAt: string;
  readonly expiresAt: string;
}

export interface AgentRecord {
  readonly agentId: string;
  /** 1–65535, unique in the fleet. */
  readonly number: number;
  readonly name: string;
  readonly site: string;
  /** The `x` of its Ed25519 JWK (RFC 8037). */
  readonly publicKey: string;
  /** The `x` of its X25519 JWK, to which Secrets are sealed; null where it has registered none. */
  readonly sealKey: string | null;
  readonly version: string;
  readonly firstSeenAt: string;
  readonly lastReportAt: string | null;
  readonly report: AgentReport | null;
}

/** Who an agent is: a few hundred bytes, read with every request of its own. */
export type AgentIdentity = Omit<AgentRecord, 'lastReportAt' | 'report'>;

/** What an agent's site knows of it. */
export type SiteAgent = Pick<
  AgentRecord,
  'agentId' | 'number' | 'name' | 'site' | 'firstSeenAt' | 'lastReportAt' | 'report'
>;

/** A key that snapshots are signed with, as it is stored. */
export interface StoredSigningKey extends SigningKey {
  /** Made by the key before it, as the contract's `KeyChain` has it. */
  readonly signature: string;
  /** The private half, wrapped. */
  readonly wrapped: string;
  readonly createdAt: string;
}

/** Agent numbers: 16 bits in routing tokens, 0 means none. */
export const MAX_AGENT_NUMBER = 65_535;
