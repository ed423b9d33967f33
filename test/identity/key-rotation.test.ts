import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createClient } from '../../control-plane/src/client.ts';
import { type ControlPlane, startControlPlane } from '../../control-plane/src/server.ts';
import { baseUrl, ControlPlaneClient } from '../../edge-agent/src/link/client.ts';
import { enrol, type Identity, loadIdentity } from '../../edge-agent/src/link/identity.ts';
import { KEY_LIFE_MS, rotateKey } from '../../edge-agent/src/link/key-rotation.ts';
import { PushSocket } from '../../edge-agent/src/link/push.ts';
import { ServerClock } from '../../edge-agent/src/link/server-clock.ts';

/** The real control plane on SQLite, and what an agent uses to be somebody to it. */

const log = pino({ level: 'silent' });
const stop = new AbortController();
let dir: string;
let plane: ControlPlane;
let identity: Identity;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sipfleet-rotation-'));
  const store = { kind: 'sqlite', file: join(dir, 'store.db') } as const;
  plane = await startControlPlane({ http: { host: '127.0.0.1', port: 0 }, store, dataDir: dir, logger: log });
  const client = createClient({ url: plane.url, token: plane.adminToken });
  await client.putResource({ kind: 'Site', name: 'milan' }, { ifNoneMatch: '*' });
  const proof = { joinToken: (await client.createJoinToken('milan')).token };
  const base = baseUrl(plane.url);
  identity = await enrol({ data: data(), base, proof, name: 'edge-1', version: '1', signal: stop.signal, log });
});
afterEach(async () => {
  await plane.close();
  await rm(dir, { recursive: true });
});

const data = () => join(dir, 'agent');
const clock = () => new ServerClock({ now: () => Date.now(), monotonic: () => performance.now() } as never);
const clientOf = (who: Identity) => new ControlPlaneClient(baseUrl(plane.url), () => who.token(), clock(), stop.signal);
/** Whether the control plane knows who signs like this. */
const isKnown = (who: Identity) =>
  clientOf(who)
    .signingKeys()
    .then(
      () => true,
      () => false,
    );
const rotate = (
  who: Identity,
  client: Parameters<typeof rotateKey>[0]['client'] = clientOf(who),
  now = Date.now() + KEY_LIFE_MS,
  push: Parameters<typeof rotateKey>[0]['push'] = { renew: () => {} },
) => rotateKey({ data: data(), identity: who, client, push, log }, now);
const again = async () => (await loadIdentity(data())) as Identity;

test('a key that is old is replaced; the one before opens nothing any more', async () => {
  const old = await again();
  expect(await rotate(identity)).toBe(true);
  expect([await isKnown(identity), await isKnown(await again()), await isKnown(old)]).toEqual([true, true, false]);
});

test('the push socket is opened anew under the new key, without a moment in which there is none', async () => {
  const token = () => identity.token();
  let opened = 0;
  const push = new PushSocket({ base: baseUrl(plane.url), token, onOpen: () => opened++, onMessage() {}, log });
  push.start();
  try {
    await expect.poll(() => opened, { timeout: 15_000 }).toBe(1);
    const ask = async () => (await push.ask({ type: 'snapshot', running: null }))?.head.status;
    expect(await ask()).toBe(200);
    expect(await rotate(identity, clientOf(identity), Date.now() + KEY_LIFE_MS, push)).toBe(true);
    await expect.poll(() => opened, { timeout: 15_000 }).toBe(2);
    expect(await ask()).toBe(200);
    expect([push.connected, push.reconnects]).toEqual([true, 0]);
  } finally {
    push.close();
  }
});

test('one that is young stays', async () => {
  const before = await readFile(join(data(), 'identity.json'), 'utf8');
  expect(await rotate(identity, clientOf(identity), Date.now() + KEY_LIFE_MS - 60_000)).toBe(false);
  expect(await readFile(join(data(), 'identity.json'), 'utf8')).toBe(before);
});

test('whatever dies in between, the agent is known after its next start', async () => {
  // Before the control plane heard of it.
  await rotate(identity, { registerKey: async () => Promise.reject(new Error('away')) });
  const second = await again();
  expect(await isKnown(second)).toBe(true);
  expect(await rotate(second)).toBe(true);
  expect(await isKnown(await again())).toBe(true);
  // After it did, the answer lost: what is on disk is refused, and the key beside it is right.
  const third = await again();
  const losing = {
    registerKey: async (key: Parameters<ControlPlaneClient['registerKey']>[0]) => {
      await clientOf(third).registerKey(key);
      throw new Error('the answer is lost');
    },
  };
  await rotate(third, losing, Date.now() + 3 * KEY_LIFE_MS);
  const fourth = await again();
  expect(await isKnown(fourth)).toBe(false);
  expect(await rotate(fourth, clientOf(fourth), Date.now())).toBe(true);
  expect([await isKnown(fourth), await isKnown(await again())]).toEqual([true, true]);
});

test('a key whose holder cannot prove it is refused, and the old one stays good', async () => {
  const client = clientOf(identity);
  const forging = {
    registerKey: (key: Parameters<typeof client.registerKey>[0]) => client.registerKey({ ...key, proof: 'AAAA' }),
  };
  expect(await rotate(identity, forging)).toBe(false);
  expect(await isKnown(identity)).toBe(true);
});

test('an agent of before has no date in its file: its key is replaced at once', async () => {
  const file = join(data(), 'identity.json');
  const { keyMadeAt: _, ...rest } = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  await writeFile(file, JSON.stringify(rest));
  expect(await rotate(identity, clientOf(identity), Date.now())).toBe(true);
});
