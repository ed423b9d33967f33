import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentReport, Snapshot, Target, VerdictChange } from '@sipfleet/contract';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { baseUrl } from './client.ts';
import { FixtureControlPlane, snapshotOf } from './control-plane.fixture.ts';
import { enrol, type Identity } from './identity.ts';
import { closeLinks, quiet, type WiredLink, wireLink } from './link.fixture.ts';
import type { Link } from './link.ts';

/** Deadline of everything that is waited for; the first reconnect alone may wait a second. */
const SOON = { timeout: 15_000 };

let data: string;
let plane: FixtureControlPlane;
let identity: Identity;
let applied: Snapshot[];
/** The Secrets that came with each. */
let appliedSecrets: Record<string, Readonly<Record<string, string>>>[];
let refuse: ((snapshot: Snapshot) => string | undefined) | undefined;
let backends: AgentReport['backends'];
/** What was answered to reports. */
let heard: Target[];
let traffic: NonNullable<AgentReport['traffic']>;
const links: WiredLink[] = [];

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'sipfleet-'));
  plane = new FixtureControlPlane();
  await plane.start();
  applied = [];
  appliedSecrets = [];
  backends = [];
  traffic = [];
  heard = [];
  refuse = undefined;
  const { signal } = new AbortController();
  const base = baseUrl(plane.url);
  identity = await enrol({
    data,
    base,
    proof: { joinToken: 'join-me' },
    name: 'edge-1',
    version: '1',
    signal,
    log: quiet as never,
  });
});

afterEach(async () => {
  closeLinks(links);
  await plane.stop();
  // A link that was closed may still be at its last file.
  await rm(data, { recursive: true, force: true, maxRetries: 10 });
});

/** A link with data threads that only remember what they were given. */
async function newLink(): Promise<Link> {
  const wired = await wireLink(
    plane,
    { data, identity },
    {
      apply: async (snapshot, _etag, secrets) => {
        const reason = refuse?.(snapshot);
        if (reason) throw new Error(reason);
        applied.push(snapshot);
        appliedSecrets.push(Object.fromEntries(secrets));
      },
      backends: () => backends,
      traffic: () => traffic,
      heard: (target) => heard.push(target),
    },
  );
  links.push(wired);
  return wired.link;
}
const startLink = async (): Promise<void> => (await newLink()).start();
const generations = (): number[] => applied.map((s) => s.generation);
const lastReport = (): AgentReport['snapshot'] | undefined => plane.reports.at(-1)?.snapshot;
const stored = async (): Promise<string[]> => (await readdir(join(data, 'snapshots')).catch(() => [])).sort();

test('the first snapshot is fetched, applied, stored and acknowledged', async () => {
  const etag = plane.publish(snapshotOf(1));
  await startLink();
  expect(generations()).toEqual([1]);
  await expect.poll(lastReport, SOON).toEqual({ status: 'APPLIED', etag, generation: 1, running: etag });
  expect(await stored()).toEqual([`1-${etag}.json`]);
});

test('a change is pushed: the hint alone makes the agent ask', async () => {
  plane.publish(snapshotOf(1));
  await startLink();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  const etag = plane.publish(snapshotOf(2), 20);
  await expect.poll(generations, SOON).toEqual([1, 2]);
  await expect.poll(lastReport, SOON).toMatchObject({ status: 'APPLIED', etag });
});

test('a snapshot that cannot be applied is reported with the reason, and what ran goes on', async () => {
  const running = plane.publish(snapshotOf(1));
  const link = await newLink();
  await link.start();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  refuse = (s) => (s.generation === 2 ? 'udp 127.0.0.1:5060: address already in use' : undefined);
  const etag = plane.publish(snapshotOf(2));
  await expect
    .poll(lastReport, SOON)
    .toEqual({ status: 'FAILED', etag, generation: 2, reason: 'udp 127.0.0.1:5060: address already in use', running });
  expect(link.status.failures).toBe(1);
  expect(await stored()).toEqual([`1-${running}.json`]);
  // The operator takes it back: what runs is what is wanted.
  plane.publish(snapshotOf(1));
  plane.hint({ type: 'snapshot', site: 'milan', generation: 3, jitterMs: 0 });
  await expect.poll(lastReport, SOON).toEqual({ status: 'APPLIED', etag: running, generation: 1, running });
  expect(generations()).toEqual([1]);
});

test('a snapshot of another format is reported, not run', async () => {
  plane.publish(snapshotOf(1));
  await startLink();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  plane.publish('{"format":2}');
  await expect.poll(() => lastReport()?.reason, SOON).toMatch(/^the snapshot is not understood: .*format/);
});

test('with the control plane away the agent runs from disk at once, and hears of a change when it is back', async () => {
  plane.publish(snapshotOf(1));
  await startLink();
  await expect.poll(stored, SOON).toHaveLength(1);
  links[0]!.link.close();
  await plane.stop();
  applied = [];
  await startLink();
  expect(generations()).toEqual([1]);
  plane.publish(snapshotOf(2));
  await plane.start();
  await expect.poll(generations, SOON).toEqual([1, 2]);
});

test('a lost push socket is opened again, and what was missed is asked for', async () => {
  plane.publish(snapshotOf(1));
  const link = await newLink();
  await link.start();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  for (const socket of plane.sockets) socket.terminate();
  // It may be open again before anybody looks.
  await expect.poll(() => !link.status.connected || link.status.reconnects > 0, SOON).toBe(true);
  plane.publish(snapshotOf(2));
  await expect.poll(generations, SOON).toEqual([1, 2]);
  await expect.poll(() => link.status, SOON).toMatchObject({ connected: true, reconnects: 1, target: 2 });
});

test('an agent without any snapshot waits for the control plane for as long as it takes', async () => {
  await plane.stop();
  const running = startLink();
  plane.publish(snapshotOf(1));
  await plane.start();
  await running;
  expect(generations()).toEqual([1]);
});

test('a first snapshot that cannot run ends the start, after it was reported', async () => {
  plane.publish(snapshotOf(1));
  refuse = () => 'udp 127.0.0.1:5060: address already in use';
  await expect(startLink()).rejects.toThrow('udp 127.0.0.1:5060: address already in use');
  expect(lastReport()).toMatchObject({ status: 'FAILED', running: null });
});

test('an agent that the control plane no longer knows does not start, but what runs from disk goes on', async () => {
  plane.publish(snapshotOf(1));
  plane.broken.set('/v1/agent/snapshot', 401);
  await expect(startLink()).rejects.toThrow(/v1\/agent\/snapshot: 401 Broken/);
  plane.broken.clear();
  await startLink();
  await expect.poll(stored, SOON).toHaveLength(1);
  for (const { link } of links) link.close();
  plane.broken.set('/v1/agent/snapshot', 401);
  applied = [];
  await startLink();
  expect(generations()).toEqual([1]);
});

test('a stored snapshot that can no longer run yields to the one that the control plane has meanwhile', async () => {
  plane.publish(snapshotOf(1));
  await startLink();
  await expect.poll(stored, SOON).toHaveLength(1);
  links[0]!.link.close();
  applied = [];
  plane.publish(snapshotOf(2));
  refuse = (s) => (s.generation === 1 ? 'that port is taken' : undefined);
  await startLink();
  expect(generations()).toEqual([2]);
});

const change = (second: number): VerdictChange => ({
  farm: 'pbx',
  backend: 'pbx1',
  state: second % 2 ? 'up' : 'down',
  at: new Date(second * 1000).toISOString(),
  reason: 'no answer in 2s',
});

test('changes that happened while the control plane was away arrive when it is back: the latest 200, the rest counted', async () => {
  plane.publish(snapshotOf(1));
  const link = await newLink();
  await link.start();
  await expect.poll(() => lastReport()?.status, SOON).toBe('APPLIED');
  plane.broken.set('/v1/agent/report', 503);
  const changes = Array.from({ length: 205 }, (_, i) => change(i));
  const asked = () => plane.requests.filter((r) => r === 'POST /v1/agent/report').length;
  const before = asked();
  for (const each of changes) link.verdictChanged(each);
  await expect.poll(asked, SOON).toBeGreaterThan(before);
  plane.broken.clear();
  // Not the last report: the next one, with nothing to say, may already have come.
  const told = (first: VerdictChange) => plane.reports.find((r) => r.changes?.[0]?.at === first.at);
  await expect.poll(() => told(changes[5]!)?.changes, SOON).toEqual(changes.slice(5));
  expect(told(changes[5]!)?.changesLost).toBe(5);
  link.verdictChanged(change(300));
  await expect.poll(() => told(change(300))?.changes, SOON).toEqual([change(300)]);
  expect(told(change(300))).not.toHaveProperty('changesLost');
});

test('a snapshot that could not be fetched for a moment is fetched without waiting for the next minute', async () => {
  plane.publish(snapshotOf(1));
  await startLink();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  plane.broken.set('/v1/agent/snapshot', 503);
  plane.publish(snapshotOf(2));
  await expect.poll(() => plane.requests.filter((r) => r.endsWith('/snapshot')).length, SOON).toBeGreaterThan(2);
  plane.broken.clear();
  await expect.poll(generations, SOON).toEqual([1, 2]);
});

test('what the control plane says beside the target is passed on', async () => {
  plane.answer = { schedule: 'etag', push: 'wss://push.example.com/v1', spreadMs: 20_000 };
  plane.publish(snapshotOf(1));
  await startLink();
  await expect.poll(() => heard.at(-1), SOON).toMatchObject(plane.answer);
});

test('verdict changes are reported together, not one by one', async () => {
  plane.publish(snapshotOf(1));
  const link = await newLink();
  await link.start();
  await expect.poll(() => lastReport()?.status, SOON).toBe('APPLIED');
  const before = plane.reports.length;
  backends = [
    { farm: 'pbx', backend: 'pbx1', state: 'down', since: new Date(0).toISOString(), reason: 'no answer in 2s' },
  ];
  const changes = Array.from({ length: 50 }, (_, i) => change(i));
  for (const each of changes) link.verdictChanged(each);
  await expect.poll(() => plane.reports.at(-1)?.backends, SOON).toEqual(backends);
  expect(plane.reports.length - before).toBeLessThanOrEqual(2);
  expect(plane.reports.flatMap((r) => r.changes ?? [])).toEqual(changes);
});

test('a report carries the traffic as it is when the report goes out', async () => {
  plane.publish(snapshotOf(1));
  const link = await newLink();
  await link.start();
  await expect.poll(() => plane.reports.at(-1)?.traffic, SOON).toEqual([]);
  const counts = { sessionAttempts: 3, sessionsEstablished: 2, sessionFailures: 1, checksFailed: 0, activeSessions: 2 };
  traffic = [{ farm: 'pbx', ...counts, registrationAttempts: 9, registrationFailures: 4, activeRegistrations: 5 }];
  link.verdictChanged(change(1));
  await expect.poll(() => plane.reports.at(-1)?.traffic, SOON).toEqual(traffic);
});

test('garbage on the push socket changes nothing', async () => {
  plane.publish(snapshotOf(1));
  await startLink();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  plane.hint('not JSON');
  plane.hint('{"type":"reboot"}');
  plane.publish(snapshotOf(2));
  await expect.poll(generations, SOON).toEqual([1, 2]);
});

const CANARY = 'canary-in-a-coal-mine';
const withSecrets = (generation: number, secrets: Record<string, number>): Snapshot =>
  snapshotOf(generation, ['pbx1'], { secrets });

/** Every byte that the agent keeps on disk. */
async function onDisk(): Promise<string> {
  const files = (await readdir(data, { recursive: true, withFileTypes: true })).filter((f) => f.isFile());
  return (await Promise.all(files.map((f) => readFile(join(f.parentPath, f.name), 'latin1')))).join('\n');
}

test('Secrets come with the snapshot that names them, lie on disk sealed, and are there without the control plane', async () => {
  plane.secrets.set('tls', { revision: 4, data: { privateKey: CANARY } });
  plane.publish(withSecrets(5, { tls: 4 }));
  await startLink();
  expect(appliedSecrets).toEqual([{ tls: { privateKey: CANARY } }]);
  await expect.poll(stored, SOON).toHaveLength(1);
  expect(await onDisk()).not.toContain(CANARY);
  links[0]!.link.close();
  await plane.stop();
  await startLink();
  expect(appliedSecrets).toEqual([{ tls: { privateKey: CANARY } }, { tls: { privateKey: CANARY } }]);
});

test('a rotated Secret is there without a restart; one that did not change is not asked for again', async () => {
  plane.secrets.set('tls', { revision: 1, data: { privateKey: 'old' } });
  plane.publish(withSecrets(1, { tls: 1 }));
  await startLink();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  plane.secrets.set('tls', { revision: 2, data: { privateKey: 'new' } });
  plane.publish(withSecrets(2, { tls: 2 }));
  await expect.poll(() => appliedSecrets.at(-1), SOON).toEqual({ tls: { privateKey: 'new' } });
  plane.publish(withSecrets(3, { tls: 2 }));
  await expect.poll(generations, SOON).toEqual([1, 2, 3]);
  expect(appliedSecrets.at(-1)).toEqual({ tls: { privateKey: 'new' } });
  expect(plane.requests.filter((r) => r === 'GET /v1/agent/secrets')).toHaveLength(2);
});

test.for([
  ['no key', undefined],
  ['another key', generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' }).x],
])('an agent of which the control plane has %s registers its own', async ([_what, known]) => {
  plane.sealKey = known;
  plane.secrets.set('tls', { revision: 1, data: { privateKey: CANARY } });
  plane.publish(withSecrets(1, { tls: 1 }));
  await startLink();
  expect(appliedSecrets).toEqual([{ tls: { privateKey: CANARY } }]);
});

test('a snapshot whose Secrets are not the ones that come is refused, and what ran goes on', async () => {
  const running = plane.publish(snapshotOf(1));
  await startLink();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  plane.secrets.set('tls', { revision: 1, data: { privateKey: CANARY } });
  plane.publish(withSecrets(2, { tls: 2 }));
  await expect
    .poll(lastReport, SOON)
    .toMatchObject({ status: 'FAILED', reason: 'Secret tls at revision 2 is not among those that came', running });
});

test.for([
  ['without a signature', null, 'the snapshot is not signed'],
  ['with something else for one', 'garbage', 'the snapshot has no signature of ours'],
  ['with the signature of another', `1.${'A'.repeat(86)}`, 'the signature of the snapshot is not its own'],
] as const)('a snapshot %s is refused, and what ran goes on', async ([_what, header, reason]) => {
  const running = plane.publish(snapshotOf(1));
  await startLink();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  plane.signatureOverride = header;
  const etag = plane.publish(snapshotOf(2));
  await expect.poll(lastReport, SOON).toEqual({ status: 'FAILED', etag, generation: null, reason, running });
  expect(generations()).toEqual([1]);
});

test('a snapshot of another site is refused, however well it is signed', async () => {
  plane.publish(snapshotOf(1, ['pbx1'], { site: 'rome' }));
  await expect(startLink()).rejects.toThrow('the snapshot is of site rome; this agent stands at milan');
});

test('a rotated signing key is learnt from the one before it, over any number of steps', async () => {
  plane.publish(snapshotOf(1));
  await startLink();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  plane.rotate();
  plane.rotate();
  const etag = plane.publish(snapshotOf(2));
  await expect.poll(generations, SOON).toEqual([1, 2]);
  // Under its own name: while it is written it has another.
  await expect.poll(stored, SOON).toContain(`2-${etag}.json`);
  // What is signed with the key of before is refused now when it comes, not when it lies on disk.
  links[0]!.link.close();
  await startLink();
  expect(generations()).toEqual([1, 2, 2]);
  plane.signingKeys.pop();
  plane.publish(snapshotOf(3));
  const reason = 'the snapshot is signed with key 2, and key 3 is the one that signs now';
  await expect.poll(() => lastReport()?.reason, SOON).toBe(reason);
});

test('a control plane that is not the one that was joined cannot hand out a key of its own', async () => {
  plane.publish(snapshotOf(1));
  await startLink();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  plane.signingKeys.length = 0;
  plane.rotate();
  plane.rotate();
  plane.publish(snapshotOf(2));
  const reason = 'key 1 of the control plane is not the one that is pinned here';
  await expect.poll(() => lastReport()?.reason, SOON).toBe(reason);
  plane.signingKeys.shift();
  plane.publish(snapshotOf(3));
  await expect.poll(() => lastReport()?.reason, SOON).toBe('key 2 is not signed by key 1');
  expect(generations()).toEqual([1]);
});

test('an agent that enrolled before there were signing keys pins the first that it sees', async () => {
  await rm(join(data, 'signing-keys.json'));
  plane.rotate();
  plane.publish(snapshotOf(1));
  await startLink();
  expect(generations()).toEqual([1]);
  const pinned = JSON.parse(await readFile(join(data, 'signing-keys.json'), 'utf8')) as unknown[];
  expect(pinned).toEqual(plane.signingKeys.map(({ sequence, x }) => ({ sequence, x })));
});
