import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Farm, type Secret } from '@sipfleet/contract';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Client, createClient } from '../../control-plane/src/client.ts';
import { type ControlPlane, startControlPlane } from '../../control-plane/src/server.ts';
import { baseUrl, ControlPlaneClient } from '../../edge-agent/src/link/client.ts';
import { enrol, loadIdentity } from '../../edge-agent/src/link/identity.ts';
import { Link } from '../../edge-agent/src/link/link.ts';
import { PushSocket } from '../../edge-agent/src/link/push.ts';
import { SecretKeeper } from '../../edge-agent/src/link/secret-keeper.ts';
import { ServerClock } from '../../edge-agent/src/link/server-clock.ts';
import { SnapshotStore } from '../../edge-agent/src/link/store.ts';
import { Trust } from '../../edge-agent/src/link/trust.ts';

/** The real control plane on SQLite and the real link of an agent, over HTTP and WebSocket; only the data threads are left out. */

const SOON = { timeout: 20_000 };
const CANARY = 'canary-in-a-coal-mine';

let dir: string;
let plane: ControlPlane;
let client: Client;
/** Everything that was logged on both sides, and every answer of the API. */
let said: string[];
/** What was put into effect. */
let applied: { generation: number; password: string | undefined }[];
const closers: (() => unknown)[] = [];

const control = () => join(dir, 'control');
const agentData = () => join(dir, 'agent');
const logger = () => pino({ level: 'trace' }, { write: (line: string) => said.push(line) });

async function startPlane(port = 0): Promise<void> {
  plane = await startControlPlane({
    http: { host: '127.0.0.1', port },
    store: { kind: 'sqlite', file: join(control(), 'store.db') },
    dataDir: control(),
    logger: logger(),
  });
  const recording: typeof fetch = async (...args) => {
    const response = await fetch(...args);
    said.push(await response.clone().text());
    return response;
  };
  client = createClient({ url: plane.url, token: plane.adminToken, fetch: recording });
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sipfleet-secrets-'));
  said = [];
  applied = [];
  await startPlane();
});
afterEach(async () => {
  for (const close of closers.splice(0)) close();
  await plane.close();
  await rm(dir, { recursive: true });
});

const clock = { now: () => Date.now(), monotonic: () => performance.now() };

/** An agent as agent.ts puts it together. */
async function startAgent(): Promise<Link> {
  const stop = new AbortController();
  const base = baseUrl(plane.url);
  const log = logger();
  const identity =
    (await loadIdentity(agentData())) ??
    (await enrol({
      data: agentData(),
      base,
      proof: { joinToken: (await client.createJoinToken('milan')).token },
      name: 'edge-1',
      version: '1',
      signal: stop.signal,
      log,
    }));
  const token = () => identity.token();
  const api = new ControlPlaneClient(base, token, new ServerClock(clock), stop.signal);
  const trust = await Trust.load(agentData(), () => api.signingKeys());
  const { agentId, sealKey, site } = identity;
  const link: Link = new Link({
    client: api,
    trust,
    secrets: new SecretKeeper({ client: api, trust, agentId, sealKey }),
    site,
    push: new PushSocket({
      base,
      token,
      log,
      onOpen: () => link.refresh(),
      onMessage: (m) => m.type === 'snapshot' && link.onHint(m),
    }),
    store: new SnapshotStore(agentData(), trust),
    apply: async ({ generation }, _etag, secrets) => {
      applied.push({ generation, password: secrets.get('pbx-check')?.password });
    },
    backends: () => [],
    checks: () => [],
    version: '1',
    heard: () => {},
    clock,
    address: '10.0.0.21',
    log,
  });
  closers.push(() => {
    stop.abort();
    link.close();
  });
  await link.start();
  return link;
}

const secret = (password: string): Secret => ({
  kind: 'Secret',
  name: 'pbx-check',
  data: { username: '30', password },
});
const farm = Farm.parse({
  kind: 'Farm',
  name: 'pbx',
  sites: ['milan'],
  listeners: [{ transport: 'udp', port: 5060 }],
  backends: [{ name: 'pbx1', address: '10.0.0.11' }],
  checks: [{ name: 'register', type: 'register', interval: '5m', credentials: 'pbx-check' }],
});

async function configure(): Promise<void> {
  await client.putResource({ kind: 'Site', name: 'milan' }, { ifNoneMatch: '*' });
  await client.putResource(secret(CANARY), { ifNoneMatch: '*' });
  await client.putResource(farm, { ifNoneMatch: '*' });
}

/** Everything below a directory, as bytes. */
async function bytesUnder(path: string): Promise<string> {
  const files = (await readdir(path, { recursive: true, withFileTypes: true })).filter((f) => f.isFile());
  return (await Promise.all(files.map((f) => readFile(join(f.parentPath, f.name), 'latin1')))).join('\n');
}

test('a Secret reaches the agent that needs it, is rotated without a restart, and lies nowhere in the clear', async () => {
  await configure();
  const link = await startAgent();
  expect(applied).toEqual([{ generation: 3, password: CANARY }]);
  await expect.poll(() => link.status.connected, SOON).toBe(true);
  const stored = await client.getResource('Secret', 'pbx-check');
  await client.putResource(secret(`${CANARY} rotated`), { ifMatch: stored?.revision ?? 0 });
  await expect.poll(() => applied.at(-1), SOON).toEqual({ generation: 4, password: `${CANARY} rotated` });
  await expect
    .poll(async () => (await client.listAgents())[0]?.snapshot, SOON)
    .toMatchObject({ status: 'APPLIED', generation: 4 });

  const bad = { ...secret(CANARY), data: { password: [CANARY] } } as unknown as Secret;
  await expect(client.putResource(bad, { ifMatch: 4 })).rejects.toThrow('1 fault');
  await client.plan([secret(CANARY)]);
  await client.listResources('Secret');
  await plane.close();
  const places = { control: await bytesUnder(control()), agent: await bytesUnder(agentData()), said: said.join('\n') };
  for (const [where, bytes] of Object.entries(places)) {
    expect(bytes.length, where).toBeGreaterThan(1000);
    expect(bytes.includes(CANARY), where).toBe(false);
    expect(bytes.includes(Buffer.from(CANARY).toString('base64').slice(0, 20)), where).toBe(false);
  }
});

test('the agent boots with its Secrets while the control plane is away, and hears of what came meanwhile', async () => {
  await configure();
  const first = await startAgent();
  await expect.poll(async () => (await client.listAgents())[0]?.snapshot?.status, SOON).toBe('APPLIED');
  first.close();
  const { port } = plane;
  await plane.close();
  applied = [];
  await startAgent();
  expect(applied).toEqual([{ generation: 3, password: CANARY }]);
  await startPlane(port);
  await client.rotateSigningKey();
  await client.putResource(secret('another'), { ifMatch: 2 });
  await expect.poll(() => applied.at(-1), SOON).toEqual({ generation: 4, password: 'another' });
});
