import { randomBytes } from 'node:crypto';
import { type AgentReport, Farm, type FarmInput, Site } from '@sipfleet/contract';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EMPTY_LOG, verifyChain } from '../audit-chain.ts';
import type { RolloutPolicy } from '../domain/rollout.ts';
import { memoryKeys } from '../vault/keys.fixture.ts';
import { createVault } from '../vault/vault.ts';
import { createCommit } from './commit.ts';
import { createCurrent } from './current.ts';
import { advanceRollouts, commandRollout } from './rollouts.ts';
import type { Store } from './store.ts';

const START = Date.parse('2099-01-02T03:04:05.000Z');
const iso = (ms: number) => new Date(ms).toISOString();
const MINUTE = 60_000;
const AGENTS = 4;
const POLICY: RolloutPolicy = {
  stages: [{ agents: 1 }, { percent: 50 }, { percent: 100 }],
  scope: 'fleet',
  bakeMs: 2 * MINUTE,
  ackTimeoutMs: 5 * MINUTE,
};
const farm = (name: string, port: number, over: Partial<FarmInput> = {}) =>
  Farm.parse({
    kind: 'Farm',
    name,
    sites: ['milan'],
    listeners: [{ transport: 'udp', port }],
    backends: [{ name: 'pbx1', address: '10.0.0.11' }],
    ...over,
  });
const changed = farm('pbx', 5060, { backends: [{ name: 'pbx2', address: '10.0.0.12' }] });

class Died extends Error {}

/** What both stores must do with rollouts, whoever dies or comes in between. */
export function rolloutsContract(open: () => Promise<Store>): void {
  let real: Store;
  let clock: number;
  const secrets = createVault(memoryKeys());

  /** A process with a memory of its own on a store; another one after it died. */
  function processOn(store: Store) {
    const current = createCurrent(store);
    const commit = createCommit({ store, current, secrets, now: () => clock, randomBytes, onCommit: () => {} });
    const deps = { store, current, onCommit: () => {} };
    return { current, commit, deps, look: () => advanceRollouts(deps, clock) };
  }

  /** Dies at the n-th call that writes: before it is done, or after. */
  function mortal(store: Store, at: number, when: 'before' | 'after'): Store {
    let calls = 0;
    const deadly = new Set(['write', 'putRolloutProgress']);
    return new Proxy(store, {
      get(target, name) {
        const method = target[name as keyof Store] as (...args: unknown[]) => Promise<unknown>;
        if (!deadly.has(String(name))) return method.bind(target);
        return async (...args: unknown[]) => {
          const mine = calls++;
          if (mine === at && when === 'before') throw new Died();
          const result = await method.apply(target, args);
          if (mine === at) throw new Died();
          return result;
        };
      },
    });
  }

  async function enrol(n: number): Promise<void> {
    const tokenHash = String(n).repeat(64).slice(0, 64);
    await real.putJoinToken({ hash: tokenHash, site: 'milan', createdAt: iso(clock), expiresAt: iso(clock + 1e6) });
    const who = { agentId: `agt_${n}`, name: `edge-${n}`, publicKey: `key-${n}`, sealKey: null, version: '1' };
    await real.enrol({ tokenHash, ...who, at: iso(clock) });
  }

  const report = (running: string, attempts: number, failed: number): AgentReport => ({
    version: '1',
    uptimeSeconds: 1,
    snapshot: { status: 'APPLIED', etag: running, generation: 1, running },
    backends: [],
    traffic: [
      {
        farm: 'pbx',
        sessionAttempts: attempts,
        sessionsEstablished: attempts - failed,
        sessionFailures: failed,
        registrationAttempts: 0,
        registrationFailures: 0,
        checksFailed: 0,
        activeSessions: 0,
        activeRegistrations: 0,
      },
    ],
  });

  /** A minute goes by, and every agent reports; those on the new snapshot with failing calls where the change is bad. */
  const totals = new Map<string, { attempts: number; failed: number }>();
  async function minute({ bad = false } = {}): Promise<void> {
    clock += MINUTE;
    const current = createCurrent(real);
    const { before, next } = await current.snapshots('milan');
    for (const agent of (await real.agents({ limit: 100 })).items) {
      const sum = totals.get(agent.agentId) ?? { attempts: 0, failed: 0 };
      const running = (await current.snapshotFor(agent)).etag;
      sum.attempts += 10;
      if (bad && running === next.etag && next.etag !== before.etag) sum.failed += 10;
      totals.set(agent.agentId, sum);
      await real.recordReport(agent, report(running, sum.attempts, sum.failed), iso(clock));
    }
  }

  const put = (spec: Farm | Site) => ({ expectation: 'present' as const, change: { action: 'put' as const, spec } });
  const create = (spec: Farm | Site) => ({ ...put(spec), expectation: 'absent' as const });
  const ann = { actor: 'ann', source: 'test' };

  beforeEach(async () => {
    real = await open();
    clock = START;
    totals.clear();
    const { commit } = processOn(real);
    await commit({ ...ann, changes: [create(Site.parse({ kind: 'Site', name: 'milan' })), create(farm('pbx', 5060))] });
    await commit({ ...ann, changes: [create(farm('fax', 5070))] });
    for (let n = 1; n <= AGENTS; n++) await enrol(n);
    await minute();
  });
  afterEach(() => real.close());

  const roll = (store = real) =>
    processOn(store).commit({ ...ann, changes: [put(changed), create(farm('new', 5080))], rollout: POLICY });
  const rollout = async () => (await real.configuration()).rollout;
  /** How many agents have the change as their target. */
  async function moved(): Promise<number> {
    const current = createCurrent(real);
    const { next } = await current.snapshots('milan');
    const agents = (await real.agents({ limit: 100 })).items;
    return (await current.snapshotsFor(agents)).filter(({ etag }) => etag === next.etag).length;
  }

  test('the change is stored at once, and reaches the agents stage by stage', async () => {
    const before = await createCurrent(real).snapshots('milan');
    expect(await roll()).toMatchObject({ status: 'committed', revision: 3 });
    expect(await rollout()).toMatchObject({ number: 3, state: 'running', farms: ['new', 'pbx'], sites: ['milan'] });
    expect((await createCurrent(real).snapshots('milan')).before.etag).toBe(before.next.etag);
    const { look } = processOn(real);
    const seen: number[] = [await moved()];
    for (let i = 0; i < 20 && (await rollout())?.state === 'running'; i++) {
      await look();
      const now = await moved();
      if (now !== seen.at(-1)) seen.push(now);
      await minute();
    }
    expect(seen).toEqual([0, 1, 2, 4]);
    expect(await rollout()).toMatchObject({ state: 'completed', before: {} });
    // Every step has its place in log and outbox: its sites are told.
    const steps = (await real.audit({ limit: 100 })).items.slice(2);
    expect(steps.map(({ details }) => details.event)).toEqual([
      'opened by ann',
      'stage 1 agent: 1 of 4 living agents have it as their target',
      'stage 50 %: 2 of 4 living agents have it as their target',
      'stage 100 %: 4 of 4 living agents have it as their target',
      'completed: every agent has it',
    ]);
    const outbox = await real.outbox(100);
    expect(outbox.slice(2).map(({ affects }) => affects)).toEqual(steps.map(() => ['milan']));
    expect((await real.rollouts({ limit: 10 })).items.map(({ number }) => number)).toEqual([3]);
  });

  test('a bad change is rolled back, in one revision: content and token keys are what they were', async () => {
    const before = await real.configuration();
    await roll();
    const { look } = processOn(real);
    for (let i = 0; i < 20 && (await rollout())?.state === 'running'; i++) {
      await look();
      await minute({ bad: true });
    }
    expect(await rollout()).toMatchObject({ state: 'rolled-back', stage: 0, before: {} });
    expect((await rollout())?.reason).toContain('calls failed');
    const { farms, revision } = await real.configuration();
    expect([...farms.keys()].sort()).toEqual(['fax', 'pbx']);
    expect(farms.get('pbx')).toMatchObject({ spec: before.farms.get('pbx')?.spec, revision });
    expect(farms.get('pbx')?.tokenKeys).toEqual(before.farms.get('pbx')?.tokenKeys);
    expect((await real.history('Farm', 'pbx', { limit: 9 })).items).toHaveLength(3);
  });

  test('a deleted farm comes back with its token keys', async () => {
    const keys = (await real.configuration()).farms.get('fax')?.tokenKeys;
    const { commit, deps } = processOn(real);
    const gone = {
      expectation: 'present' as const,
      change: { action: 'delete' as const, kind: 'Farm' as const, name: 'fax' },
    };
    await commit({ ...ann, changes: [gone], rollout: POLICY });
    await commandRollout(deps, { number: 3, verb: 'abort', ...ann, at: iso(clock) });
    expect((await real.configuration()).farms.get('fax')?.tokenKeys).toEqual(keys);
  });

  test('pause holds everybody where they are, resume watches the stage anew, abort rolls back; each once', async () => {
    await roll();
    const { look, deps } = processOn(real);
    const tell = (verb: 'pause' | 'resume' | 'abort', number = 3) =>
      commandRollout(deps, { number, verb, ...ann, at: iso(clock) });
    await look();
    expect((await tell('pause')).status).toBe('done');
    expect(await tell('pause')).toMatchObject({ status: 'impossible', allowed: ['resume', 'abort'] });
    for (let i = 0; i < 10; i++) {
      await minute();
      await look();
    }
    expect([await moved(), (await rollout())?.state]).toEqual([1, 'paused']);
    expect((await tell('resume')).status).toBe('done');
    await look();
    expect(await moved()).toBe(1);
    expect((await tell('abort', 2)).status).toBe('unknown');
    expect((await tell('abort')).status).toBe('done');
    expect(await tell('abort')).toMatchObject({ status: 'impossible', allowed: [] });
    expect(await rollout()).toMatchObject({ state: 'rolled-back', reason: 'aborted by ann' });
  });

  test('while it is under way nothing else may change what it concerns; elsewhere one may', async () => {
    await roll();
    const { commit } = processOn(real);
    const refused = { status: 'in-rollout', number: 3, state: 'running' };
    expect(await commit({ ...ann, changes: [put(farm('fax', 5071))] })).toEqual(refused);
    expect(await commit({ ...ann, changes: [create(farm('third', 5090))] })).toEqual(refused);
    const rome = create(Site.parse({ kind: 'Site', name: 'rome' }));
    const roman = create(farm('roman', 5060, { sites: ['rome'] }));
    expect(await commit({ ...ann, changes: [rome, roman] })).toMatchObject({ status: 'committed' });
    const other = put(farm('roman', 5061, { sites: ['rome'] }));
    expect(await commit({ ...ann, changes: [other], rollout: POLICY })).toEqual(refused);
    expect(await commit({ ...ann, changes: [other] })).toMatchObject({ status: 'committed' });
  });

  test('an agent that was away for all of it runs what came of it', async () => {
    await roll();
    const { look } = processOn(real);
    for (let i = 0; i < 20 && (await rollout())?.state === 'running'; i++) {
      await look();
      await minute();
    }
    await enrol(5);
    const late = await real.agent('agt_5');
    const current = createCurrent(real);
    expect((await current.snapshotFor(late as never)).etag).toBe((await current.snapshots('milan')).next.etag);
  });

  test('two processes that look at once do each step once', async () => {
    await roll();
    const [a, b, c] = [processOn(real), processOn(real), processOn(real)];
    for (let i = 0; i < 20 && (await rollout())?.state === 'running'; i++) {
      await Promise.all([a.look(), b.look(), c.look()]);
      await minute();
    }
    const steps = (await real.audit({ limit: 100 })).items.slice(2);
    expect(steps).toHaveLength(5);
    expect(new Set(steps.map(({ details }) => details.event)).size).toBe(5);
  });

  test.each([
    ['healthy', false, 5],
    ['bad', true, 3],
  ])(
    'a process that dies at any write of a %s rollout leaves nothing lost and nothing doubled',
    async (_, bad, steps) => {
      // One life after the other ends at its first write, then at its second …: so every write is died at, before and after it was done.
      let deaths = 0;
      for (let life = 0; life < 200; life++) {
        const when = life % 2 === 0 ? 'before' : 'after';
        const process = processOn(mortal(real, Math.floor(life / 2) % 2, when));
        try {
          if ((await rollout()) === undefined)
            await process.commit({ ...ann, changes: [put(changed), create(farm('new', 5080))], rollout: POLICY });
          await process.look();
        } catch (error) {
          if (!(error instanceof Died)) throw error;
          deaths++;
        }
        const state = (await rollout())?.state;
        if (state !== undefined && state !== 'running') break;
        if (life % 4 === 3) await minute({ bad });
      }
      expect(deaths).toBeGreaterThanOrEqual(steps * 2);
      expect((await rollout())?.state).toBe(bad ? 'rolled-back' : 'completed');
      const log = (await real.audit({ limit: 100 })).items;
      const events = log.slice(2).map(({ details }) => details.event);
      expect(events).toHaveLength(steps);
      expect(new Set(events).size).toBe(steps);
      expect(await real.revision()).toBe(2 + steps);
      const verifier = verifyChain(EMPTY_LOG);
      for (const entry of log) verifier.take(entry);
      expect(verifier.end(await real.auditHead()).faults).toEqual([]);
      const names = [...(await real.configuration()).farms.keys()].sort();
      expect(names).toEqual(bad ? ['fax', 'pbx'] : ['fax', 'new', 'pbx']);
    },
  );
}
