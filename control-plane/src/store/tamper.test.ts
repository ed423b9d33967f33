import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DeleteItemCommand, GetItemCommand, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { Site } from '@sipfleet/contract';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { verifyChain } from '../audit-chain.ts';
import { putNow } from './change-set.fixture.ts';
import { openDynamoStore } from './dynamo.ts';
import { type DynamoLocal, noDynamoLocal, startDynamoLocal } from './dynamo-local.fixture.ts';
import { openSqliteStore } from './sqlite.ts';
import type { Store } from './store.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** Five entries, then what somebody with write access to the store does to them; what verification says. */
async function found(open: () => Promise<Store>, tamper: () => Promise<void> | void): Promise<string[]> {
  const store = await open();
  for (const name of ['a', 'b', 'c', 'd', 'e']) await putNow(store, Site.parse({ kind: 'Site', name }));
  await store.close();
  await tamper();
  const after = await open();
  const verifier = verifyChain();
  let cursor: string | undefined;
  do {
    const page = await after.audit({ limit: 2, cursor });
    for (const entry of page.items) verifier.take(entry);
    cursor = page.cursor;
  } while (cursor !== undefined);
  const { faults } = verifier.end(await after.auditHead());
  await after.close();
  return faults.map(({ sequence, message }) => `${sequence} ${message.split(':')[0]}`);
}

const REPLACED = 'it does not follow from the entry before';

describe('the audit log in a SQLite file', () => {
  const dir = mkdtempSync(join(tmpdir(), 'sipfleet-tamper-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  let files = 0;

  test.each([
    ['untouched', 'SELECT 1', []],
    [
      'an actor changed',
      `UPDATE audit SET entry = replace(entry, 'tester', 'nobody') WHERE sequence = 3`,
      ['3 changed'],
    ],
    ['an entry removed', 'DELETE FROM audit WHERE sequence = 2', ['2 missing']],
    ['the newest removed', 'DELETE FROM audit WHERE sequence = 5', ['5 missing']],
    [
      'the newest removed, and the end moved with it',
      `DELETE FROM audit WHERE sequence = 5; UPDATE global SET audit_sequence = 4`,
      ['4 the store says that the log ends with entry 4 and hash'],
    ],
    [
      'two exchanged',
      `UPDATE audit SET sequence = 99, revision = 99 WHERE sequence = 2; UPDATE audit SET sequence = 2, revision = 98 WHERE sequence = 3;
       UPDATE audit SET sequence = 3 WHERE sequence = 99`,
      ['2 missing', '2 out of order', '3 missing'],
    ],
  ])('%s', async (_, sql, expected) => {
    const file = join(dir, `${files++}.db`);
    const tampered = await found(
      async () => openSqliteStore(file),
      () => {
        const db = new DatabaseSync(file);
        db.exec(sql);
        db.close();
      },
    );
    expect(tampered.map((fault) => fault.replace(/ hash [0-9a-f]{64}$/, ' hash'))).toEqual(expected);
  });
});

describe.skipIf(noDynamoLocal)('the audit log in a DynamoDB table', () => {
  let local: DynamoLocal;
  beforeAll(async () => {
    local = await startDynamoLocal();
  });
  afterAll(() => local.stop());

  const keyOf = (sequence: number) => ({ pk: { S: 'AUDIT' }, sk: { S: String(sequence).padStart(12, '0') } });
  async function tampered(work: (client: ReturnType<DynamoLocal['connect']>, TableName: string) => Promise<void>) {
    const TableName = await local.table();
    return found(
      async () => openDynamoStore(local.connect(), TableName),
      async () => {
        const client = local.connect();
        await work(client, TableName);
        client.destroy();
      },
    );
  }

  test('a changed item, a removed one, and one put in the place of another', async () => {
    expect(await tampered(async () => {})).toEqual([]);
    const read = async (client: ReturnType<DynamoLocal['connect']>, TableName: string, sequence: number) =>
      (await client.send(new GetItemCommand({ TableName, Key: keyOf(sequence) }))).Item as { entry: { S: string } };
    expect(
      await tampered(async (client, TableName) => {
        const item = await read(client, TableName, 3);
        const entry = { S: item.entry.S.replace('tester', 'nobody') };
        await client.send(new PutItemCommand({ TableName, Item: { ...item, entry } }));
      }),
    ).toEqual(['3 changed']);
    expect(
      await tampered(async (client, TableName) => {
        await client.send(new DeleteItemCommand({ TableName, Key: keyOf(2) }));
      }),
    ).toEqual(['2 missing']);
    expect(
      await tampered(async (client, TableName) => {
        const item = await read(client, TableName, 3);
        const entry = { S: item.entry.S.replace('"sequence":3', '"sequence":2') };
        await client.send(new PutItemCommand({ TableName, Item: { ...item, ...keyOf(2), entry } }));
      }),
    ).toEqual([`2 ${REPLACED}`, '2 changed', `3 ${REPLACED}`]);
  });
});
