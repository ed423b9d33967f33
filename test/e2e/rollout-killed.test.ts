import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { afterAll, expect, test, vi } from 'vitest';
import { verifyChain } from '../../control-plane/src/audit-chain.ts';
import { openSqliteStore } from '../../control-plane/src/store/sqlite.ts';
import { forkMortal } from './mortal.fixture.ts';

// A process for every step of a rollout.
vi.setConfig({ testTimeout: 600_000 });

const dir = mkdtempSync(join(tmpdir(), 'sipfleet-rollout-killed-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = join(dir, 'store.db');

const farm = (address: string) => ({
  kind: 'Farm',
  name: 'pbx',
  sites: ['milan'],
  listeners: [{ transport: 'udp', port: 5060 }],
  backends: [{ name: 'only', address }],
});

/** A control plane on the store that is killed at a step of what it does after it is armed. */
async function mortal() {
  const child = forkMortal({ kind: 'sqlite', file }, dir);
  const ended = once(child, 'exit');
  const [{ url }] = (await once(child, 'message')) as [{ url: string }];
  const arm = async (dieAt: number) => {
    child.send({ dieAt });
    await once(child, 'message');
  };
  return { url, child, ended, arm };
}

async function ask(url: string, method: string, path: string, bearer: string | undefined, body?: object) {
  const headers = { 'content-type': 'application/json', ...(bearer ? { authorization: `Bearer ${bearer}` } : {}) };
  const response = await fetch(url + path, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
  return { etag: response.headers.get('etag')?.slice(1, -1), json: (await response.json()) as never };
}

/** An agent that takes what it is given and says so. */
class SimulatedAgent {
  readonly #key: KeyObject;
  readonly #id: string;
  private constructor(id: string, key: KeyObject) {
    this.#id = id;
    this.#key = key;
  }

  static async join(url: string, admin: string, name: string): Promise<SimulatedAgent> {
    const { token } = (await ask(url, 'POST', '/v1/join-tokens', admin, { site: 'milan' })).json as { token: string };
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const { kty, crv, x } = publicKey.export({ format: 'jwk' });
    const body = { joinToken: token, name, version: '1', publicKey: { kty, crv, x } };
    const { agentId } = (await ask(url, 'POST', '/v1/agents/enrol', undefined, body)).json as { agentId: string };
    return new SimulatedAgent(agentId, privateKey);
  }

  async report(url: string): Promise<void> {
    const jwt = await new SignJWT({})
      .setProtectedHeader({ alg: 'EdDSA' })
      .setIssuer(this.#id)
      .setSubject(this.#id)
      .setAudience('sipfleet')
      .setExpirationTime('1m')
      .sign(this.#key);
    const { etag, json } = await ask(url, 'GET', '/v1/agent/snapshot', jwt);
    const { generation } = json as { generation: number };
    const snapshot = { status: 'APPLIED', etag, generation, running: etag };
    await ask(url, 'POST', '/v1/agent/report', jwt, { version: '1', uptimeSeconds: 1, snapshot, backends: [] });
  }
}

test('a control plane that is killed at every step of a rollout loses nothing and does nothing twice', async () => {
  const first = await mortal();
  const admin = readFileSync(join(dir, 'token'), 'utf8').trim();
  const put = (resource: object, revision: number | null) => ({ action: 'put', revision, resource });
  const before = [put({ kind: 'Site', name: 'milan' }, null), put(farm('10.0.0.11'), null)];
  await ask(first.url, 'POST', '/v1/changes', admin, { changes: before });
  const agents: SimulatedAgent[] = [];
  for (const name of ['edge-1', 'edge-2', 'edge-3']) agents.push(await SimulatedAgent.join(first.url, admin, name));
  for (const agent of agents) await agent.report(first.url);
  const rollout = { stages: ['1', '50%', '100%'], bake: '0s' };
  await ask(first.url, 'POST', '/v1/changes', admin, { rollout, changes: [put(farm('10.0.0.12'), 1)] });
  first.child.kill('SIGKILL');
  await first.ended;

  const store = openSqliteStore(file);
  const state = async () => (await store.configuration()).rollout?.state;
  let kills = 0;
  let dieAt = 0;
  while ((await state()) === 'running') {
    const stood = await store.revision();
    dieAt++;
    const { url, child, ended, arm } = await mortal();
    for (const agent of agents) await agent.report(url);
    // What comes now is the look that these reports lead to.
    await arm(dieAt);
    while (child.exitCode === null && child.signalCode === null && (await state()) === 'running')
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 50))]);
    if (child.signalCode === null) child.kill('SIGTERM');
    else kills++;
    await ended;
    // One step further: the next one is died at from its beginning.
    if ((await store.revision()) !== stood) dieAt = 0;
  }
  expect(kills).toBeGreaterThan(30);
  const { revision, farms, rollout: ended } = await store.configuration();
  expect(ended?.state).toBe('completed');
  expect(farms.get('pbx')).toMatchObject({ revision: 2, spec: { backends: [{ address: '10.0.0.12' }] } });
  const log = (await store.audit({ limit: 1000 })).items;
  const steps = log.filter(({ details }) => details.rollout === '2').map(({ details }) => details.event);
  expect(steps).toEqual([
    'opened by local-admin',
    'stage 1 agent: 1 of 3 living agents have it as their target',
    'stage 50 %: 2 of 3 living agents have it as their target',
    'stage 100 %: 3 of 3 living agents have it as their target',
    'completed: every agent has it',
  ]);
  expect(revision).toBe(6);
  const verifier = verifyChain();
  for (const entry of log) verifier.take(entry);
  expect(verifier.end(await store.auditHead()).faults).toEqual([]);
  await store.close();
});
