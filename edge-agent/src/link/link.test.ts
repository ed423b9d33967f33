import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentReport, Snapshot } from '@sipfleet/contract';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { baseUrl, ControlPlaneClient } from './client.ts';
import { FixtureControlPlane, snapshotOf } from './control-plane.fixture.ts';
import { enrol, type Identity } from './identity.ts';
import { Link } from './link.ts';
import { PushSocket } from './push.ts';
import { SnapshotStore } from './store.ts';

/** Deadline of everything that is waited for; the first reconnect alone may wait a second. */
const SOON = { timeout: 15_000 };
const quiet = { info: () => {}, warn: () => {}, error: () => {} };

let data: string;
let plane: FixtureControlPlane;
let identity: Identity;
let applied: Snapshot[];
let refuse: ((snapshot: Snapshot) => string | undefined) | undefined;
let backends: AgentReport['backends'];
const links: { link: Link; stop: AbortController }[] = [];

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'sipfleet-'));
  plane = new FixtureControlPlane();
  await plane.start();
  applied = [];
  backends = [];
  refuse = undefined;
  const { signal } = new AbortController();
  const base = baseUrl(plane.url);
  identity = await enrol({
    data,
    base,
    joinToken: 'join-me',
    name: 'edge-1',
    version: '1',
    signal,
    log: quiet as never,
  });
});

afterEach(async () => {
  for (const { link, stop } of links.splice(0)) {
    stop.abort();
    link.close();
    link.close();
  }
  await plane.stop();
  await rm(data, { recursive: true });
});

/** A link as main.ts wires it, with data threads that only remember what they were given. */
function newLink(): Link {
  const stop = new AbortController();
  const base = baseUrl(plane.url);
  const token = () => identity.token();
  const log = quiet as never;
  const link: Link = new Link({
    client: new ControlPlaneClient(base, token, stop.signal),
    push: new PushSocket({ base, token, log, onOpen: () => link.refresh(), onHint: (hint) => link.onHint(hint) }),
    store: new SnapshotStore(data),
    apply: async (snapshot) => {
      const reason = refuse?.(snapshot);
      if (reason) throw new Error(reason);
      applied.push(snapshot);
    },
    backends: () => backends,
    version: '0.1.0',
    clock: { now: () => Date.now(), monotonic: () => performance.now() },
    log,
  });
  links.push({ link, stop });
  return link;
}
const generations = (): number[] => applied.map((s) => s.generation);
const lastReport = (): AgentReport['snapshot'] | undefined => plane.reports.at(-1)?.snapshot;
const stored = async (): Promise<string[]> => (await readdir(join(data, 'snapshots')).catch(() => [])).sort();

test('the first snapshot is fetched, applied, stored and acknowledged', async () => {
  const etag = plane.publish(snapshotOf(1));
  await newLink().start();
  expect(generations()).toEqual([1]);
  await expect.poll(lastReport, SOON).toEqual({ status: 'APPLIED', etag, generation: 1, running: etag });
  expect(await stored()).toEqual([`1-${etag}.json`]);
});

test('a change is pushed: the hint alone makes the agent ask', async () => {
  plane.publish(snapshotOf(1));
  await newLink().start();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  const etag = plane.publish(snapshotOf(2), 20);
  await expect.poll(generations, SOON).toEqual([1, 2]);
  await expect.poll(lastReport, SOON).toMatchObject({ status: 'APPLIED', etag });
});

test('a snapshot that cannot be applied is reported with the reason, and what ran goes on', async () => {
  const running = plane.publish(snapshotOf(1));
  const link = newLink();
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
  await newLink().start();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  plane.publish('{"format":2}');
  await expect.poll(() => lastReport()?.reason, SOON).toMatch(/^the snapshot is not understood: .*format/);
});

test('with the control plane away the agent runs from disk at once, and hears of a change when it is back', async () => {
  plane.publish(snapshotOf(1));
  await newLink().start();
  await expect.poll(stored, SOON).toHaveLength(1);
  links[0]!.link.close();
  await plane.stop();
  applied = [];
  await newLink().start();
  expect(generations()).toEqual([1]);
  plane.publish(snapshotOf(2));
  await plane.start();
  await expect.poll(generations, SOON).toEqual([1, 2]);
});

test('a lost push socket is opened again, and what was missed is asked for', async () => {
  plane.publish(snapshotOf(1));
  const link = newLink();
  await link.start();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  for (const socket of plane.sockets) socket.terminate();
  await expect.poll(() => link.status.connected, SOON).toBe(false);
  plane.publish(snapshotOf(2));
  await expect.poll(generations, SOON).toEqual([1, 2]);
  await expect.poll(() => link.status, SOON).toMatchObject({ connected: true, reconnects: 1, target: 2 });
});

test('an agent without any snapshot waits for the control plane for as long as it takes', async () => {
  await plane.stop();
  const running = newLink().start();
  plane.publish(snapshotOf(1));
  await plane.start();
  await running;
  expect(generations()).toEqual([1]);
});

test('a first snapshot that cannot run ends the start, after it was reported', async () => {
  plane.publish(snapshotOf(1));
  refuse = () => 'udp 127.0.0.1:5060: address already in use';
  await expect(newLink().start()).rejects.toThrow('udp 127.0.0.1:5060: address already in use');
  expect(lastReport()).toMatchObject({ status: 'FAILED', running: null });
});

test('an agent that the control plane no longer knows does not start, but what runs from disk goes on', async () => {
  plane.publish(snapshotOf(1));
  plane.broken.set('/v1/agent/snapshot', 401);
  await expect(newLink().start()).rejects.toThrow(/v1\/agent\/snapshot: 401 Broken/);
  plane.broken.clear();
  await newLink().start();
  await expect.poll(stored, SOON).toHaveLength(1);
  for (const { link } of links) link.close();
  plane.broken.set('/v1/agent/snapshot', 401);
  applied = [];
  await newLink().start();
  expect(generations()).toEqual([1]);
});

test('a stored snapshot that can no longer run yields to the one that the control plane has meanwhile', async () => {
  plane.publish(snapshotOf(1));
  await newLink().start();
  await expect.poll(stored, SOON).toHaveLength(1);
  links[0]!.link.close();
  applied = [];
  plane.publish(snapshotOf(2));
  refuse = (s) => (s.generation === 1 ? 'that port is taken' : undefined);
  await newLink().start();
  expect(generations()).toEqual([2]);
});

test('verdict changes are reported together, not one by one', async () => {
  plane.publish(snapshotOf(1));
  const link = newLink();
  await link.start();
  await expect.poll(() => lastReport()?.status, SOON).toBe('APPLIED');
  const before = plane.reports.length;
  backends = [
    { farm: 'pbx', backend: 'pbx1', state: 'down', since: new Date(0).toISOString(), reason: 'no answer in 2s' },
  ];
  for (let i = 0; i < 50; i++) link.verdictChanged();
  await expect.poll(() => plane.reports.at(-1)?.backends, SOON).toEqual(backends);
  expect(plane.reports.length - before).toBeLessThanOrEqual(2);
});

test('garbage on the push socket changes nothing', async () => {
  plane.publish(snapshotOf(1));
  await newLink().start();
  await expect.poll(() => plane.sockets.size, SOON).toBe(1);
  plane.hint('not JSON');
  plane.hint('{"type":"reboot"}');
  plane.publish(snapshotOf(2));
  await expect.poll(generations, SOON).toEqual([1, 2]);
});
