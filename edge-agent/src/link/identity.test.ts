import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { backoffMs, CAP_MS } from './backoff.ts';
import { baseUrl, ControlPlaneClient } from './client.ts';
import { FixtureControlPlane, snapshotOf } from './control-plane.fixture.ts';
import { type EnrolOptions, enrol, loadIdentity } from './identity.ts';
import { ServerClock } from './server-clock.ts';

let data: string;
let plane: FixtureControlPlane;
const stop = new AbortController();
const warned: string[] = [];
const log = { warn: (_: unknown, message?: string) => void warned.push(message ?? '') } as EnrolOptions['log'];
const options = (): EnrolOptions => ({
  data,
  base: baseUrl(plane.url),
  proof: { joinToken: 'join-me' },
  name: 'edge-1',
  version: '0.1.0',
  signal: stop.signal,
  log,
});

/** As a machine has it whose clock is off by so much. */
const clock = (offMs = 0) => new ServerClock({ now: () => Date.now() + offMs, monotonic: () => performance.now() });

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'sipfleet-'));
  plane = new FixtureControlPlane();
  await plane.start();
});
afterEach(async () => {
  await plane.stop();
  await rm(data, { recursive: true });
});

test('a join token buys an identity, which is kept for its owner only and signs what the control plane accepts', async () => {
  const identity = await enrol(options());
  expect(identity).toMatchObject({ agentId: 'agt_abcdefghijklmnopqrst', number: 7, site: 'milan', name: 'edge-1' });
  expect((await stat(join(data, 'identity.json'))).mode & 0o777).toBe(0o600);
  const again = await loadIdentity(data);
  plane.publish(snapshotOf(1));
  const client = new ControlPlaneClient(baseUrl(plane.url), () => again!.token(), clock(), stop.signal);
  expect((await client.snapshot(undefined))?.etag).toBe(plane.etag);
});

test('a refused token is an error at once, with the reason that the control plane gave', async () => {
  await expect(enrol({ ...options(), proof: { joinToken: 'stolen' } })).rejects.toMatchObject({
    code: 'LINK',
    message: expect.stringMatching(/POST .*\/v1\/agents\/enrol: 401 Unauthorized: the join token is not known/),
  });
  expect(await loadIdentity(data)).toBeUndefined();
});

test('while the control plane is away enrolment goes on trying, with the same key', async () => {
  plane.broken.set('/v1/agents/enrol', 503);
  const enrolled = enrol(options());
  await expect.poll(() => warned).toContain('not enrolled yet, trying again');
  const key = JSON.parse(await readFile(join(data, 'identity.json'), 'utf8')).key.x;
  plane.broken.clear();
  await enrolled;
  expect(JSON.parse(await readFile(join(data, 'identity.json'), 'utf8')).key.x).toBe(key);
});

test('an identity that cannot be read is an error that names the file, not a reason to enrol anew', async () => {
  await writeFile(join(data, 'identity.json'), '{"name":"edge-1","key":{}}');
  await expect(loadIdentity(data)).rejects.toMatchObject({ code: 'STORE', message: expect.stringContaining(data) });
  await expect(enrol(options())).rejects.toMatchObject({ code: 'STORE' });
});

test('a snapshot whose bytes do not have the hash of its ETag is refused', async () => {
  const identity = await enrol(options());
  plane.publish(snapshotOf(1));
  plane.etagOverride = 'a'.repeat(64);
  const client = new ControlPlaneClient(baseUrl(plane.url), () => identity.token(), clock(), stop.signal);
  await expect(client.snapshot(undefined)).rejects.toThrow("the body's SHA-256 is");
});

test('a token is used again for three minutes, and never one of the future', async () => {
  const identity = await enrol(options());
  const now = Date.now();
  const first = await identity.token(now);
  expect(await identity.token(now + 179_000)).toBe(first);
  expect(await identity.token(now + 180_000)).not.toBe(first);
  const later = await identity.token(now + 3_600_000);
  expect(await identity.token(now)).not.toBe(later);
});

test.each([-2, 2])('an agent whose clock is %i hours off learns the time from the first refusal', async (hours) => {
  const identity = await enrol(options());
  plane.publish(snapshotOf(1));
  const wrong = clock(hours * 3_600_000);
  const client = new ControlPlaneClient(baseUrl(plane.url), () => identity.token(wrong.now()), wrong, stop.signal);
  expect((await client.snapshot(undefined))?.etag).toBe(plane.etag);
  expect(plane.requests.filter((r) => r === 'GET /v1/agent/snapshot')).toHaveLength(2);
  await client.snapshot(plane.etag);
  expect(plane.requests.filter((r) => r === 'GET /v1/agent/snapshot')).toHaveLength(3);
  expect(Math.abs(wrong.now() - Date.now())).toBeLessThan(10_000);
});

test('a revoked agent is refused once, not asked for the time', async () => {
  const identity = await enrol(options());
  plane.broken.set('/v1/agent/snapshot', 401);
  const client = new ControlPlaneClient(baseUrl(plane.url), () => identity.token(), clock(), stop.signal);
  await expect(client.snapshot(undefined)).rejects.toThrow('401 Broken');
  expect(plane.requests.filter((r) => r === 'GET /v1/agent/snapshot')).toHaveLength(1);
});

test('a base URL keeps the path of an API gateway stage', () => {
  expect(new URL('v1/agent/report', baseUrl('https://api.example.com/prod')).href).toBe(
    'https://api.example.com/prod/v1/agent/report',
  );
});

test('the control plane may want the first tries of its fleet spread wider than it waits itself', () => {
  const most = (attempt: number, spreadMs: number) => backoffMs(attempt, () => 0.999999, spreadMs);
  expect([most(0, 20_000), most(1, 20_000), most(9, 20_000), most(0, 60_000), most(5, 60_000)]).toEqual(
    [20_000, 30_000, 30_000, 60_000, 60_000].map((ms) => expect.closeTo(ms, -1)),
  );
});

test('waits grow exponentially with full jitter, the first stays under a second, none exceeds the cap', () => {
  expect([0, 1, 2, 10].map((attempt) => backoffMs(attempt, () => 0.999999))).toEqual([
    expect.closeTo(1000, 0),
    expect.closeTo(2000, 0),
    expect.closeTo(4000, 0),
    expect.closeTo(CAP_MS, 0),
  ]);
  expect(backoffMs(20, () => 0)).toBe(0);
});
