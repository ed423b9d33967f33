import { setImmediate } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { canonicalJson, Farm, Site } from '@sipfleet/contract';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AuditEntry, EMPTY_LOG, sha256, verifyChain } from '../audit-chain.ts';
import type { SealedSecret } from '../domain/secrets.ts';
import { createDrain } from '../push/outbox.ts';
import { AT, deleteOf, putNow, putOf, setOf } from './change-set.fixture.ts';
import { type IdempotencyRecord, MAX_WRITES, type Store } from './store.ts';

const site = (name: string, description = 'a') => Site.parse({ kind: 'Site', name, description });
const farm = (name: string, port = 5060, sites = ['milan']) =>
  Farm.parse({
    kind: 'Farm',
    name,
    sites,
    listeners: [{ transport: 'udp', port }],
    backends: [{ name: 'pbx1', address: '10.0.0.11' }],
  });
const LATER = '2099-01-03T03:04:05.000Z';

/** What both stores must do with what is stored beside resources: change sets, history, the audit log, idempotency records, snapshots. */
export function changesContract(open: () => Promise<Store>): void {
  let store: Store;
  const fresh = (title: string, body: () => void) =>
    describe(title, () => {
      beforeAll(async () => {
        store = await open();
      });
      afterAll(() => store.close());
      body();
    });
  const log = async (): Promise<AuditEntry[]> => (await store.audit({ limit: 1000 })).items;
  async function verified() {
    const verifier = verifyChain();
    for (const entry of await log()) verifier.take(entry);
    return verifier.end(await store.auditHead());
  }

  fresh('change sets', () => {
    test('several resources become one revision, with one entry in log and outbox', async () => {
      await store.write(setOf(0, [putOf(site('milan'), null), putOf(farm('old'), null)]));
      const set = setOf(1, [deleteOf('Farm', 'old', 1), putOf(farm('new'), null), putOf(site('milan', 'b'), 1)]);
      expect(await store.write(set)).toEqual({ status: 'written', revision: 2 });
      const { farms, sites, revision } = await store.configuration();
      expect([revision, [...farms.keys()], sites.get('milan')?.revision]).toEqual([2, ['new'], 2]);
      expect((await log()).map(({ changes }) => changes.map(({ action, name, from }) => [action, name, from]))).toEqual(
        [
          [
            ['create', 'milan', null],
            ['create', 'old', null],
          ],
          [
            ['delete', 'old', 1],
            ['create', 'new', null],
            ['update', 'milan', 1],
          ],
        ],
      );
      expect((await store.outbox(10)).map((entry) => entry.revision)).toEqual([1, 2]);
    });

    test('one write that is stale keeps all of them out', async () => {
      const before = await store.configuration();
      const outcome = await store.write(setOf(2, [putOf(farm('third', 5070), null), deleteOf('Farm', 'new', 1)]));
      expect(outcome).toEqual({ status: 'stale', kind: 'Farm', name: 'new', actual: 2 });
      expect(await store.configuration()).toEqual(before);
      expect((await log()).length).toBe(2);
      expect(await store.version('Farm', 'third', 9)).toBeUndefined();
    });

    test('the largest set that there may be fits: every farm leaves a site, each with a record of its own', async () => {
      const names = Array.from({ length: MAX_WRITES }, (_, i) => `bulk-${i}`);
      const record = { key: 'k', request: 'r', answer: '{}', expiresAt: LATER };
      await store.write(
        setOf(
          2,
          names.map((name, i) => putOf(farm(name, 7000 + i, ['milan', 'rome']), null)),
        ),
      );
      const writes = names.map((name, i) => ({ ...putOf(farm(name, 7000 + i), 3), departures: { rome: 4 } }));
      expect(await store.write(setOf(3, writes, { idempotency: record }))).toEqual({ status: 'written', revision: 4 });
      expect((await store.configuration()).departures.size).toBe(MAX_WRITES);
    });

    test('a farm of 500 sites is one item, whatever number of agents it reaches', async () => {
      const sites = Array.from({ length: 500 }, (_, i) => `site-${String(i).padStart(3, '0')}-${'x'.repeat(50)}`);
      expect(await putNow(store, farm('everywhere', 9000, sites))).toMatchObject({ status: 'written' });
      expect((await store.outbox(100)).at(-1)?.affects.length).toBe(500);
    });
  });

  fresh('history', () => {
    test('every version is kept, newest first, in pages, also of what is deleted', async () => {
      await putNow(store, site('milan', 'one'));
      await putNow(store, site('turin'));
      await putNow(store, site('milan', 'three'));
      await store.write(setOf(3, [deleteOf('Site', 'milan', 3)]));
      await putNow(store, site('milan', 'five'));
      const first = await store.history('Site', 'milan', { limit: 3 });
      expect(first.items.map(({ revision, action, spec }) => [revision, action, spec])).toEqual([
        [5, 'create', site('milan', 'five')],
        [4, 'delete', null],
        [3, 'update', site('milan', 'three')],
      ]);
      const rest = await store.history('Site', 'milan', { limit: 3, cursor: first.cursor });
      expect(rest).toEqual({
        items: [{ revision: 1, at: AT, actor: 'tester', action: 'create', spec: site('milan', 'one') }],
      });
      expect((await store.history('Site', 'nowhere', { limit: 3 })).items).toEqual([]);
    });

    test('a resource as it was at any revision', async () => {
      const at = async (revision: number) => (await store.version('Site', 'milan', revision))?.revision;
      expect(await Promise.all([0, 1, 2, 3, 4, 5, 99].map(at))).toEqual([undefined, 1, 1, 3, 4, 5, 5]);
    });

    test('of a Secret nothing is kept that opens it', async () => {
      const sealed: SealedSecret = {
        kind: 'Secret',
        name: 'tls',
        fingerprints: { key: '0123' },
        wrappedKey: 'WRAPPED',
        box: 'BOXED',
      };
      await putNow(store, sealed);
      const kept = await store.history('Secret', 'tls', { limit: 1 });
      expect(kept.items[0]?.spec).toEqual({ kind: 'Secret', name: 'tls', fingerprints: { key: '0123' } });
      expect(JSON.stringify([kept, await log()])).not.toMatch(/WRAPPED|BOXED/);
    });
  });

  fresh('the audit log', () => {
    test('an empty log begins with zeros', async () => {
      expect(await store.auditHead()).toMatchObject(EMPTY_LOG);
    });

    test('changes and other actions make one chain, whose changes name the hash of what was stored', async () => {
      await putNow(store, site('milan'));
      const event = { id: 'e1', at: AT, actor: 'root', source: 'test', action: 'agent.revoke', revision: null };
      const entry = await store.appendAudit({ ...event, changes: [], details: { agent: 'agt_1' } });
      expect(entry).toMatchObject({ sequence: 2, action: 'agent.revoke', details: { agent: 'agt_1' } });
      await putNow(store, site('milan', 'b'));
      const entries = await log();
      expect(entries.map(({ sequence, revision }) => [sequence, revision])).toEqual([
        [1, 1],
        [2, null],
        [3, 2],
      ]);
      expect(entries[2]?.changes).toEqual([
        { action: 'update', kind: 'Site', name: 'milan', from: 1, sha256: sha256(canonicalJson(site('milan', 'b'))) },
      ]);
      expect(await store.revision()).toBe(2);
      expect(await verified()).toMatchObject({ entries: 3, faults: [] });
    });

    test('newest first, and what made a revision alone', async () => {
      const newest = await store.audit({ limit: 2, newestFirst: true });
      expect(newest.items.map(({ sequence }) => sequence)).toEqual([3, 2]);
      const rest = await store.audit({ limit: 2, newestFirst: true, cursor: newest.cursor });
      expect(rest.items.map(({ sequence }) => sequence)).toEqual([1]);
      const changes = await store.audit({ limit: 1, newestFirst: true, changesOnly: true });
      expect(changes.items.map(({ revision }) => revision)).toEqual([2]);
      const more = await store.audit({ limit: 1, newestFirst: true, changesOnly: true, cursor: changes.cursor });
      expect(more.items.map(({ revision }) => revision)).toEqual([1]);
      expect(more.cursor).toBeUndefined();
    });

    test('20 actions and 20 changes at once are 40 entries without gap', async () => {
      const event = { at: AT, actor: 'root', source: 'test', action: 'x.y', revision: null, changes: [], details: {} };
      const change = async (i: number): Promise<void> => {
        while ((await putNow(store, site(`rival-${i}`))).status !== 'written');
      };
      await Promise.all(
        Array.from({ length: 20 }, (_, i) => [store.appendAudit({ ...event, id: `rival-${i}` }), change(i)]).flat(),
      );
      expect(await verified()).toMatchObject({ entries: 43, faults: [] });
      expect(await store.revision()).toBe(22);
    });
  });

  fresh('idempotency records', () => {
    const record: IdempotencyRecord = { key: 'k', request: 'r', answer: '{"a":1}', expiresAt: LATER };

    test('are stored with their change, and keep a second one out', async () => {
      expect(await store.idempotency('k', AT)).toBeUndefined();
      expect(await putNow(store, site('milan'), { idempotency: record })).toMatchObject({ status: 'written' });
      expect(await store.idempotency('k', AT)).toEqual(record);
      const again = await putNow(store, site('turin'), { idempotency: { ...record, request: 'other' } });
      expect(again).toEqual({ status: 'repeated', record });
      expect(await store.get('Site', 'turin')).toBeUndefined();
      // What was decided on an older state is a repetition all the same.
      expect(await putNow(store, site('milan'), { base: 0, idempotency: record })).toEqual({
        status: 'repeated',
        record,
      });
    });

    test('are not there for a change that was not stored, and not any more when they have expired', async () => {
      await putNow(store, site('milan', 'x'), { expected: 7, idempotency: { ...record, key: 'other' } });
      expect(await store.idempotency('other', AT)).toBeUndefined();
      expect(await store.idempotency('k', LATER)).toBeUndefined();
      const next = { ...record, expiresAt: '2099-01-05T00:00:00.000Z' };
      expect(await putNow(store, site('turin'), { at: LATER, idempotency: next })).toMatchObject({ status: 'written' });
      expect(await store.idempotency('k', LATER)).toEqual(next);
    });
  });

  fresh('the outbox, delivered more than once', () => {
    const log = { error: () => {} };

    test('several processes that drain it at once miss no hint, and leave nothing', async () => {
      for (let i = 0; i < 12; i++) await putNow(store, farm(`f-${i}`, 6000 + i));
      const hinted = new Set<number>();
      const drains = Array.from({ length: 3 }, () =>
        createDrain({ outbox: store, log, hint: (_sites, revision) => void hinted.add(revision) }),
      );
      for (const drain of drains) drain.wake();
      while ((await store.outbox(1)).length > 0) await setImmediate();
      await Promise.all(drains.map((drain) => drain.close()));
      expect([...hinted].sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    });

    test('a process that ends between a hint and its settling: the next one hints again', async () => {
      await putNow(store, farm('last', 6999));
      const hints: number[] = [];
      const hint = (_sites: readonly string[], revision: number) => void hints.push(revision);
      const dying = Promise.withResolvers<void>();
      const first = createDrain({
        log: { error: () => dying.resolve() },
        hint,
        retryMs: 3_600_000,
        outbox: {
          outbox: (limit) => store.outbox(limit),
          settle: () => Promise.reject(new Error('the process ends here')),
        },
      });
      first.wake();
      await dying.promise;
      await first.close();
      expect((await store.outbox(9)).map(({ revision }) => revision)).toEqual([13]);
      const second = createDrain({ outbox: store, log, hint });
      second.wake();
      while ((await store.outbox(1)).length > 0) await setImmediate();
      await second.close();
      expect(hints).toEqual([13, 13]);
      // What is settled already may be settled again.
      await store.settle(13);
    });
  });

  fresh('snapshots', () => {
    test('are found by their hash until they expire', async () => {
      const snapshot = { etag: 'e', site: 'milan', generation: 3, body: gzipSync('{}'), expiresAt: LATER };
      await store.putSnapshot(snapshot);
      const found = await store.snapshot('e', AT);
      expect({ ...found, body: Buffer.from(found?.body ?? []) }).toEqual(snapshot);
      await store.putSnapshot({ ...snapshot, body: null });
      expect((await store.snapshot('e', AT))?.body).toBeNull();
      expect(await store.snapshot('f', AT)).toBeUndefined();
      expect(await store.snapshot('e', LATER)).toBeUndefined();
    });
  });
}
