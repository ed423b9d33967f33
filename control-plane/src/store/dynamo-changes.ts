import { gunzipSync, gzipSync } from 'node:zlib';
import type { TransactWriteItem } from '@aws-sdk/client-dynamodb';
import { canonicalJson } from '@sipfleet/contract';
import { type AuditEntry, type AuditEvent, chained } from '../audit-chain.ts';
import type { Rollout } from '../domain/rollout.ts';
import type { RolloutProgress } from '../domain/rollout-gate.ts';
import { eventOf, targetOf, versionOf } from './change-set.ts';
import {
  backOff,
  type Changed,
  type Head,
  readConfiguration,
  readHead,
  readResource,
  readRollout,
  unpack,
} from './dynamo-configuration.ts';
import {
  type Condition,
  conditions,
  type Item,
  key,
  numberOf,
  type Table,
  textOf,
  type Values,
} from './dynamo-table.ts';
import type {
  AuditQuery,
  ChangeSet,
  IdempotencyRecord,
  PageOf,
  PageRequest,
  ResourceVersion,
  ResourceWrite,
  Store,
  StoredSnapshot,
  WriteOutcome,
} from './store.ts';

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
export function changesOf(table: Table): Changes {
  return {
    revision: async () => (await readHead(table)).revision,
    configuration: () => readConfiguration(table),
    async get(kind, name) {
      const item = await table.get(key.resource(kind, name));
      return item === undefined ? undefined : readResource(item);
    },
    list: (kind, page) => pageOf(table, 'CONFIG', page, `${kind}#`, readResource),
    write: (set) => writeChangeSet(table, set),
    async idempotency(id, at) {
      const record = await readIdempotency(table, id);
      return record !== undefined && record.expiresAt > at ? record : undefined;
    },
    history: (kind, name, page) => pageOf(table, key.version(kind, name, 0).pk, page, '', readVersion, true),
    async version(kind, name, revision) {
      // `after` is exclusive, and revisions are whole numbers.
      const { pk, sk } = key.version(kind, name, revision + 1);
      const [item] = await table.query(pk, { after: sk, limit: 1, descending: true });
      return item === undefined ? undefined : readVersion(item);
    },
    audit: (query) => auditPage(table, query),
    auditHead: () => readHead(table),
    appendAudit: (event) => appendAudit(table, event),
    putSnapshot: ({ etag, site, generation, body, expiresAt }) =>
      table.put(key.snapshot(etag), {
        site,
        generation,
        ...(body === null ? {} : { body }),
        expiresAt,
        ttl: secondsOf(expiresAt),
      }),
    async snapshot(etag, at) {
      const item = await table.get(key.snapshot(etag));
      // DynamoDB removes what has expired within days, not at once.
      return item === undefined || textOf(item, 'expiresAt') <= at ? undefined : readSnapshot(etag, item);
    },
    rollouts: (page) => pageOf(table, 'ROLLOUT', page, '', readRollout, true),
    async rolloutProgress(number) {
      const item = await table.get(key.rolloutProgress(number));
      return item === undefined ? undefined : unpack<RolloutProgress>(item, 'progress');
    },
    putRolloutProgress: (progress) => {
      const { number, version } = progress;
      const before = version === 1 ? conditions.absent : conditions.equal({ version: version - 1 });
      return table.update(key.rolloutProgress(number), { version, progress: pack(progress) }, before);
    },
    async outbox(limit) {
      const items = await table.query('OUTBOX', { limit });
      return items.map((item) => ({
        revision: numberOf(item, 'revision'),
        affects: JSON.parse(textOf(item, 'affects')) as string[],
      }));
    },
    settle: (revision) => table.remove(key.outbox(revision)),
  };
}

/** RFC 3339 → whole seconds since the epoch, as DynamoDB's TTL wants them. */
export const secondsOf = (at: string): number => Math.ceil(Date.parse(at) / 1000);

/** A hint that did not go out within a day is moot: agents have asked a thousand times since. */
const OUTBOX_SECONDS = 86_400;

/** @param newestFirst by descending sort key */
export async function pageOf<T>(
  table: Table,
  pk: string,
  { limit, cursor }: PageRequest,
  prefix: string,
  read: (item: Item) => T,
  newestFirst = false,
): Promise<PageOf<T>> {
  const after = cursor === undefined ? {} : { after: prefix + cursor };
  const items = await table.query(pk, { prefix, ...after, limit: limit + 1, descending: newestFirst });
  const page = items.slice(0, limit);
  if (items.length <= limit) return { items: page.map(read) };
  return { items: page.map(read), cursor: textOf(page.at(-1) as Item, 'sk').slice(prefix.length) };
}

/** The head is still what was read. */
const unmoved = ({ sequence, revision }: Head): Condition =>
  sequence === 0 ? conditions.absent : conditions.equal({ revision, sequence });

/**
 * Reads where the log stands, then writes under the condition that it still stands there. Again where only an entry that is no change
 * came in between. An answer that was lost is no failure: one of the entries that were tried has the set's id, or none has.
 */
async function writeChangeSet(table: Table, set: ChangeSet): Promise<WriteOutcome> {
  const tried: number[] = [];
  for (let attempt = 0; attempt < 100; attempt++) {
    const head = await readHead(table);
    if (head.revision !== set.base) break;
    tried.push(head.sequence + 1);
    if (await table.transact(itemsOf(table, set, head), tokenOf(set.id, attempt)))
      return { status: 'written', revision: set.base + 1 };
    if (await isStored(table, tried, set.id)) return { status: 'written', revision: set.base + 1 };
    const refused = await refusal(table, set);
    if (refused.status !== 'moved') return refused;
    await backOff(attempt);
  }
  return (await isStored(table, tried, set.id))
    ? { status: 'written', revision: set.base + 1 }
    : await refusal(table, set);
}

/** DynamoDB takes at most 36 characters. */
const tokenOf = (id: string, attempt: number): string => `${id.slice(0, 32)}.${attempt}`;

async function isStored(table: Table, sequences: readonly number[], id: string): Promise<boolean> {
  for (const sequence of sequences) {
    const item = await table.get(key.audit(sequence));
    if (item !== undefined && readAudit(item).id === id) return true;
  }
  return false;
}

/** Everything of one change set. At most three items per write and four more, and two of a rollout: see MAX_WRITES. */
function itemsOf(table: Table, set: ChangeSet, head: Head): TransactWriteItem[] {
  const { put, set: update } = table.actions;
  const next = set.base + 1;
  const entry = chained(head, eventOf(set));
  const { sequence, hash } = entry;
  const items: TransactWriteItem[] = [
    update(key.revision, { revision: next, sequence, hash, changed: JSON.stringify(changedBy(set)) }, unmoved(head)),
    put(key.audit(sequence), { revision: next, entry: canonicalJson(entry) }, conditions.absent),
    put(key.outbox(next), {
      revision: next,
      affects: JSON.stringify(set.affects),
      ttl: secondsOf(set.at) + OUTBOX_SECONDS,
    }),
    ...set.writes.flatMap((write) => itemsOfWrite(table, set, write)),
    ...(set.rollout === undefined ? [] : itemsOfRollout(table, set.rollout, next)),
  ];
  if (set.idempotency !== undefined) {
    const { key: id, request, answer, expiresAt } = set.idempotency;
    const values = { request, answer, expiresAt, ttl: secondsOf(expiresAt) };
    items.push(put(key.idempotency(id), values, conditions.absentOrUntil(set.at)));
  }
  return items;
}

function changedBy(set: ChangeSet): Changed[] {
  const resources = set.writes.map((write): Changed => {
    const { kind, name } = targetOf(write);
    return [key.resource(kind, name).sk, write.action === 'delete' ? null : versionOf(set, write).revision];
  });
  return set.rollout === undefined ? resources : [...resources, [key.rollout.sk, set.base + 1]];
}

/** Twice: in the configuration, which every agent's target follows from, and in the list of all there were. */
function itemsOfRollout({ actions: { put } }: Table, rollout: Rollout, revision: number): TransactWriteItem[] {
  const values = { number: rollout.number, revision, rollout: pack(rollout) };
  return [put(key.rollout, values), put(key.rolloutRecord(rollout.number), values)];
}

const pack = (value: object): Uint8Array => gzipSync(JSON.stringify(value));
function itemsOfWrite(table: Table, set: ChangeSet, write: ResourceWrite): TransactWriteItem[] {
  const { put, remove } = table.actions;
  const { kind, name } = targetOf(write);
  const at = key.resource(kind, name);
  const { expected } = write;
  const unchanged = expected === null ? conditions.absent : conditions.equal({ revision: expected });
  const { revision, spec, ...version } = versionOf(set, write);
  const kept: Values = { ...version, ...(spec === null ? {} : { spec: gzipSync(JSON.stringify(spec)) }) };
  const resource =
    write.action === 'delete'
      ? remove(at, unchanged)
      : put(
          at,
          {
            revision,
            updatedAt: set.at,
            spec: JSON.stringify(write.spec),
            tokenKeys: JSON.stringify(write.tokenKeys),
          },
          unchanged,
        );
  const items = [resource, put(key.version(kind, name, revision), kept)];
  if (write.departures !== undefined) items.push(put(key.departure(name), { sites: JSON.stringify(write.departures) }));
  return items;
}

/** Why a change set was not written. */
async function refusal(table: Table, set: ChangeSet): Promise<WriteOutcome> {
  if (set.idempotency !== undefined) {
    const record = await readIdempotency(table, set.idempotency.key);
    if (record !== undefined && record.expiresAt > set.at) return { status: 'repeated', record };
  }
  for (const write of set.writes) {
    const { kind, name } = targetOf(write);
    const item = await table.get(key.resource(kind, name));
    const actual = item === undefined ? null : numberOf(item, 'revision');
    if (actual !== write.expected) return { status: 'stale', kind, name, actual };
  }
  return { status: 'moved' };
}

async function appendAudit(table: Table, event: AuditEvent): Promise<AuditEntry> {
  const tried: AuditEntry[] = [];
  for (let attempt = 0; attempt < 100; attempt++) {
    const head = await readHead(table);
    const entry = chained(head, event);
    const { sequence, hash } = entry;
    const items = [
      table.actions.set(key.revision, { revision: head.revision, sequence, hash }, unmoved(head)),
      table.actions.put(key.audit(sequence), { entry: canonicalJson(entry) }, conditions.absent),
    ];
    tried.push(entry);
    if (await table.transact(items, tokenOf(event.id, attempt))) return entry;
    for (const earlier of tried) if (await isStored(table, [earlier.sequence], event.id)) return earlier;
    await backOff(attempt);
  }
  throw new Error('100 other entries came first: try again');
}

async function auditPage(table: Table, query: AuditQuery): Promise<PageOf<AuditEntry>> {
  const { limit, newestFirst = false, changesOnly = false } = query;
  if (!changesOnly) return pageOf(table, 'AUDIT', query, '', readAudit, newestFirst);
  const items: AuditEntry[] = [];
  let cursor = query.cursor;
  do {
    const page = await pageOf(table, 'AUDIT', { limit, cursor }, '', readAudit, newestFirst);
    items.push(...page.items.filter(({ revision }) => revision !== null));
    cursor = page.cursor;
  } while (cursor !== undefined && items.length <= limit);
  if (items.length <= limit) return { items };
  const kept = items.slice(0, limit);
  return { items: kept, cursor: key.audit((kept.at(-1) as AuditEntry).sequence).sk };
}

const readAudit = (item: Item): AuditEntry => JSON.parse(textOf(item, 'entry')) as AuditEntry;

function readVersion(item: Item): ResourceVersion {
  const spec = item.spec?.B;
  return {
    revision: Number(textOf(item, 'sk')),
    at: textOf(item, 'at'),
    actor: textOf(item, 'actor'),
    action: textOf(item, 'action') as ResourceVersion['action'],
    spec: spec === undefined ? null : (JSON.parse(gunzipSync(spec).toString()) as ResourceVersion['spec']),
  };
}

async function readIdempotency(table: Table, id: string): Promise<IdempotencyRecord | undefined> {
  const item = await table.get(key.idempotency(id));
  if (item === undefined) return undefined;
  const { request, answer, expiresAt } = {
    request: textOf(item, 'request'),
    answer: textOf(item, 'answer'),
    expiresAt: textOf(item, 'expiresAt'),
  };
  return { key: id, request, answer, expiresAt };
}

const readSnapshot = (etag: string, item: Item): StoredSnapshot => ({
  etag,
  site: textOf(item, 'site'),
  generation: numberOf(item, 'generation'),
  body: item.body?.B ?? null,
  expiresAt: textOf(item, 'expiresAt'),
});
