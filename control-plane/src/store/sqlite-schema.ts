import type { DatabaseSync } from 'node:sqlite';
import { canonicalJson, type Kind } from '@sipfleet/contract';
import { type AuditChange, chained, EMPTY_LOG, GENESIS } from '../audit-chain.ts';

/** Version 1. Run inside a transaction: a process killed half-way leaves version 0 and no table. */
export const SCHEMA = `
-- One row: the global revision, and the agent number given last.
CREATE TABLE global (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  revision INTEGER NOT NULL,
  last_agent_number INTEGER NOT NULL
) STRICT;
INSERT INTO global VALUES (1, 0, 0);

CREATE TABLE resource (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  revision INTEGER NOT NULL UNIQUE,
  updated_at TEXT NOT NULL,
  spec TEXT NOT NULL,
  token_keys TEXT NOT NULL,
  PRIMARY KEY (kind, name)
) STRICT;

-- The sites a farm has left and the revision at which; outlives the farm.
CREATE TABLE departure (
  farm TEXT PRIMARY KEY,
  sites TEXT NOT NULL
) STRICT;

CREATE TABLE audit (
  revision INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL
) STRICT;

CREATE TABLE outbox (
  revision INTEGER PRIMARY KEY,
  affects TEXT NOT NULL
) STRICT;

CREATE TABLE api_token (
  hash TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;

CREATE TABLE join_token (
  hash TEXT PRIMARY KEY,
  site TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  used_by TEXT
) STRICT;

CREATE TABLE agent (
  agent_id TEXT PRIMARY KEY,
  number INTEGER NOT NULL UNIQUE,
  name TEXT NOT NULL,
  site TEXT NOT NULL,
  public_key TEXT NOT NULL,
  version TEXT NOT NULL,
  first_seen_at TEXT NOT NULL,
  last_report_at TEXT,
  report TEXT
) STRICT;
`;

/** From the version that is the index + 1 to the one after it. A new file goes through all of them. */
export const MIGRATIONS: readonly ((db: DatabaseSync) => void)[] = [
  (db) => db.exec(SEAL_AND_SIGN),
  (db) => {
    db.exec(CHANGE_SETS);
    chainAudit(db);
  },
  (db) => db.exec('CREATE INDEX agent_site ON agent (site)'),
  (db) => db.exec(ROLLOUTS),
  (db) => db.exec('ALTER TABLE api_token ADD COLUMN sites TEXT; ALTER TABLE api_token ADD COLUMN expires_at TEXT;'),
];

/** Version 2. */
const SEAL_AND_SIGN = `
ALTER TABLE agent ADD COLUMN seal_key TEXT;

CREATE TABLE signing_key (
  sequence INTEGER PRIMARY KEY,
  x TEXT NOT NULL,
  signature TEXT NOT NULL,
  wrapped TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;
`;

/** Version 3: several resources change in one revision; history, hash-chained audit, idempotency records, snapshots. */
const CHANGE_SETS = `
CREATE TABLE resource_3 (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  revision INTEGER NOT NULL,
  updated_at TEXT NOT NULL,
  spec TEXT NOT NULL,
  token_keys TEXT NOT NULL,
  PRIMARY KEY (kind, name)
) STRICT;
INSERT INTO resource_3 SELECT kind, name, revision, updated_at, spec, token_keys FROM resource;
DROP TABLE resource;
ALTER TABLE resource_3 RENAME TO resource;

ALTER TABLE global ADD COLUMN audit_sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE global ADD COLUMN audit_hash TEXT NOT NULL DEFAULT '${GENESIS}';

ALTER TABLE audit RENAME TO audit_2;
-- entry: canonical JSON; its hash covers it and the hash of the entry before.
CREATE TABLE audit (
  sequence INTEGER PRIMARY KEY,
  revision INTEGER UNIQUE,
  entry TEXT NOT NULL
) STRICT;

-- What each resource was from a revision on; spec is null where that revision deleted it.
CREATE TABLE version (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  revision INTEGER NOT NULL,
  at TEXT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  spec TEXT,
  PRIMARY KEY (kind, name, revision)
) STRICT;

CREATE TABLE idempotency (
  key TEXT PRIMARY KEY,
  request TEXT NOT NULL,
  answer TEXT NOT NULL,
  expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

CREATE TABLE snapshot (
  etag TEXT PRIMARY KEY,
  site TEXT NOT NULL,
  generation INTEGER NOT NULL,
  body BLOB,
  expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX snapshot_expiry ON snapshot (expires_at);
`;

/** Version 5. */
const ROLLOUTS = `
CREATE TABLE rollout (
  number INTEGER PRIMARY KEY,
  rollout TEXT NOT NULL
) STRICT;

CREATE TABLE rollout_progress (
  number INTEGER PRIMARY KEY,
  version INTEGER NOT NULL,
  progress TEXT NOT NULL
) STRICT;
`;

/** The entries of before, each as one change of one resource, become the beginning of the chain; what they wrote is known of the last alone. */
function chainAudit(db: DatabaseSync): void {
  let head = EMPTY_LOG;
  const insert = db.prepare('INSERT INTO audit (sequence, revision, entry) VALUES (?, ?, ?)');
  const from = new Map<string, number>();
  for (const row of db.prepare('SELECT * FROM audit_2 ORDER BY revision').all() as Record<string, unknown>[]) {
    const [kind, name, revision] = [row.kind as Kind, String(row.name), Number(row.revision)];
    const action = row.action as AuditChange['action'];
    const change = { action, kind, name, from: from.get(`${kind} ${name}`) ?? null, sha256: null };
    const who = { at: String(row.at), actor: String(row.actor), source: 'before the chain' };
    const entry = chained(head, { id: '', ...who, action: 'change', revision, changes: [change], details: {} });
    insert.run(entry.sequence, revision, canonicalJson(entry));
    if (action === 'delete') from.delete(`${kind} ${name}`);
    else from.set(`${kind} ${name}`, revision);
    head = entry;
  }
  db.prepare('UPDATE global SET audit_sequence = ?, audit_hash = ?').run(head.sequence, head.hash);
  db.exec(`
INSERT INTO version SELECT r.kind, r.name, r.revision, r.updated_at, a.actor, a.action,
  CASE r.kind WHEN 'Secret' THEN json_remove(r.spec, '$.wrappedKey', '$.box') ELSE r.spec END
  FROM resource r JOIN audit_2 a ON a.revision = r.revision;
DROP TABLE audit_2;
`);
}

/** `PRAGMA user_version` of a file written by this version. */
export const SCHEMA_VERSION = MIGRATIONS.length + 1;
