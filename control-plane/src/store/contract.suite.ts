import { createHash, randomUUID } from 'node:crypto';
import { type AgentReport, Farm, type Resource, type Secret, Site } from '@sipfleet/contract';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ResourceChange } from '../domain/changes.ts';
import type { StoredSpec } from '../domain/configuration.ts';
import type { AgentRecord } from '../domain/identity.ts';
import type { SealedSecret } from '../domain/secrets.ts';
import { memoryKeys } from '../vault/keys.fixture.ts';
import { createVault } from '../vault/vault.ts';
import { AT, deleteOf, putNow, setOf } from './change-set.fixture.ts';
import { type Commit, createCommit, type Expectation } from './commit.ts';
import { createCurrent } from './current.ts';
import type { Enrolment, PageOf, PageRequest, Store } from './store.ts';

const LATER = '2099-01-02T04:04:05.000Z';
const MUCH_LATER = '2099-01-02T05:04:05.000Z';
const site = (name: string, description?: string) =>
  Site.parse({ kind: 'Site', name, ...(description === undefined ? {} : { description }) });
const farm = (name: string, sites: string[], port = 5060) =>
  Farm.parse({
    kind: 'Farm',
    name,
    sites,
    listeners: [{ transport: 'udp', port }],
    backends: [{ name: 'pbx1', address: '10.0.0.11' }],
  });
const hash = (text: string) => createHash('sha256').update(text).digest('hex');
const report: AgentReport = {
  version: '1.2.3',
  uptimeSeconds: 5,
  snapshot: { status: 'APPLIED', etag: 'e', generation: 3, running: 'e' },
  backends: [{ farm: 'pbx', backend: 'pbx1', state: 'down', since: AT, reason: '3 probes without an answer in 2s' }],
};

/** One change, its outcome as one: what became of the resource, or why nothing did. */
async function commitOne(commit: Commit, change: ResourceChange, expectation: Expectation) {
  const outcome = await commit({ actor: 'tester', source: 'test', changes: [{ change, expectation }] });
  return outcome.status === 'committed' ? { status: outcome.results[0]?.status } : outcome;
}

async function everything<T>(list: (page: PageRequest) => Promise<PageOf<T>>, limit = 100): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const page = await list({ limit, cursor });
    expect(page.items.length).toBeLessThanOrEqual(limit);
    items.push(...page.items);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return items;
}

/** What both stores must do. `open` gives an empty store each time. */
export function storeContract(open: () => Promise<Store>): void {
  let store: Store;
  const secrets = createVault(memoryKeys());
  const put = (spec: StoredSpec, over: Parameters<typeof putNow>[2] = {}) => putNow(store, spec, over);
  const fresh = (title: string, body: () => void) =>
    describe(title, () => {
      beforeAll(async () => {
        store = await open();
      });
      afterAll(async () => {
        await store.close();
        await store.close();
      });
      body();
    });

  fresh('resources', () => {
    test('an empty store is at revision 0 and holds nothing', async () => {
      expect(await store.revision()).toBe(0);
      expect(await store.configuration()).toEqual({
        revision: 0,
        sites: new Map(),
        farms: new Map(),
        secrets: new Map(),
        departures: new Map(),
      });
      expect(await store.get('Site', 'milan')).toBeUndefined();
      expect(await store.outbox(10)).toEqual([]);
      expect(await store.audit({ limit: 10 })).toEqual({ items: [] });
    });

    test('a write stores resource, revision, audit and outbox entry together', async () => {
      expect(await put(site('milan'))).toEqual({ status: 'written', revision: 1 });
      expect(await put(farm('pbx', ['milan']))).toEqual({ status: 'written', revision: 2 });
      expect(await store.get('Farm', 'pbx')).toEqual({ spec: farm('pbx', ['milan']), revision: 2, updatedAt: AT });
      expect(await store.revision()).toBe(2);
      expect(await store.outbox(10)).toEqual([
        { revision: 1, affects: [] },
        { revision: 2, affects: ['milan'] },
      ]);
      expect((await store.audit({ limit: 10 })).items).toEqual([
        expect.objectContaining({
          sequence: 1,
          revision: 1,
          at: AT,
          actor: 'tester',
          source: 'test',
          action: 'change',
        }),
        expect.objectContaining({
          sequence: 2,
          revision: 2,
          at: AT,
          actor: 'tester',
          source: 'test',
          action: 'change',
        }),
      ]);
      const configuration = await store.configuration();
      expect(configuration.revision).toBe(2);
      expect(configuration.farms.get('pbx')?.tokenKeys).toEqual([{ id: 1, key: '00112233445566778899aabbccddeeff' }]);
      expect([...configuration.sites.keys()]).toEqual(['milan']);
    });

    test('a write on another revision of the resource than expected is stale and leaves nothing behind', async () => {
      const stale = { status: 'stale', kind: 'Site' };
      expect(await put(site('milan', 'x'), { expected: 7 })).toEqual({ ...stale, name: 'milan', actual: 1 });
      expect(await put(site('milan', 'x'), { expected: null })).toEqual({ ...stale, name: 'milan', actual: 1 });
      expect(await put(site('turin'), { expected: 1 })).toEqual({ ...stale, name: 'turin', actual: null });
      expect(await store.revision()).toBe(2);
      expect((await store.outbox(10)).length).toBe(2);
      expect((await store.audit({ limit: 10 })).items.length).toBe(2);
      expect((await store.get('Site', 'milan'))?.spec).toEqual(site('milan'));
    });

    test('a write decided on an older configuration is moved and leaves nothing behind', async () => {
      expect(await put(site('milan', 'x'), { base: 1 })).toEqual({ status: 'moved' });
      expect(await put(site('turin'), { base: 0 })).toEqual({ status: 'moved' });
      expect(await store.get('Site', 'turin')).toBeUndefined();
      expect(await store.revision()).toBe(2);
    });

    test('departures are kept when the farm is deleted', async () => {
      const stored = await store.get('Farm', 'pbx');
      const remove = (expected: number) =>
        store.write(setOf(2, [{ ...deleteOf('Farm', 'pbx', expected), departures: { milan: 3 } }], { at: LATER }));
      expect(await remove(1)).toEqual({ status: 'stale', kind: 'Farm', name: 'pbx', actual: 2 });
      expect(await remove(stored?.revision ?? 0)).toEqual({ status: 'written', revision: 3 });
      const configuration = await store.configuration();
      expect(configuration.farms.size).toBe(0);
      expect(configuration.departures).toEqual(new Map([['pbx', { milan: 3 }]]));
      expect((await store.audit({ limit: 10 })).items.at(-1)).toMatchObject({
        revision: 3,
        at: LATER,
        changes: [{ action: 'delete', kind: 'Farm', name: 'pbx', from: 2, sha256: null }],
      });
    });

    test('the outbox gives the oldest first and forgets what is settled', async () => {
      expect((await store.outbox(2)).map((entry) => entry.revision)).toEqual([1, 2]);
      await store.settle(1);
      await store.settle(1);
      expect((await store.outbox(10)).map((entry) => entry.revision)).toEqual([2, 3]);
    });
  });

  fresh('pages', () => {
    test('lists by name, in pages, one kind at a time', async () => {
      const names = ['a', 'a-b', 'b', 'constructor', 'z0', 'z1', 'z2'];
      for (const name of [...names].reverse()) await put(site(name));
      await put(farm('aa', ['a']));
      const all = await everything((page) => store.list('Site', page), 2);
      expect(all.map(({ spec }) => spec.name)).toEqual(names);
      expect((await everything((page) => store.list('Farm', page))).map(({ spec }) => spec.name)).toEqual(['aa']);
      expect((await everything((page) => store.audit(page), 3)).map((entry) => entry.revision)).toEqual([
        1, 2, 3, 4, 5, 6, 7, 8,
      ]);
    });

    test('a page that ends with the list has no cursor', async () => {
      const first = await store.list('Site', { limit: 7 });
      expect(first.items.length).toBe(7);
      expect(first.cursor).toBeUndefined();
      expect((await store.list('Site', { limit: 5, cursor: 'zz' })).items).toEqual([]);
    });
  });

  fresh('secrets', () => {
    const CANARY = 'canary-in-a-coal-mine';
    const secret = (data: Secret['data']): Secret => ({ kind: 'Secret', name: 'tls', data });
    const commits = () => {
      const current = createCurrent(store);
      const now = () => Date.parse(AT);
      return createCommit({ store, current, secrets, now, randomBytes: () => new Uint8Array(16), onCommit: () => {} });
    };
    const write = (spec: Resource, expectation: 'absent' | 'present') =>
      commitOne(commits(), { action: 'put', spec }, expectation);

    test('a Secret is stored sealed, found, listed, and part of the configuration', async () => {
      expect(await write(secret({ privateKey: CANARY }), 'absent')).toMatchObject({ status: 'created' });
      const stored = await store.get('Secret', 'tls');
      expect(stored).toMatchObject({ revision: 1, spec: { kind: 'Secret', name: 'tls' } });
      expect(JSON.stringify(stored)).not.toContain(CANARY);
      expect(await secrets.open(stored?.spec as SealedSecret)).toEqual({ privateKey: CANARY });
      expect((await store.list('Secret', { limit: 10 })).items).toEqual([stored]);
      expect((await store.configuration()).secrets).toEqual(new Map([['tls', stored]]));
    });

    test('the same values are no new revision; another value is one', async () => {
      expect(await write(secret({ privateKey: CANARY }), 'present')).toMatchObject({ status: 'unchanged' });
      expect(await write(secret({ privateKey: 'another' }), 'present')).toMatchObject({ status: 'updated' });
      expect(await store.revision()).toBe(2);
      expect((await store.audit({ limit: 10 })).items.map(({ changes: [c] }) => [c?.action, c?.kind])).toEqual([
        ['create', 'Secret'],
        ['update', 'Secret'],
      ]);
    });

    test('the largest Secret that there may be fits', async () => {
      const value = 'x'.repeat(65_000);
      const data = { a: value, b: value, c: value, d: value };
      expect(await write(secret(data), 'present')).toMatchObject({ status: 'updated' });
      expect(await secrets.open((await store.get('Secret', 'tls'))?.spec as SealedSecret)).toEqual(data);
    });

    test('signing keys are kept in order, and a sequence is taken once', async () => {
      const key = (sequence: number) => ({ sequence, x: `x${sequence}`, signature: 's', wrapped: 'w', createdAt: AT });
      expect(await store.signingKeys()).toEqual([]);
      expect(await store.addSigningKey(key(1))).toBe(true);
      expect(await store.addSigningKey(key(2))).toBe(true);
      expect(await store.addSigningKey({ ...key(2), x: 'other', wrapped: 'other' })).toBe(false);
      expect(await store.signingKeys()).toEqual([key(1), key(2)]);
    });
  });

  fresh('concurrency', () => {
    test('50 writers of one site and of 50 farms: no lost update, no gap or double in the revisions', async () => {
      // Five processes with ten writers each, as far as the store can tell.
      const processes = Array.from({ length: 5 }, () =>
        createCommit({
          store,
          current: createCurrent(store),
          secrets,
          now: () => Date.parse(AT),
          randomBytes: (length) => new Uint8Array(length).fill(7),
          onCommit: () => {},
        }),
      );
      let turn = 0;
      const write = (spec: Resource, expectation: 'absent' | { revision: number }) => {
        const commit = processes[turn++ % processes.length] as Commit;
        return commitOne(commit, { action: 'put', spec }, expectation);
      };
      await write(site('milan', 'start'), 'absent');

      const rivals = await Promise.all(
        Array.from({ length: 50 }, (_, i) => write(site('milan', `writer ${i}`), { revision: 1 })),
      );
      const winners = rivals.flatMap((outcome, i) => (outcome.status === 'updated' ? [i] : []));
      expect(winners.length).toBe(1);
      expect(rivals.filter((outcome) => outcome.status === 'stale').length).toBe(49);
      expect((await store.get('Site', 'milan'))?.spec).toEqual(site('milan', `writer ${winners[0]}`));

      const outcomes = await Promise.all(
        Array.from({ length: 50 }, (_, i) => write(farm(`farm-${i}`, ['milan'], 6000 + i), 'absent')),
      );
      expect(outcomes.map((outcome) => outcome.status)).toEqual(new Array(50).fill('created'));
      const revisions = (await everything((page) => store.list('Farm', page))).map(({ revision }) => revision);
      expect(revisions.sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i + 3));
      expect(await store.revision()).toBe(52);
      const numbers = Array.from({ length: 52 }, (_, i) => i + 1);
      expect((await everything((page) => store.audit(page))).map((entry) => entry.revision)).toEqual(numbers);
      expect((await store.outbox(100)).map((entry) => entry.revision)).toEqual(numbers);
    });

    test('what is wrong together is not stored: two farms on one port, a site deleted under a farm', async () => {
      const deps = { store, secrets, now: () => Date.parse(AT), onCommit: () => {} };
      const process = () =>
        createCommit({ ...deps, current: createCurrent(store), randomBytes: (length) => new Uint8Array(length) });
      const commit = process();
      const put = (spec: Resource) => commitOne(process(), { action: 'put', spec }, 'absent');
      const twins = await Promise.all([put(farm('twin-a', ['milan'], 7000)), put(farm('twin-b', ['milan'], 7000))]);
      expect(twins.map((outcome) => outcome.status).sort()).toEqual(['created', 'invalid']);

      await put(site('rome'));
      const race = await Promise.all([
        put(farm('roman', ['rome'], 7001)),
        commitOne(commit, { action: 'delete', kind: 'Site', name: 'rome' }, 'present'),
      ]);
      const statuses = race.map((outcome) => outcome.status).join();
      expect(['created,in-use', 'invalid,deleted']).toContain(statuses);
      const { sites, farms } = await store.configuration();
      expect(farms.has('roman')).toBe(sites.has('rome'));
    });

    test('a reader sees one state: never a farm without its revision', async () => {
      // What was written last before may have been a deletion, whose revision nothing bears.
      await put(site('reader'));
      const writes = (async () => {
        for (let i = 0; i < 20; i++) await put(site(`reader-${i}`));
      })();
      let done = false;
      void writes.finally(() => {
        done = true;
      });
      while (!done) {
        const { revision, sites, farms } = await store.configuration();
        const highest = Math.max(...[...sites.values(), ...farms.values()].map((r) => r.revision));
        expect(highest).toBe(revision);
      }
      await writes;
    });
  });

  fresh('tokens and agents', () => {
    const enrolment = (token: string, over: Partial<Enrolment> = {}): Enrolment => ({
      tokenHash: hash(token),
      agentId: `agt_${randomUUID().replaceAll('-', '').slice(0, 20)}`,
      name: 'edge-1',
      publicKey: randomUUID(),
      sealKey: null,
      version: '1.0.0',
      at: AT,
      ...over,
    });
    const joinToken = (token: string, over: { site?: string; expiresAt?: string } = {}) =>
      store.putJoinToken({ hash: hash(token), site: 'milan', createdAt: AT, expiresAt: LATER, ...over });

    test('an API token is found by its hash and by nothing else', async () => {
      const token = {
        hash: hash('secret'),
        name: 'ci',
        role: 'operator',
        createdAt: AT,
        sites: ['milan'],
        expiresAt: null,
      } as const;
      await store.putApiToken(token);
      expect(await store.apiToken(hash('secret'))).toEqual(token);
      expect(await store.apiToken('secret')).toBeUndefined();
      await store.putApiToken({ ...token, role: 'viewer' });
      expect((await store.apiToken(hash('secret')))?.role).toBe('viewer');
      const always = { ...token, hash: hash('other'), name: 'ann', sites: null };
      await store.putApiToken(always);
      expect((await store.apiTokens()).map(({ name }) => name).sort()).toEqual(['ann', 'ci']);
      expect((await store.apiTokens()).find(({ name }) => name === 'ann')).toEqual(always);
      expect([await store.deleteApiToken(hash('secret')), await store.deleteApiToken(hash('secret'))]).toEqual([
        true,
        false,
      ]);
      expect(await store.apiToken(hash('secret'))).toBeUndefined();
    });

    test('a join token enrols one agent, once', async () => {
      expect(await put(site('milan'))).toMatchObject({ status: 'written' });
      await joinToken('j1');
      const first = enrolment('j1');
      const { agentId } = first;
      expect(await store.enrol(first)).toEqual({ status: 'enrolled', agentId, number: 1, site: 'milan' });
      expect(await store.enrol(enrolment('j1'))).toEqual({ status: 'used' });
      expect(await store.agent(first.agentId)).toEqual({
        agentId: first.agentId,
        number: 1,
        name: 'edge-1',
        site: 'milan',
        publicKey: first.publicKey,
        sealKey: null,
        version: '1.0.0',
        firstSeenAt: AT,
        lastReportAt: null,
        report: null,
      });
    });

    test('an agent that never got its answer asks again with its key and is the same agent', async () => {
      await joinToken('lost');
      const publicKey = 'the key it kept';
      const first = await store.enrol(enrolment('lost', { publicKey }));
      expect(first.status).toBe('enrolled');
      expect(await store.enrol(enrolment('lost', { publicKey }))).toEqual(first);
      expect(await store.enrol(enrolment('lost', { publicKey: 'another' }))).toEqual({ status: 'used' });
      await store.deleteAgent((first as { agentId: string }).agentId);
      expect(await store.enrol(enrolment('lost', { publicKey }))).toEqual({ status: 'used' });
    });

    test('unknown and expired tokens and those of a deleted site enrol nobody', async () => {
      expect(await store.enrol(enrolment('nobody'))).toEqual({ status: 'unknown' });
      await joinToken('late');
      expect(await store.enrol(enrolment('late', { at: LATER }))).toEqual({ status: 'expired' });
      await joinToken('gone', { site: 'atlantis' });
      expect(await store.enrol(enrolment('gone'))).toEqual({ status: 'site-gone' });
      expect((await everything((page) => store.agents(page))).length).toBe(1);
    });

    test('20 agents that fight for one token: one wins; 20 with their own get 20 numbers', async () => {
      await joinToken('fought-over');
      const fights = await Promise.all(Array.from({ length: 20 }, () => store.enrol(enrolment('fought-over'))));
      expect(fights.map((outcome) => outcome.status).sort()).toEqual(['enrolled', ...new Array(19).fill('used')]);
      const each = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          await joinToken(`own-${i}`);
          return store.enrol(enrolment(`own-${i}`));
        }),
      );
      expect(each.map((outcome) => outcome.status)).toEqual(new Array(20).fill('enrolled'));
      const agents = await everything((page) => store.agents(page), 7);
      expect(agents.length).toBe(22);
      expect(new Set(agents.map((agent) => agent.number)).size).toBe(22);
    });

    test('a key to seal to comes with the enrolment or later, and replaces the one before', async () => {
      await joinToken('sealed');
      const { agentId } = (await store.enrol(enrolment('sealed', { sealKey: 'first' }))) as { agentId: string };
      expect((await store.agent(agentId))?.sealKey).toBe('first');
      expect(await store.setPublicKey(agentId, 'another')).toBe(true);
      expect((await store.identity(agentId))?.publicKey).toBe('another');
      expect(await store.setPublicKey('agt_none', 'x')).toBe(false);
      expect(await store.setSealKey(agentId, 'second')).toBe(true);
      expect((await store.agent(agentId))?.sealKey).toBe('second');
      await store.deleteAgent(agentId);
      expect(await store.setSealKey(agentId, 'third')).toBe(false);
      expect(await store.agent(agentId)).toBeUndefined();
    });

    test('a report is kept with its agent, and a deleted agent stays deleted', async () => {
      const agent = (await store.agents({ limit: 1 })).items[0];
      const agentId = agent?.agentId as string;
      expect(await store.recordReport({ agentId, site: 'milan' }, report, LATER)).toBe(true);
      const kept = { version: '1.2.3', lastReportAt: LATER, report };
      expect(await store.agent(agentId)).toMatchObject(kept);
      expect((await store.agents({ limit: 1 })).items[0]).toMatchObject(kept);
      const identity = await store.identity(agentId);
      expect(identity).toMatchObject({ agentId, site: 'milan', publicKey: agent?.publicKey });
      expect(identity).not.toHaveProperty('report');
      const there = await store.agentsAt('milan');
      expect(there.length).toBe((await everything((page) => store.agents(page))).length);
      const { number, name, firstSeenAt } = agent as AgentRecord;
      const seen = { agentId, number, name, site: 'milan', firstSeenAt, lastReportAt: LATER, report };
      expect(there.find((a) => a.agentId === agentId)).toMatchObject(seen);
      expect(await store.agentsAt('nowhere')).toEqual([]);
      // Who is known, and has said nothing since, is not read again.
      const known = new Map(there.map((a) => [a.agentId, a]));
      expect((await store.agentsAt('milan', known)).every((a) => known.get(a.agentId) === a)).toBe(true);
      await store.recordReport({ agentId, site: 'milan' }, { ...report, uptimeSeconds: 99 }, MUCH_LATER);
      const [heard] = (await store.agentsAt('milan', known)).filter((a) => known.get(a.agentId) !== a);
      expect(heard).toMatchObject({ agentId, lastReportAt: MUCH_LATER, report: { uptimeSeconds: 99 } });
      expect(await store.deleteAgent(agentId)).toBe(true);
      expect(await store.deleteAgent(agentId)).toBe(false);
      expect(await store.recordReport({ agentId, site: 'milan' }, report, LATER)).toBe(false);
      expect(await store.agent(agentId)).toBeUndefined();
      expect((await store.agentsAt('milan')).some((a) => a.agentId === agentId)).toBe(false);
    });

    test('a freed number is not given to the next agent: tokens of running dialogs still name it', async () => {
      await joinToken('next-1');
      const { number } = (await store.enrol(enrolment('next-1', { agentId: 'agt_short' }))) as { number: number };
      await store.deleteAgent('agt_short');
      await joinToken('next-2');
      expect(await store.enrol(enrolment('next-2'))).toMatchObject({ status: 'enrolled', number: number + 1 });
    });
  });
}
