import { setTimeout as delay } from 'node:timers/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { DynamoDBClient, TransactWriteItem } from '@aws-sdk/client-dynamodb';
import type { AgentReport, Farm, Kind, Site, TokenKey } from '@sipfleet/contract';
import type {
  Configuration,
  Departures,
  StoredFarm,
  StoredResource,
  StoredSecret,
  StoredSpec,
} from '../domain/configuration.ts';
import { type AgentRecord, MAX_AGENT_NUMBER, type Role, type StoredSigningKey } from '../domain/identity.ts';
import { conditions, type Item, key, numberOf, type Table, tableOf, textOf } from './dynamo-table.ts';
import {
  type AuditEntry,
  type Enrolment,
  type EnrolOutcome,
  enrolledBefore,
  type PageOf,
  type PageRequest,
  type ResourceWrite,
  type Store,
  type WriteOutcome,
} from './store.ts';

/** The store in one DynamoDB table (see dynamo-table.ts for its keys). Closes the client with itself. */
export function openDynamoStore(client: DynamoDBClient, tableName: string): Store {
  const table = tableOf(client, tableName);

  async function pageOf<T>(
    pk: string,
    { limit, cursor }: PageRequest,
    prefix: string,
    read: (item: Item) => T,
  ): Promise<PageOf<T>> {
    const after = cursor === undefined ? {} : { after: prefix + cursor };
    const items = await table.query(pk, { prefix, ...after, limit: limit + 1 });
    const page = items.slice(0, limit);
    if (items.length <= limit) return { items: page.map(read) };
    return { items: page.map(read), cursor: textOf(page.at(-1) as Item, 'sk').slice(prefix.length) };
  }

  return {
    revision: () => revisionOf(table),
    configuration: () => readConfiguration(table),
    async get(kind, name) {
      const item = await table.get(key.resource(kind, name));
      return item === undefined ? undefined : readResource(item);
    },
    list: (kind, page) => pageOf('CONFIG', page, `${kind}#`, readResource),
    write: (write) => writeResource(table, write),
    audit: (page) => pageOf('AUDIT', page, '', readAudit),
    async outbox(limit) {
      const items = await table.query('OUTBOX', { limit });
      return items.map((item) => ({
        revision: numberOf(item, 'revision'),
        affects: JSON.parse(textOf(item, 'affects')) as string[],
      }));
    },
    settle: (revision) => table.remove(key.outbox(revision)),
    putApiToken: ({ hash, name, role, createdAt }) => table.put(key.apiToken(hash), { name, role, createdAt }),
    async apiToken(hash) {
      const item = await table.get(key.apiToken(hash));
      if (item === undefined) return undefined;
      const role = textOf(item, 'role') as Role;
      return { hash, name: textOf(item, 'name'), role, createdAt: textOf(item, 'createdAt') };
    },
    putJoinToken: ({ hash, site, createdAt, expiresAt }) =>
      // Kept for a day past its end, so that a late agent hears "expired" and not "unknown".
      table.put(key.joinToken(hash), {
        site,
        createdAt,
        expiresAt,
        ttl: Math.ceil(Date.parse(expiresAt) / 1000) + 86_400,
      }),
    enrol: (enrolment) => enrol(table, enrolment),
    async agent(agentId) {
      const item = await table.get(key.agent(agentId));
      return item === undefined ? undefined : readAgent(item);
    },
    agents: (page) => pageOf('AGENT', page, '', readAgent),
    recordReport: (agentId, report, at) =>
      table.update(
        key.agent(agentId),
        { version: report.version, lastReportAt: at, report: packReport(report) },
        conditions.present,
      ),
    setSealKey: (agentId, sealKey) => table.update(key.agent(agentId), { sealKey }, conditions.present),
    deleteAgent: (agentId) => deleteAgent(table, agentId),
    signingKeys: async () => (await table.query('SIGNING_KEY')).map(readSigningKey),
    addSigningKey: ({ sequence, ...rest }) =>
      table.update(key.signingKey(sequence), { sequence, ...rest }, conditions.absent),
    async close() {
      client.destroy();
    },
  };
}

async function revisionOf(table: Table): Promise<number> {
  const item = await table.get(key.revision);
  return item === undefined ? 0 : numberOf(item, 'revision');
}

/** A query is not isolated from transactions: what it returned is one state only if the revision stood still meanwhile. */
async function readConfiguration(table: Table): Promise<Configuration> {
  let before = await revisionOf(table);
  for (let attempt = 0; attempt < 100; attempt++) {
    const items = await table.query('CONFIG');
    const after = await revisionOf(table);
    if (after === before) return configurationOf(items, before);
    before = after;
    await backOff(attempt);
  }
  throw new Error('the configuration changed 100 times while it was read');
}

function configurationOf(items: Item[], revision: number): Configuration {
  const sites = new Map<string, StoredResource<Site>>();
  const farms = new Map<string, StoredFarm>();
  const secrets = new Map<string, StoredSecret>();
  const departures = new Map<string, Departures>();
  for (const item of items) {
    const [kind, name = ''] = textOf(item, 'sk').split('#');
    if (kind === 'Site') sites.set(name, readResource(item) as StoredResource<Site>);
    else if (kind === 'Farm') farms.set(name, readFarm(item));
    else if (kind === 'Secret') secrets.set(name, readResource(item) as StoredSecret);
    else if (kind === 'Departure') departures.set(name, JSON.parse(textOf(item, 'sites')) as Departures);
  }
  return { revision, sites, farms, secrets, departures };
}

async function writeResource(table: Table, write: ResourceWrite): Promise<WriteOutcome> {
  const { kind, name } = write.action === 'put' ? write.spec : write;
  const { expected, base } = write;
  const next = base + 1;
  const { put, set, remove } = table.actions;
  const unchanged = expected === null ? conditions.absent : conditions.equals('revision', expected);
  const action = write.action === 'delete' ? 'delete' : expected === null ? 'create' : 'update';
  const items: TransactWriteItem[] = [
    set(key.revision, { revision: next }, base === 0 ? conditions.absent : conditions.equals('revision', base)),
    write.action === 'delete'
      ? remove(key.resource(kind, name), unchanged)
      : put(
          key.resource(kind, name),
          {
            revision: next,
            updatedAt: write.at,
            spec: JSON.stringify(write.spec),
            tokenKeys: JSON.stringify(write.tokenKeys),
          },
          unchanged,
        ),
    put(key.audit(next), { revision: next, at: write.at, actor: write.actor, action, kind, name }),
    put(key.outbox(next), { revision: next, affects: JSON.stringify(write.affects) }),
  ];
  if (write.departures !== undefined) items.push(put(key.departure(name), { sites: JSON.stringify(write.departures) }));
  if (await table.transact(items)) return { status: 'written', revision: next };
  const stored = await table.get(key.resource(kind, name));
  const actual = stored === undefined ? null : numberOf(stored, 'revision');
  return actual === expected ? { status: 'moved' } : { status: 'stale', actual };
}

/** Reads, decides, and writes under the condition that what was read still holds; again where another agent enrolled meanwhile. */
async function enrol(table: Table, enrolment: Enrolment): Promise<EnrolOutcome> {
  const { put, set, check } = table.actions;
  for (let attempt = 0; attempt < 100; attempt++) {
    const token = await table.get(key.joinToken(enrolment.tokenHash));
    if (token === undefined) return { status: 'unknown' };
    if (token.usedBy !== undefined) {
      const item = await table.get(key.agent(textOf(token, 'usedBy')));
      return enrolledBefore(item === undefined ? undefined : readAgent(item), enrolment);
    }
    if (textOf(token, 'expiresAt') <= enrolment.at) return { status: 'expired' };
    const site = textOf(token, 'site');
    if ((await table.get(key.resource('Site', site))) === undefined) return { status: 'site-gone' };
    const lastItem = await table.get(key.lastNumber);
    const last = lastItem === undefined ? 0 : numberOf(lastItem, 'number');
    const number = await freeNumber(table, last);
    if (number === undefined) return { status: 'full' };
    const { agentId, name, publicKey, sealKey, version, at } = enrolment;
    const done = await table.transact([
      set(
        key.joinToken(enrolment.tokenHash),
        { usedBy: agentId },
        { expression: 'attribute_exists(#pk) AND attribute_not_exists(#usedBy)' },
      ),
      check(key.resource('Site', site), conditions.present),
      set(key.lastNumber, { number }, last === 0 ? conditions.absent : conditions.equals('number', last)),
      put(key.number(number), { agentId }, conditions.absent),
      put(
        key.agent(agentId),
        { number, name, site, publicKey, ...(sealKey === null ? {} : { sealKey }), version, firstSeenAt: at },
        conditions.absent,
      ),
    ]);
    if (done) return { status: 'enrolled', agentId, number, site };
    await backOff(attempt);
  }
  throw new Error('100 other agents enrolled first: try again');
}

async function deleteAgent(table: Table, agentId: string): Promise<boolean> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const item = await table.get(key.agent(agentId));
    if (item === undefined) return false;
    const done = await table.transact([
      table.actions.remove(key.agent(agentId), conditions.present),
      table.actions.remove(key.number(numberOf(item, 'number'))),
    ]);
    if (done) return true;
    await backOff(attempt);
  }
  throw new Error(`agent ${agentId} is busy: try again`);
}

/** The first free one after the one given last: a number just freed may still stand in tokens of running dialogs. */
async function freeNumber(table: Table, last: number): Promise<number | undefined> {
  const next = (last % MAX_AGENT_NUMBER) + 1;
  if ((await table.get(key.number(next))) === undefined) return next;
  const taken = new Set((await table.query('NUMBER')).map((item) => Number(textOf(item, 'sk'))));
  for (let step = 0; step < MAX_AGENT_NUMBER; step++) {
    const number = ((last + step) % MAX_AGENT_NUMBER) + 1;
    if (!taken.has(number)) return number;
  }
  return undefined;
}

/** Random, so that those who collided once do not collide again. */
const backOff = (attempt: number) => delay(Math.random() * Math.min(200, 5 * 2 ** Math.min(attempt, 6)));

/** An item holds at most 400 KB; a report may be 1 MB of JSON that compresses well. Reasons go first: states matter more. */
const MAX_PACKED = 350_000;
function packReport(report: AgentReport): Uint8Array {
  const packed = gzipSync(JSON.stringify(report));
  if (packed.length <= MAX_PACKED) return packed;
  const backends = report.backends.map((backend) => ({ ...backend, reason: '' }));
  return gzipSync(JSON.stringify({ ...report, backends }));
}

function readResource(item: Item): StoredResource {
  return {
    spec: JSON.parse(textOf(item, 'spec')) as StoredSpec,
    revision: numberOf(item, 'revision'),
    updatedAt: textOf(item, 'updatedAt'),
  };
}

function readFarm(item: Item): StoredFarm {
  const tokenKeys = JSON.parse(textOf(item, 'tokenKeys')) as TokenKey[];
  return { ...(readResource(item) as StoredResource<Farm>), tokenKeys };
}

function readAudit(item: Item): AuditEntry {
  return {
    revision: numberOf(item, 'revision'),
    at: textOf(item, 'at'),
    actor: textOf(item, 'actor'),
    action: textOf(item, 'action') as AuditEntry['action'],
    kind: textOf(item, 'kind') as Kind,
    name: textOf(item, 'name'),
  };
}

function readAgent(item: Item): AgentRecord {
  const packed = item.report?.B;
  return {
    agentId: textOf(item, 'sk'),
    number: numberOf(item, 'number'),
    name: textOf(item, 'name'),
    site: textOf(item, 'site'),
    publicKey: textOf(item, 'publicKey'),
    sealKey: item.sealKey?.S ?? null,
    version: textOf(item, 'version'),
    firstSeenAt: textOf(item, 'firstSeenAt'),
    lastReportAt: item.lastReportAt?.S ?? null,
    report: packed === undefined ? null : (JSON.parse(gunzipSync(packed).toString()) as AgentReport),
  };
}

function readSigningKey(item: Item): StoredSigningKey {
  return {
    sequence: numberOf(item, 'sequence'),
    x: textOf(item, 'x'),
    signature: textOf(item, 'signature'),
    wrapped: textOf(item, 'wrapped'),
    createdAt: textOf(item, 'createdAt'),
  };
}
