import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import type { AgentReport } from '@sipfleet/contract';
import {
  type AgentIdentity,
  type AgentRecord,
  type ApiToken,
  MAX_AGENT_NUMBER,
  type StoredSigningKey,
} from '../domain/identity.ts';
import { changesOf, pageOf, type Row, type Sql } from './sqlite-changes.ts';
import { reportWriter } from './sqlite-reports.ts';
import { MIGRATIONS, SCHEMA, SCHEMA_VERSION } from './sqlite-schema.ts';
import { type Enrolment, type EnrolOutcome, enrolledBefore, type Store } from './store.ts';

/**
 * The store in one SQLite file, or in memory (`:memory:`). Every method is one transaction: node:sqlite is synchronous,
 * and other processes on the same file are kept out by BEGIN IMMEDIATE.
 *
 * @throws Error naming the file where it cannot be opened or was written by a newer version
 */
export function openSqliteStore(file: string): Store {
  const db = openDatabase(file);
  const statements = new Map<string, StatementSync>();
  const prepared = (sql: string): StatementSync => {
    const known = statements.get(sql) ?? db.prepare(sql);
    statements.set(sql, known);
    return known;
  };
  const one = (sql: string, ...values: SQLInputValue[]) => prepared(sql).get(...values) as Row | undefined;
  const many = (sql: string, ...values: SQLInputValue[]) => prepared(sql).all(...values) as Row[];
  const run = (sql: string, ...values: SQLInputValue[]) => Number(prepared(sql).run(...values).changes);

  /** Reads see one state, writes happen whole: nothing may await inside. */
  function transaction<T>(mode: 'DEFERRED' | 'IMMEDIATE', work: () => T): T {
    db.exec(`BEGIN ${mode}`);
    try {
      const result = work();
      db.exec('COMMIT');
      return result;
    } catch (error) {
      // SQLite has rolled back by itself where the disk is full or the file is damaged.
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  }

  /**
   * Writes what may be lost with the power: it is in the log of SQLite, yet nobody waits for the disk. A process that is killed loses nothing, and the
   * file stays whole in any case.
   */
  function withoutWaiting<T>(work: () => T): T {
    db.exec('PRAGMA synchronous = NORMAL');
    try {
      return work();
    } finally {
      db.exec('PRAGMA synchronous = FULL');
    }
  }

  const sql: Sql = { one, many, run, withoutWaiting };
  const reports = reportWriter(sql, transaction);

  function enrol(enrolment: Enrolment): EnrolOutcome {
    const token = one('SELECT * FROM join_token WHERE hash = ?', enrolment.tokenHash);
    if (token === undefined) return { status: 'unknown' };
    if (token.used_by !== null) {
      const row = one('SELECT * FROM agent WHERE agent_id = ?', String(token.used_by));
      return enrolledBefore(row === undefined ? undefined : readAgent(row), enrolment);
    }
    if (String(token.expires_at) <= enrolment.at) return { status: 'expired' };
    const site = String(token.site);
    if (one("SELECT 1 FROM resource WHERE kind = 'Site' AND name = ?", site) === undefined)
      return { status: 'site-gone' };
    const number = freeNumber();
    if (number === undefined) return { status: 'full' };
    const { agentId, name, publicKey, sealKey, version, at } = enrolment;
    run('UPDATE join_token SET used_by = ? WHERE hash = ?', agentId, enrolment.tokenHash);
    run('UPDATE global SET last_agent_number = ?', number);
    run(
      'INSERT INTO agent (agent_id, number, name, site, public_key, seal_key, version, first_seen_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      ...[agentId, number, name, site, publicKey, sealKey, version, at],
    );
    return { status: 'enrolled', agentId, number, site };
  }

  /** The first free one after the one given last: a number just freed may still stand in tokens of running dialogs. */
  function freeNumber(): number | undefined {
    const last = Number(one('SELECT last_agent_number AS n FROM global')?.n);
    const taken = new Set(many('SELECT number FROM agent').map((row) => Number(row.number)));
    for (let step = 0; step < MAX_AGENT_NUMBER; step++) {
      const number = ((last + step) % MAX_AGENT_NUMBER) + 1;
      if (!taken.has(number)) return number;
    }
    return undefined;
  }

  return {
    ...changesOf(sql, transaction),
    async putApiToken({ hash, name, role, sites, createdAt, expiresAt }) {
      run(
        'INSERT OR REPLACE INTO api_token (hash, name, role, sites, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)',
        ...[hash, name, role, sites === null ? null : JSON.stringify(sites), createdAt, expiresAt],
      );
    },
    apiTokens: async () => many('SELECT * FROM api_token ORDER BY name, hash').map(readApiToken),
    deleteApiToken: async (hash) => run('DELETE FROM api_token WHERE hash = ?', hash) > 0,
    async apiToken(hash) {
      const row = one('SELECT * FROM api_token WHERE hash = ?', hash);
      return row === undefined ? undefined : readApiToken(row);
    },
    hasJoinToken: async (hash) => one('SELECT 1 FROM join_token WHERE hash = ?', hash) !== undefined,
    async putJoinToken({ hash, site, createdAt, expiresAt }) {
      transaction('IMMEDIATE', () => {
        // Kept for a day past their end, so that a late agent hears "expired" and not "unknown".
        run('DELETE FROM join_token WHERE expires_at < ?', new Date(Date.parse(createdAt) - 86_400_000).toISOString());
        run(
          'INSERT INTO join_token (hash, site, created_at, expires_at) VALUES (?, ?, ?, ?)',
          ...[hash, site, createdAt, expiresAt],
        );
      });
    },
    enrol: async (enrolment) => transaction('IMMEDIATE', () => enrol(enrolment)),
    async identity(agentId) {
      const row = one(`SELECT ${IDENTITY} FROM agent WHERE agent_id = ?`, agentId);
      return row === undefined ? undefined : readIdentity(row);
    },
    agentsAt: async (site, known = new Map()) =>
      many('SELECT agent_id, last_report_at FROM agent WHERE site = ? ORDER BY agent_id', site).flatMap((head) => {
        const before = known.get(String(head.agent_id));
        if (before !== undefined && before.lastReportAt === head.last_report_at) return [before];
        const row = one('SELECT * FROM agent WHERE agent_id = ?', String(head.agent_id));
        return row === undefined ? [] : [readAgent(row)];
      }),
    async agent(agentId) {
      const row = one('SELECT * FROM agent WHERE agent_id = ?', agentId);
      return row === undefined ? undefined : readAgent(row);
    },
    async agents({ limit, cursor = '' }) {
      const sql = 'SELECT * FROM agent WHERE agent_id > ? ORDER BY agent_id LIMIT ?';
      return pageOf(many(sql, cursor, limit + 1), limit, 'agent_id', readAgent);
    },
    recordReport: ({ agentId }, report, at) => reports.record(agentId, report, at),
    setPublicKey: async (agentId, publicKey) =>
      run('UPDATE agent SET public_key = ? WHERE agent_id = ?', publicKey, agentId) > 0,
    setSealKey: async (agentId, sealKey) =>
      run('UPDATE agent SET seal_key = ? WHERE agent_id = ?', sealKey, agentId) > 0,
    deleteAgent: async (agentId) => run('DELETE FROM agent WHERE agent_id = ?', agentId) > 0,
    signingKeys: async () => many('SELECT * FROM signing_key ORDER BY sequence').map(readSigningKey),
    addSigningKey: async ({ sequence, x, signature, wrapped, createdAt }) =>
      run(
        'INSERT OR IGNORE INTO signing_key (sequence, x, signature, wrapped, created_at) VALUES (?, ?, ?, ?, ?)',
        ...[sequence, x, signature, wrapped, createdAt],
      ) > 0,
    async close() {
      if (!db.isOpen) return;
      reports.flush();
      statements.clear();
      db.close();
    },
  };
}

function openDatabase(file: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    // It holds keys: its owner's only. SQLite gives its -wal and -shm files the same mode.
    if (file !== ':memory:') closeSync(openSync(file, 'a', 0o600));
    db = new DatabaseSync(file, { timeout: 5000 });
    db.exec('PRAGMA journal_mode = WAL');
    // Two processes may open a new file at once: the second waits here and then finds the tables.
    db.exec('BEGIN IMMEDIATE');
    const version = Number((db.prepare('PRAGMA user_version').get() as Row).user_version);
    if (version > SCHEMA_VERSION)
      throw new Error(`it was written by a newer version (schema ${version}; this one reads up to ${SCHEMA_VERSION})`);
    if (version === 0) db.exec(SCHEMA);
    for (const migrate of MIGRATIONS.slice(Math.max(0, version - 1))) migrate(db);
    db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    db.exec('COMMIT');
    return db;
  } catch (error) {
    db?.close();
    throw new Error(`cannot open the store ${file}: ${(error as Error).message}`, { cause: error });
  }
}

const text = (value: unknown) => (value === null ? null : String(value));

function readApiToken(row: Row): ApiToken {
  return {
    hash: String(row.hash),
    name: String(row.name),
    role: row.role as ApiToken['role'],
    sites: row.sites === null ? null : (JSON.parse(String(row.sites)) as string[]),
    createdAt: String(row.created_at),
    expiresAt: text(row.expires_at),
  };
}

/** All that {@link readIdentity} reads: reports are long, and not needed to know who asks. */
const IDENTITY = 'agent_id, number, name, site, public_key, seal_key, version, first_seen_at';

function readIdentity(row: Row): AgentIdentity {
  return {
    agentId: String(row.agent_id),
    number: Number(row.number),
    name: String(row.name),
    site: String(row.site),
    publicKey: String(row.public_key),
    sealKey: text(row.seal_key),
    version: String(row.version),
    firstSeenAt: String(row.first_seen_at),
  };
}

function readAgent(row: Row): AgentRecord {
  return {
    ...readIdentity(row),
    lastReportAt: text(row.last_report_at),
    report: row.report === null ? null : (JSON.parse(String(row.report)) as AgentReport),
  };
}

function readSigningKey(row: Row): StoredSigningKey {
  return {
    sequence: Number(row.sequence),
    x: String(row.x),
    signature: String(row.signature),
    wrapped: String(row.wrapped),
    createdAt: String(row.created_at),
  };
}
