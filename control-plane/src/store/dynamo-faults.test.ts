import { setImmediate as turn } from 'node:timers/promises';
import { Site } from '@sipfleet/contract';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { verifyChain } from '../audit-chain.ts';
import { deleteOf, putNow, putOf, setOf } from './change-set.fixture.ts';
import { changesContract } from './changes.suite.ts';
import { storeContract } from './contract.suite.ts';
import { type DynamoLocal, noDynamoLocal, startDynamoLocal } from './dynamo-local.fixture.ts';
import { everySoOften, type Fate, withFates } from './faults.fixture.ts';
import type { Store } from './store.ts';

// The JVM answers when it gets to it on a busy machine, and the SDK waits before it tries again.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const site = (name: string) => Site.parse({ kind: 'Site', name });

describe.skipIf(noDynamoLocal)('DynamoDB with faults', () => {
  let local: DynamoLocal;
  beforeAll(async () => {
    local = await startDynamoLocal();
  });
  afterAll(() => local.stop());

  describe('answers lost, connections reset, throttling and internal errors, again and again', () => {
    const open = () => local.open((client) => withFates(client, everySoOften()));
    storeContract(open);
    changesContract(open);
  });

  /** A store whose transactions end as told, in order; then as they do. */
  async function fated(...fates: Fate[]): Promise<Store> {
    const next = (command: string) => (command === 'TransactWriteItems' && fates.shift()) || 'answered';
    return local.open((client) => withFates(client, next));
  }
  async function whole(store: Store, entries: number): Promise<void> {
    const verifier = verifyChain();
    for (const entry of (await store.audit({ limit: 1000 })).items) verifier.take(entry);
    expect(verifier.end(await store.auditHead())).toMatchObject({ entries, faults: [] });
  }
  const nine = (fate: Fate): Fate[] => new Array<Fate>(9).fill(fate);

  test.each([
    ['the answer is lost', ['lost']],
    ['it is lost as often as the SDK and more ask', nine('lost')],
    ['it is throttled, then lost', ['throttled', 'lost']],
    ['it fails, then is lost, then fails', ['failed', 'lost', 'failed', 'failed']],
  ] satisfies [string, Fate[]][])('%s: the write is there once, and known to be', async (_, fates) => {
    const store = await fated(...fates);
    expect(await putNow(store, site('milan'))).toEqual({ status: 'written', revision: 1 });
    expect(await store.revision()).toBe(1);
    await whole(store, 1);
    await store.close();
  });

  test('what never reaches the table is an error, and nothing of it is stored', async () => {
    // Four times what the SDK does by itself.
    const store = await fated(...new Array<Fate>(16).fill('unsent'));
    await expect(putNow(store, site('milan'))).rejects.toThrow('the connection was reset');
    expect(await store.revision()).toBe(0);
    await whole(store, 0);
    expect(await putNow(store, site('milan'))).toMatchObject({ status: 'written' });
    await store.close();
  });

  test('an answer lost for longer than DynamoDB knows the request: the entry in the log tells whose it is', async () => {
    // After ten minutes the token is forgotten: as if it were another request.
    let sent = 0;
    const forgetful = await local.open((client) => {
      client.middlewareStack.add(
        (next, context) => (args) => {
          const input = args.input as { ClientRequestToken?: string };
          if (String(context.commandName).startsWith('TransactWriteItems'))
            return next({ ...args, input: { ...input, ClientRequestToken: `forgotten-${sent++}` } as never });
          return next(args);
        },
        { step: 'initialize', name: 'forget' },
      );
      const fates = nine('lost').slice(0, 4);
      return withFates(client, (command) => (command === 'TransactWriteItems' && fates.shift()) || 'answered');
    });
    expect(await putNow(forgetful, site('milan'))).toEqual({ status: 'written', revision: 1 });
    expect(sent).toBe(2);
    await whole(forgetful, 1);
    await forgetful.close();
  });

  test('a rival that writes while the answer is lost: each is told the truth', async () => {
    const table = await local.table();
    const { openDynamoStore } = await import('./dynamo.ts');
    const rival = openDynamoStore(local.connect(), table);
    const fates: Fate[] = ['lost'];
    const lost = Promise.withResolvers<void>();
    const mine = openDynamoStore(
      withFates(local.connect(), (command) => {
        const fate = (command === 'TransactWriteItems' && fates.shift()) || 'answered';
        if (fate === 'lost') lost.resolve();
        return fate;
      }),
      table,
    );
    const first = mine.write(setOf(0, [putOf(site('milan'), null)]));
    await lost.promise;
    let second = await rival.write(setOf(0, [putOf(site('turin'), null)]));
    while (second.status === 'moved' && (await rival.revision()) === 0) {
      await turn();
      second = await rival.write(setOf(0, [putOf(site('turin'), null)]));
    }
    expect([await first, second]).toEqual([{ status: 'written', revision: 1 }, { status: 'moved' }]);
    expect([...(await rival.configuration()).sites.keys()]).toEqual(['milan']);
    await mine.close();
    await rival.close();
  });

  test('a query that does not show the last transaction yet is asked again, changes and removals alike', async () => {
    let old: unknown;
    let stale = 0;
    const store = await local.open((client) => {
      client.middlewareStack.add(
        (next, context) => async (args) => {
          if (context.commandName !== 'QueryCommand') return next(args);
          if (stale > 0 && stale-- > 0) return old as Awaited<ReturnType<typeof next>>;
          return next(args);
        },
        { step: 'initialize', name: 'stale' },
      );
      client.middlewareStack.add(
        (next, context) => async (args) => {
          const result = await next(args);
          if (context.commandName === 'QueryCommand' && stale === 0) old = result;
          return result;
        },
        { step: 'initialize', name: 'remember', priority: 'low' },
      );
      return client;
    });
    const names = async (): Promise<string[]> => [...(await store.configuration()).sites.keys()].sort();
    await store.write(setOf(0, [putOf(site('milan'), null)]));
    expect(await names()).toEqual(['milan']);
    await store.write(setOf(1, [putOf(site('turin'), null)]));
    stale = 3;
    expect(await names()).toEqual(['milan', 'turin']);
    await store.write(setOf(2, [deleteOf('Site', 'milan', 1)]));
    stale = 3;
    expect(await names()).toEqual(['turin']);
    expect(stale).toBe(0);
    await store.close();
  });

  test('a read that is throttled for good is an error, not an empty answer', async () => {
    const store = await local.open((client) => withFates(client, () => 'throttled'));
    await expect(store.configuration()).rejects.toThrow('too many requests');
    await expect(store.get('Site', 'milan')).rejects.toThrow('too many requests');
    await store.close();
  });
});
