import type { SQLInputValue } from 'node:sqlite';
import { canonicalJson, type Farm, type Site, type TokenKey } from '@sipfleet/contract';
import { type AuditEntry, type AuditEvent, type AuditHead, chained } from '../audit-chain.ts';
import type {
  Configuration,
  Departures,
  StoredFarm,
  StoredResource,
  StoredSecret,
  StoredSpec,
} from '../domain/configuration.ts';
import type { Rollout } from '../domain/rollout.ts';
import type { RolloutProgress } from '../domain/rollout-gate.ts';
import { eventOf, targetOf, versionOf } from './change-set.ts';
import type {
  AuditQuery,
  ChangeSet,
  IdempotencyRecord,
  PageOf,
  ResourceVersion,
  ResourceWrite,
  Store,
  StoredSnapshot,
  WriteOutcome,
} from './store.ts';

export type Row = Record<string, unknown>;

/** Statements of one open file, prepared once each. */
export interface Sql {
  one(sql: string, ...values: SQLInputValue[]): Row | undefined;
  many(sql: string, ...values: SQLInputValue[]): Row[];
  /** How many rows it changed. */
  run(sql: string, ...values: SQLInputValue[]): number;
  /** Around one statement outside a transaction: what it writes may be lost with the power, and nobody waits for the disk. */
  withoutWaiting<T>(work: () => T): T;
}

/** Reads see one state, writes happen whole: nothing may await inside. */
export type Transaction = <T>(mode: 'DEFERRED' | 'IMMEDIATE', work: () => T) => T;

/** A query for one row more than the page holds → the page. `key`: the column that the next one begins after. */
export function pageOf<T>(rows: Row[], limit: number, key: string, read: (row: Row) => T): PageOf<T> {
  const items = rows.slice(0, limit).map(read);
  return rows.length > limit ? { items, cursor: String(rows[limit - 1]?.[key]) } : { items };
}

type Changes = Pick<
  Store,
  | 'revision'
  | 'configuration'
  | 'get'
  | 'list'
  | 'write'
  | 'idempotency'
  | 'history'
  | 'version'
  | 'audit'
  | 'auditHead'
  | 'appendAudit'
  | 'rollouts'
  | 'rolloutProgress'
  | 'putRolloutProgress'
  | 'putSnapshot'
  | 'snapshot'
  | 'outbox'
  | 'settle'
>;

/** Resources, their history, and all that one change set stores with them. */
export function changesOf(sql: Sql, transaction: Transaction): Changes {
  const { one, many, run } = sql;
  return {
    revision: async () => revisionOf(sql),
    configuration: async () => transaction('DEFERRED', () => readConfiguration(sql)),
    async get(kind, name) {
      const row = one('SELECT * FROM resource WHERE kind = ? AND name = ?', kind, name);
      return row === undefined ? undefined : readResource(row);
    },
    async list(kind, { limit, cursor = '' }) {
      const query = 'SELECT * FROM resource WHERE kind = ? AND name > ? ORDER BY name LIMIT ?';
      return pageOf(many(query, kind, cursor, limit + 1), limit, 'name', readResource);
    },
    write: async (set) => transaction('IMMEDIATE', () => writeChangeSet(sql, set)),
    async idempotency(key, at) {
      const row = one('SELECT * FROM idempotency WHERE key = ? AND expires_at > ?', key, at);
      return row === undefined ? undefined : readIdempotency(row);
    },
    async history(kind, name, { limit, cursor }) {
      const query = 'SELECT * FROM version WHERE kind = ? AND name = ? AND revision < ? ORDER BY revision DESC LIMIT ?';
      const before = Number(cursor ?? Number.MAX_SAFE_INTEGER);
      return pageOf(many(query, kind, name, before, limit + 1), limit, 'revision', readVersion);
    },
    async version(kind, name, revision) {
      const query =
        'SELECT * FROM version WHERE kind = ? AND name = ? AND revision <= ? ORDER BY revision DESC LIMIT 1';
      const row = one(query, kind, name, revision);
      return row === undefined ? undefined : readVersion(row);
    },
    audit: async (query) => auditPage(sql, query),
    auditHead: async () => auditHead(sql),
    appendAudit: async (event) => transaction('IMMEDIATE', () => append(sql, event)),
    async putSnapshot({ etag, site, generation, body, expiresAt }) {
      // A change of a farm on 500 sites makes 500 of them at once; one that is lost is told by its hash alone.
      sql.withoutWaiting(() =>
        run(
          'INSERT OR REPLACE INTO snapshot (etag, site, generation, body, expires_at) VALUES (?, ?, ?, ?, ?)',
          ...[etag, site, generation, body, expiresAt],
        ),
      );
    },
    async snapshot(etag, at) {
      // Nobody else sweeps here: what DynamoDB's TTL does to a table of its.
      run('DELETE FROM snapshot WHERE expires_at <= ?', at);
      const row = one('SELECT * FROM snapshot WHERE etag = ?', etag);
      return row === undefined ? undefined : readSnapshot(row);
    },
    async rollouts({ limit, cursor }) {
      const query = 'SELECT * FROM rollout WHERE number < ? ORDER BY number DESC LIMIT ?';
      return pageOf(many(query, Number(cursor ?? Number.MAX_SAFE_INTEGER), limit + 1), limit, 'number', readRollout);
    },
    async rolloutProgress(number) {
      const row = one('SELECT progress FROM rollout_progress WHERE number = ?', number);
      return row === undefined ? undefined : (JSON.parse(String(row.progress)) as RolloutProgress);
    },
    putRolloutProgress: async (progress) => transaction('IMMEDIATE', () => putProgress(sql, progress)),
    outbox: async (limit) =>
      many('SELECT * FROM outbox ORDER BY revision LIMIT ?', limit).map((row) => ({
        revision: Number(row.revision),
        affects: JSON.parse(String(row.affects)) as string[],
      })),
    async settle(settled) {
      run('DELETE FROM outbox WHERE revision = ?', settled);
    },
  };
}

const revisionOf = ({ one }: Sql): number => Number(one('SELECT revision FROM global')?.revision);

function auditHead({ one }: Sql): AuditHead {
  const row = one('SELECT audit_sequence, audit_hash FROM global') as Row;
  return { sequence: Number(row.audit_sequence), hash: String(row.audit_hash) };
}

function readConfiguration(sql: Sql): Configuration {
  const sites = new Map<string, StoredResource<Site>>();
  const farms = new Map<string, StoredFarm>();
  const secrets = new Map<string, StoredSecret>();
  for (const row of sql.many('SELECT * FROM resource ORDER BY kind, name')) {
    const stored = readResource(row);
    if (stored.spec.kind === 'Site') sites.set(stored.spec.name, stored as StoredResource<Site>);
    else if (stored.spec.kind === 'Secret') secrets.set(stored.spec.name, stored as StoredSecret);
    else
      farms.set(stored.spec.name, {
        ...(stored as StoredResource<Farm>),
        tokenKeys: JSON.parse(String(row.token_keys)) as TokenKey[],
      });
  }
  const departures = new Map<string, Departures>();
  for (const row of sql.many('SELECT farm, sites FROM departure'))
    departures.set(String(row.farm), JSON.parse(String(row.sites)) as Departures);
  const last = sql.one('SELECT rollout FROM rollout ORDER BY number DESC LIMIT 1');
  const rollout = last === undefined ? undefined : readRollout(last);
  return { revision: revisionOf(sql), sites, farms, secrets, departures, rollout };
}

const readRollout = (row: Row): Rollout => JSON.parse(String(row.rollout)) as Rollout;

function putProgress({ one, run }: Sql, progress: RolloutProgress): boolean {
  const { number, version } = progress;
  const row = one('SELECT version FROM rollout_progress WHERE number = ?', number);
  if (Number(row?.version ?? 0) !== version - 1) return false;
  run(
    'INSERT OR REPLACE INTO rollout_progress (number, version, progress) VALUES (?, ?, ?)',
    ...[number, version, JSON.stringify(progress)],
  );
  return true;
}

function writeChangeSet(sql: Sql, set: ChangeSet): WriteOutcome {
  const { one, run } = sql;
  if (set.idempotency !== undefined) {
    run('DELETE FROM idempotency WHERE expires_at <= ?', set.at);
    const row = one('SELECT * FROM idempotency WHERE key = ?', set.idempotency.key);
    if (row !== undefined) return { status: 'repeated', record: readIdempotency(row) };
  }
  for (const write of set.writes) {
    const { kind, name } = targetOf(write);
    const stored = one('SELECT revision FROM resource WHERE kind = ? AND name = ?', kind, name);
    const actual = stored === undefined ? null : Number(stored.revision);
    if (actual !== write.expected) return { status: 'stale', kind, name, actual };
  }
  if (revisionOf(sql) !== set.base) return { status: 'moved' };
  const next = set.base + 1;
  run('UPDATE global SET revision = ?', next);
  for (const write of set.writes) writeResource(sql, set, write);
  const { rollout } = set;
  if (rollout !== undefined)
    run('INSERT OR REPLACE INTO rollout (number, rollout) VALUES (?, ?)', ...[rollout.number, JSON.stringify(rollout)]);
  append(sql, eventOf(set));
  run('INSERT INTO outbox (revision, affects) VALUES (?, ?)', next, JSON.stringify(set.affects));
  if (set.idempotency !== undefined) {
    const { key, request, answer, expiresAt } = set.idempotency;
    run(
      'INSERT INTO idempotency (key, request, answer, expires_at) VALUES (?, ?, ?, ?)',
      key,
      request,
      answer,
      expiresAt,
    );
  }
  return { status: 'written', revision: next };
}

function writeResource({ run }: Sql, set: ChangeSet, write: ResourceWrite): void {
  const { kind, name } = targetOf(write);
  const { revision, at, actor, action, spec } = versionOf(set, write);
  if (write.action === 'delete') run('DELETE FROM resource WHERE kind = ? AND name = ?', kind, name);
  else
    run(
      'INSERT OR REPLACE INTO resource (kind, name, revision, updated_at, spec, token_keys) VALUES (?, ?, ?, ?, ?, ?)',
      ...[kind, name, revision, at, JSON.stringify(write.spec), JSON.stringify(write.tokenKeys)],
    );
  run(
    'INSERT INTO version (kind, name, revision, at, actor, action, spec) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ...[kind, name, revision, at, actor, action, spec === null ? null : JSON.stringify(spec)],
  );
  if (write.departures !== undefined)
    run('INSERT OR REPLACE INTO departure (farm, sites) VALUES (?, ?)', name, JSON.stringify(write.departures));
}

function append(sql: Sql, event: AuditEvent): AuditEntry {
  const entry = chained(auditHead(sql), event);
  const { sequence, revision, hash } = entry;
  sql.run('INSERT INTO audit (sequence, revision, entry) VALUES (?, ?, ?)', sequence, revision, canonicalJson(entry));
  sql.run('UPDATE global SET audit_sequence = ?, audit_hash = ?', sequence, hash);
  return entry;
}

function auditPage(sql: Sql, { limit, cursor, newestFirst = false, changesOnly = false }: AuditQuery) {
  const after = Number(cursor ?? (newestFirst ? Number.MAX_SAFE_INTEGER : 0));
  const query =
    `SELECT * FROM audit WHERE sequence ${newestFirst ? '<' : '>'} ? ${changesOnly ? 'AND revision IS NOT NULL' : ''} ` +
    `ORDER BY sequence ${newestFirst ? 'DESC' : 'ASC'} LIMIT ?`;
  return pageOf(sql.many(query, after, limit + 1), limit, 'sequence', readAudit);
}

const readAudit = (row: Row): AuditEntry => JSON.parse(String(row.entry)) as AuditEntry;

function readResource(row: Row): StoredResource {
  return {
    spec: JSON.parse(String(row.spec)) as StoredSpec,
    revision: Number(row.revision),
    updatedAt: String(row.updated_at),
  };
}

function readVersion(row: Row): ResourceVersion {
  return {
    revision: Number(row.revision),
    at: String(row.at),
    actor: String(row.actor),
    action: row.action as ResourceVersion['action'],
    spec: row.spec === null ? null : (JSON.parse(String(row.spec)) as ResourceVersion['spec']),
  };
}

const readIdempotency = (row: Row): IdempotencyRecord => ({
  key: String(row.key),
  request: String(row.request),
  answer: String(row.answer),
  expiresAt: String(row.expires_at),
});

const readSnapshot = (row: Row): StoredSnapshot => ({
  etag: String(row.etag),
  site: String(row.site),
  generation: Number(row.generation),
  body: row.body as Uint8Array | null,
  expiresAt: String(row.expires_at),
});
