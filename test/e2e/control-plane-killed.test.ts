import type { ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { verifyChain } from '../../control-plane/src/audit-chain.ts';
import { createClient } from '../../control-plane/src/client.ts';
import { type StoreOptions, startControlPlane } from '../../control-plane/src/server.ts';
import { openDynamoStore } from '../../control-plane/src/store/dynamo.ts';
import {
  type DynamoLocal,
  noDynamoLocal,
  startDynamoLocal,
} from '../../control-plane/src/store/dynamo-local.fixture.ts';
import { openSqliteStore } from '../../control-plane/src/store/sqlite.ts';
import type { Store } from '../../control-plane/src/store/store.ts';
import { forkMortal } from './mortal.fixture.ts';

// A process for every step of a write, twice over.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 120_000 });

const dir = mkdtempSync(join(tmpdir(), 'sipfleet-killed-'));
afterAll(() => rmSync(dir, { recursive: true }));

const log = { debug() {}, info() {}, error() {} };
const http = { host: '127.0.0.1', port: 0 };
const farm = (name: string, sites: string[]) => ({
  kind: 'Farm',
  name,
  sites,
  listeners: [{ transport: 'udp', port: 5060 }],
  backends: [{ name: 'pbx1', address: '10.0.0.11' }],
});
/** What stands before: revision 1. */
const BEFORE = [
  { action: 'put', revision: null, resource: { kind: 'Site', name: 'milan' } },
  { action: 'put', revision: null, resource: { kind: 'Site', name: 'rome' } },
  { action: 'put', revision: null, resource: farm('old', ['milan', 'rome']) },
];
/** What is written while it dies: everything that a write can touch. */
const WRITE = [
  { action: 'delete', revision: 1, kind: 'Farm', name: 'old' },
  { action: 'put', revision: null, resource: farm('new', ['milan']) },
  { action: 'put', revision: 1, resource: { kind: 'Site', name: 'rome', description: 'x' } },
];

function post(url: string, dataDir: string, changes: object[], key: string, rollout?: object) {
  const token = readFileSync(join(dataDir, 'token'), 'utf8').trim();
  return fetch(`${url}/v1/changes`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify(rollout === undefined ? { changes } : { changes, rollout }),
  });
}

/** Starts a control plane that dies at a step of what it does next. */
async function mortal(store: StoreOptions, dataDir: string, dieAt: number) {
  const child = forkMortal(store, dataDir);
  const ended = once(child, 'exit');
  const [{ url }] = (await once(child, 'message')) as [{ url: string }];
  child.send({ dieAt });
  await once(child, 'message');
  return { url, child, ended };
}

/** It has died, or has nothing more to do. */
async function diedOrDone(child: ChildProcess, ended: Promise<unknown>, open: () => Promise<Store>): Promise<boolean> {
  const store = await open();
  try {
    while (child.exitCode === null && child.signalCode === null && (await store.outbox(1)).length > 0)
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 5))]);
  } finally {
    await store.close();
  }
  // The drain may still be at its last step: what comes after the outbox is empty changes nothing any more.
  if (child.signalCode === null) child.kill('SIGTERM');
  await ended;
  return child.signalCode === 'SIGKILL';
}

async function checkWhole(store: Store): Promise<void> {
  const { revision, farms, sites, departures } = await store.configuration();
  expect([revision, [...farms.keys()], sites.get('rome')?.revision]).toEqual([2, ['new'], 2]);
  expect(departures.get('old')).toEqual({ milan: 2, rome: 2 });
  const verifier = verifyChain();
  for (const entry of (await store.audit({ limit: 1000 })).items) verifier.take(entry);
  expect(verifier.end(await store.auditHead())).toMatchObject({ entries: 2, faults: [] });
  const history = async (name: string) =>
    (await store.history('Farm', name, { limit: 9 })).items.map((v) => v.revision);
  expect([await history('new'), await history('old')]).toEqual([[2], [2, 1]]);
}

/** One stored state, and how to look at it. */
interface Prepared {
  store: StoreOptions;
  dataDir: string;
  open: () => Promise<Store>;
}

/** What is asked of a control plane while it dies, and of the next one again. */
interface Deed {
  /** @returns undefined where no answer came */
  ask(url: string, dataDir: string): Promise<Response>;
  /** What was answered is true, whatever comes after. `again`: asked of the next one. */
  answered(status: number, body: { revision?: number; state?: string }, again: boolean): void;
  check(store: Store): Promise<void>;
}

const write: Deed = {
  ask: (url, dataDir) => post(url, dataDir, WRITE, 'the-write'),
  answered: (status, { revision }) => expect([status, revision]).toEqual([200, 2]),
  check: checkWhole,
};

/** Takes the write back that was staged as a rollout: everything is as before, in one revision more. */
const abort: Deed = {
  ask: (url, dataDir) => command(url, dataDir, 'abort'),
  answered: (status, { state }, again) => {
    // The next one finds it aborted already, or aborts it.
    if (!(again && status === 409)) expect([status, state]).toEqual([200, 'rolled-back']);
  },
  async check(store) {
    const { revision, farms, rollout } = await store.configuration();
    expect([revision, rollout?.state, [...farms.keys()]]).toEqual([4, 'rolled-back', ['old']]);
    expect(farms.get('old')?.spec.sites).toEqual(['milan', 'rome']);
    const verifier = verifyChain();
    for (const entry of (await store.audit({ limit: 1000 })).items) verifier.take(entry);
    expect(verifier.end(await store.auditHead()).faults).toEqual([]);
    const revisions = (await store.audit({ limit: 1000, changesOnly: true })).items.map((entry) => entry.revision);
    expect(revisions).toEqual([1, 2, 3, 4]);
  },
};

function command(url: string, dataDir: string, verb: string): Promise<Response> {
  const token = readFileSync(join(dataDir, 'token'), 'utf8').trim();
  return fetch(`${url}/v1/rollouts/2/${verb}`, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
}

const AT_ONCE = 3;

/** Kills it at every step of one deed, lets another one start, and asks again. @returns how many steps there were */
async function killAtEveryStep({ ask, answered, check }: Deed, prepare: () => Promise<Prepared>): Promise<number> {
  const killedAt = async (dieAt: number): Promise<boolean> => {
    const { store, dataDir, open } = await prepare();
    const { url, child, ended } = await mortal(store, dataDir, dieAt);
    const first = await ask(url, dataDir).then(
      async (response) => [response.status, await response.json()] as const,
      () => undefined,
    );
    if (first !== undefined) answered(first[0], first[1] as object, false);
    const killed = await diedOrDone(child, ended, open);

    const next = await startControlPlane({ http, store, dataDir, logger: log });
    const again = await ask(next.url, dataDir);
    answered(again.status, (await again.json()) as object, true);
    const reader = await open();
    // Every hint goes out: that of a write whose process died before it could send it as well.
    await expect.poll(() => reader.outbox(9), { timeout: 20_000 }).toEqual([]);
    await check(reader);
    await reader.close();
    await next.close();
    return killed;
  };
  // Some at once: most of their time goes into starting.
  for (let done = 0; ; done += AT_ONCE) {
    const killed = await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => killedAt(done + i + 1)));
    if (killed.includes(false)) return done + killed.indexOf(false);
  }
}

/** Makes what stands before the deed. */
async function prepared(deed: Deed, store: StoreOptions, dataDir: string): Promise<void> {
  const plane = await startControlPlane({ http, store, dataDir, logger: log });
  expect((await post(plane.url, dataDir, BEFORE, 'before')).status).toBe(200);
  if (deed === abort) {
    await joinAgent(plane.url, plane.adminToken);
    expect((await post(plane.url, dataDir, WRITE, 'staged', { bake: '1d', ackTimeout: '1d' })).status).toBe(200);
    expect((await command(plane.url, dataDir, 'pause')).status).toBe(200);
  }
  await plane.close();
}

/** A rollout waits for those it may move. */
async function joinAgent(url: string, token: string): Promise<void> {
  const { token: joinToken } = await createClient({ url, token }).createJoinToken('milan');
  const { x } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
  const body = { joinToken, name: 'edge-1', version: '1', publicKey: { kty: 'OKP', crv: 'Ed25519', x } };
  const headers = { 'content-type': 'application/json' };
  const joined = await fetch(`${url}/v1/agents/enrol`, { method: 'POST', headers, body: JSON.stringify(body) });
  expect(joined.status).toBe(201);
}

describe('a control plane that is killed at any step loses nothing and does nothing twice', () => {
  const deeds = [
    ['a write', write],
    ['taking back a rollout', abort],
  ] as const;

  test.each(deeds)('SQLite: %s', async (name, deed) => {
    const template = join(dir, name);
    const storeIn = (dataDir: string) => ({ kind: 'sqlite', file: join(dataDir, 'store.db') }) as const;
    await prepared(deed, storeIn(template), template);
    let runs = 0;
    const steps = await killAtEveryStep(deed, async () => {
      const dataDir = join(dir, `${name} ${runs++}`);
      cpSync(template, dataDir, { recursive: true });
      const store = storeIn(dataDir);
      return { store, dataDir, open: async () => openSqliteStore(store.file) };
    });
    expect(steps).toBeGreaterThan(20);
  });

  describe.skipIf(noDynamoLocal)('with DynamoDB', () => {
    let local: DynamoLocal;
    let runs = 0;
    beforeAll(async () => {
      local = await startDynamoLocal();
    });
    afterAll(() => local.stop());

    test.each(deeds)('DynamoDB: %s', async (_, deed) => {
      const dataDir = join(dir, 'dynamo');
      const steps = await killAtEveryStep(deed, async () => {
        const table = `killed-${runs++}`;
        const store = { kind: 'dynamodb', table, endpoint: local.endpoint } as const;
        await prepared(deed, store, dataDir);
        return { store, dataDir, open: async () => openDynamoStore(local.connect(), table) };
      });
      expect(steps).toBeGreaterThan(10);
    });
  });
});
