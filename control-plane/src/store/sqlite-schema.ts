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
export const MIGRATIONS: readonly string[] = [
  `
ALTER TABLE agent ADD COLUMN seal_key TEXT;

CREATE TABLE signing_key (
  sequence INTEGER PRIMARY KEY,
  x TEXT NOT NULL,
  signature TEXT NOT NULL,
  wrapped TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;
`,
];

/** `PRAGMA user_version` of a file written by this version. */
export const SCHEMA_VERSION = MIGRATIONS.length + 1;
