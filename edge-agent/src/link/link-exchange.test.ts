import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Snapshot } from '@sipfleet/contract';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { baseUrl } from './client.ts';
import { FixtureControlPlane, snapshotOf } from './control-plane.fixture.ts';
import { enrol, type Identity } from './identity.ts';
import { closeLinks, quiet, type WiredLink, wireLink } from './link.fixture.ts';

const SOON = { timeout: 15_000 };

let data: string;
let plane: FixtureControlPlane;
let identity: Identity;
let applied: Snapshot[];
const links: WiredLink[] = [];

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'sipfleet-'));
  plane = new FixtureControlPlane();
  plane.takesQuestions = true;
  await plane.start();
  applied = [];
  const { signal } = new AbortController();
  const joining = { proof: { joinToken: 'join-me' }, name: 'edge-1', version: '1', log: quiet as never };
  identity = await enrol({ data, base: baseUrl(plane.url), signal, ...joining });
});
afterEach(async () => {
  closeLinks(links);
  await plane.stop();
  await rm(data, { recursive: true, force: true, maxRetries: 10 });
});

/** A link that runs generation 1 and has its socket open. Forgets what was asked until then. */
async function running(): Promise<void> {
  plane.publish(snapshotOf(1));
  const apply = async (snapshot: Snapshot) => void applied.push(snapshot);
  const wired = await wireLink(plane, { data, identity }, { apply });
  links.push(wired);
  await wired.link.start();
  // The socket opens, and the report of then is answered, by whichever way it went.
  await expect.poll(() => [plane.sockets.size, lastStatus()], SOON).toEqual([1, { status: 'APPLIED', generation: 1 }]);
  await expect.poll(() => wired.link.status.target, SOON).toBe(1);
  plane.requests.length = 0;
  plane.questions.length = 0;
}
const lastStatus = () => {
  const last = plane.reports.at(-1)?.snapshot;
  return last && { status: last.status, generation: last.generation };
};
const generations = (): number[] => applied.map((s) => s.generation);
const asked = (): string[] => plane.questions.map(({ type }) => type);

test('what is hinted at is fetched and acknowledged over the socket, without a request', async () => {
  await running();
  const etag = plane.publish(snapshotOf(2));
  await expect.poll(lastStatus, SOON).toEqual({ status: 'APPLIED', generation: 2 });
  expect(generations()).toEqual([1, 2]);
  expect(plane.questions).toContainEqual({ type: 'snapshot', id: expect.any(Number), running: expect.any(String) });
  expect([plane.reports.at(-1)?.snapshot.etag, plane.requests]).toEqual([etag, []]);
});

test('what comes over the socket is no less verified: not what its ETag says, signed by another', async () => {
  await running();
  plane.etagOverride = 'a'.repeat(64);
  plane.publish(snapshotOf(2));
  await expect.poll(asked, SOON).toContain('snapshot');
  plane.etagOverride = undefined;
  plane.signatureOverride = '1.AAAA';
  plane.publish(snapshotOf(3));
  await expect.poll(lastStatus, SOON).toEqual({ status: 'FAILED', generation: null });
  expect(generations()).toEqual([1]);
});

test.each([
  ['one that says to ask by HTTP', 303],
  ['one that does not know this agent', 401],
])('where the answer is %s, HTTP is asked', async (_what, status) => {
  await running();
  plane.questionStatus = status;
  plane.publish(snapshotOf(2));
  await expect.poll(lastStatus, SOON).toEqual({ status: 'APPLIED', generation: 2 });
  expect(plane.requests).toEqual(expect.arrayContaining(['GET /v1/agent/snapshot', 'POST /v1/agent/report']));
});

test('a socket that is lost before the answer: HTTP is asked', async () => {
  await running();
  plane.questionStatus = null;
  plane.publish(snapshotOf(2));
  await expect.poll(asked, SOON).toContain('snapshot');
  for (const socket of plane.sockets) socket.terminate();
  await expect.poll(generations, SOON).toEqual([1, 2]);
  expect(plane.requests).toContain('GET /v1/agent/snapshot');
});

test('a control plane that has too much to do is not asked by another way, but again a little later', async () => {
  await running();
  plane.questionStatus = 503;
  plane.publish(snapshotOf(2));
  await expect.poll(asked, SOON).toContain('snapshot');
  expect(plane.requests).not.toContain('GET /v1/agent/snapshot');
  plane.questionStatus = undefined;
  await expect.poll(generations, SOON).toEqual([1, 2]);
  expect(plane.requests).toEqual([]);
});

test('a control plane that takes no questions is sent none', async () => {
  plane.takesQuestions = false;
  await running();
  plane.publish(snapshotOf(2));
  await expect.poll(lastStatus, SOON).toEqual({ status: 'APPLIED', generation: 2 });
  expect([asked(), plane.requests.includes('GET /v1/agent/snapshot')]).toEqual([[], true]);
});
