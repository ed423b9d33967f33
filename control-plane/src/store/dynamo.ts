import { gunzipSync, gzipSync } from 'node:zlib';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import type { AgentReport } from '@sipfleet/contract';
import {
  type AgentIdentity,
  type AgentRecord,
  type ApiToken,
  MAX_AGENT_NUMBER,
  type Role,
  type StoredSigningKey,
} from '../domain/identity.ts';
import { changesOf, pageOf, secondsOf } from './dynamo-changes.ts';
import { backOff } from './dynamo-configuration.ts';
import { conditions, type Item, key, numberOf, type Table, tableOf, textOf } from './dynamo-table.ts';
import { type Enrolment, type EnrolOutcome, enrolledBefore, type Store } from './store.ts';

/** The store in one DynamoDB table (see dynamo-table.ts for its keys). Closes the client with itself. */
export function openDynamoStore(client: DynamoDBClient, tableName: string): Store {
  const table = tableOf(client, tableName);

  return {
    ...changesOf(table),
    putApiToken: ({ hash, name, role, sites, createdAt, expiresAt }) =>
      table.put(key.apiToken(hash), {
        ...{ name, role, createdAt },
        ...(sites === null ? {} : { sites: JSON.stringify(sites) }),
        // Kept for a month past its end, so that its holder hears "expired" and not "unknown".
        ...(expiresAt === null ? {} : { expiresAt, ttl: secondsOf(expiresAt) + 30 * 86_400 }),
      }),
    async apiToken(hash) {
      const item = await table.get(key.apiToken(hash));
      return item === undefined ? undefined : readApiToken(item);
    },
    apiTokens: async () => (await table.query('API_TOKEN')).map(readApiToken),
    async deleteApiToken(hash) {
      const there = (await table.get(key.apiToken(hash))) !== undefined;
      if (there) await table.remove(key.apiToken(hash));
      return there;
    },
    hasJoinToken: async (hash) => (await table.get(key.joinToken(hash))) !== undefined,
    putJoinToken: ({ hash, site, createdAt, expiresAt }) =>
      // Kept for a day past its end, so that a late agent hears "expired" and not "unknown".
      table.put(key.joinToken(hash), {
        site,
        createdAt,
        expiresAt,
        ttl: secondsOf(expiresAt) + 86_400,
      }),
    enrol: (enrolment) => enrol(table, enrolment),
    identity: (agentId) => identityOf(table, agentId),
    async agent(agentId) {
      const identity = await identityOf(table, agentId);
      if (identity === undefined) return undefined;
      return withReport(identity, await table.get(key.report(identity.site, agentId)));
    },
    async agents(page) {
      const { items, ...more } = await pageOf(table, 'AGENT', page, '', readIdentity);
      const reports = await table.getMany(items.map(({ site, agentId }) => key.report(site, agentId)));
      const byId = new Map(reports.map((item) => [textOf(item, 'sk'), item]));
      return { items: items.map((identity) => withReport(identity, byId.get(identity.agentId))), ...more };
    },
    agentsAt: async (site, known = new Map()) =>
      (await table.query(`REPORT#${site}`, { lagging: true })).map((item) => {
        const agentId = textOf(item, 'sk');
        const before = known.get(agentId);
        if (before !== undefined && before.lastReportAt === (item.lastReportAt?.S ?? null)) return before;
        const [number, name, firstSeenAt] = [
          numberOf(item, 'number'),
          textOf(item, 'name'),
          textOf(item, 'firstSeenAt'),
        ];
        return { agentId, number, name, site, firstSeenAt, ...reportOf(item) };
      }),
    recordReport: ({ agentId, site }, report, at) =>
      table.update(
        key.report(site, agentId),
        { version: report.version, lastReportAt: at, report: packReport(report) },
        conditions.present,
      ),
    setPublicKey: (agentId, publicKey) => table.update(key.agent(agentId), { publicKey }, conditions.present),
    setSealKey: (agentId, sealKey) => table.update(key.agent(agentId), { sealKey }, conditions.present),
    deleteAgent: (agentId) => deleteAgent(table, agentId),
    signingKeys: async () => (await table.query('SIGNING_KEY')).map(readSigningKey),
    async addSigningKey(added) {
      const { sequence, ...rest } = added;
      if (await table.update(key.signingKey(sequence), { sequence, ...rest }, conditions.absent)) return true;
      // It may be this very one, whose answer was lost.
      const item = await table.get(key.signingKey(sequence));
      return item !== undefined && readSigningKey(item).wrapped === added.wrapped;
    },
    async close() {
      client.destroy();
    },
  };
}

/** Reads, decides, and writes under the condition that what was read still holds; again where another agent enrolled meanwhile. */
async function enrol(table: Table, enrolment: Enrolment): Promise<EnrolOutcome> {
  const { put, set, check } = table.actions;
  for (let attempt = 0; attempt < 100; attempt++) {
    const token = await table.get(key.joinToken(enrolment.tokenHash));
    if (token === undefined) return { status: 'unknown' };
    if (token.usedBy !== undefined) {
      const item = await table.get(key.agent(textOf(token, 'usedBy')));
      return enrolledBefore(item === undefined ? undefined : readIdentity(item), enrolment);
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
      set(key.lastNumber, { number }, last === 0 ? conditions.absent : conditions.equal({ number: last })),
      put(key.number(number), { agentId }, conditions.absent),
      put(
        key.agent(agentId),
        { number, name, site, publicKey, ...(sealKey === null ? {} : { sealKey }), version, firstSeenAt: at },
        conditions.absent,
      ),
      put(key.report(site, agentId), { number, name, version, firstSeenAt: at }),
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
      table.actions.remove(key.report(textOf(item, 'site'), agentId)),
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

/** An item holds at most 400 KB; a report may be 1 MB of JSON that compresses well. Reasons go first: states matter more. */
const MAX_PACKED = 350_000;
function packReport(report: AgentReport): Uint8Array {
  const packed = gzipSync(JSON.stringify(report));
  if (packed.length <= MAX_PACKED) return packed;
  const backends = report.backends.map((backend) => ({ ...backend, reason: '' }));
  return gzipSync(JSON.stringify({ ...report, backends }));
}

async function identityOf(table: Table, agentId: string): Promise<AgentIdentity | undefined> {
  const item = await table.get(key.agent(agentId));
  return item === undefined ? undefined : readIdentity(item);
}

function readIdentity(item: Item): AgentIdentity {
  return {
    agentId: textOf(item, 'sk'),
    number: numberOf(item, 'number'),
    name: textOf(item, 'name'),
    site: textOf(item, 'site'),
    publicKey: textOf(item, 'publicKey'),
    sealKey: item.sealKey?.S ?? null,
    version: textOf(item, 'version'),
    firstSeenAt: textOf(item, 'firstSeenAt'),
  };
}

function reportOf(item: Item | undefined): Pick<AgentRecord, 'lastReportAt' | 'report'> {
  const packed = item?.report?.B;
  const report = packed === undefined ? null : (JSON.parse(gunzipSync(packed).toString()) as AgentReport);
  return { lastReportAt: item?.lastReportAt?.S ?? null, report };
}

function withReport(identity: AgentIdentity, item: Item | undefined): AgentRecord {
  return { ...identity, version: item?.version?.S ?? identity.version, ...reportOf(item) };
}

const readApiToken = (item: Item): ApiToken => ({
  hash: textOf(item, 'sk'),
  name: textOf(item, 'name'),
  role: textOf(item, 'role') as Role,
  sites: item.sites === undefined ? null : (JSON.parse(textOf(item, 'sites')) as string[]),
  createdAt: textOf(item, 'createdAt'),
  expiresAt: item.expiresAt?.S ?? null,
});

function readSigningKey(item: Item): StoredSigningKey {
  return {
    sequence: numberOf(item, 'sequence'),
    x: textOf(item, 'x'),
    signature: textOf(item, 'signature'),
    wrapped: textOf(item, 'wrapped'),
    createdAt: textOf(item, 'createdAt'),
  };
}
