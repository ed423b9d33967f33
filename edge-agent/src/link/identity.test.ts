import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { backoffMs, CAP_MS } from './backoff.ts';
import { baseUrl, ControlPlaneClient } from './client.ts';
import { FixtureControlPlane, snapshotOf } from './control-plane.fixture.ts';
import { type EnrolOptions, enrol, loadIdentity } from './identity.ts';

let data: string;
let plane: FixtureControlPlane;
const stop = new AbortController();
const warned: string[] = [];
const log = { warn: (_: unknown, message?: string) => void warned.push(message ?? '') } as EnrolOptions['log'];
const options = (): EnrolOptions => ({
  data,
  base: baseUrl(plane.url),
  joinToken: 'join-me',
  name: 'edge-1',
  version: '0.1.0',
  signal: stop.signal,
  log,
});

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
  const client = new ControlPlaneClient(baseUrl(plane.url), () => again!.token(), stop.signal);
  expect((await client.snapshot(undefined))?.etag).toBe(plane.etag);
});

test('a refused token is an error at once, with the reason that the control plane gave', async () => {
  await expect(enrol({ ...options(), joinToken: 'stolen' })).rejects.toMatchObject({
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
  const client = new ControlPlaneClient(baseUrl(plane.url), () => identity.token(), stop.signal);
  await expect(client.snapshot(undefined)).rejects.toThrow("the body's SHA-256 is");
});

test('a base URL keeps the path of an API gateway stage', () => {
  expect(new URL('v1/agent/report', baseUrl('https://api.example.com/prod')).href).toBe(
    'https://api.example.com/prod/v1/agent/report',
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
