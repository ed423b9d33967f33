import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { type DeliveryOptions, deliver, otlpRetryable, remoteWriteRetryable, retryAfterMs } from './delivery.ts';
import { sigV4 } from './sigv4.ts';

afterEach(() => vi.unstubAllEnvs());

interface Received {
  request: IncomingMessage;
  body: Buffer;
}

/** A receiver that answers every request alike. */
async function receiver(status: number, headers: Record<string, string> = {}, text = '') {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    received.push({ request, body: await buffer(request) });
    if (status !== 0) response.writeHead(status, headers).end(text);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v1/write?x=y%20z`);
  return { received, url };
}
const options = (url: URL, more: Partial<DeliveryOptions> = {}): DeliveryOptions => ({
  url,
  headers: { 'content-type': 'application/x-protobuf' },
  retryable: otlpRetryable,
  deadlineMs: 10_000,
  now: () => 0,
  ...more,
});
const signal = new AbortController().signal;
const BODY = Buffer.from('metrics');

test('a request that is taken', async () => {
  const { url, received } = await receiver(200, {}, 'thanks');
  const outcome = await deliver(BODY, options(url), signal);
  expect(outcome.kind === 'taken' && Buffer.from(outcome.body).toString()).toBe('thanks');
  expect(received[0]?.body).toEqual(BODY);
  expect(received[0]?.request).toMatchObject({ method: 'POST', url: '/api/v1/write?x=y%20z' });
});

test.each([
  [429, otlpRetryable, 'later'],
  [503, otlpRetryable, 'later'],
  [500, otlpRetryable, 'refused'],
  [400, otlpRetryable, 'refused'],
  [500, remoteWriteRetryable, 'later'],
  [429, remoteWriteRetryable, 'later'],
  [409, remoteWriteRetryable, 'refused'],
])('%d', async (status, retryable, kind) => {
  const { url } = await receiver(status, { 'retry-after': '7' }, 'out of order sample\n');
  const outcome = await deliver(BODY, options(url, { retryable }), signal);
  expect(outcome).toEqual({
    kind,
    reason: `${status} out of order sample`,
    ...(kind === 'later' ? { waitMs: 7000 } : {}),
  });
});

test('a receiver that is not there, one that does not answer, and one that points elsewhere', async () => {
  expect(await deliver(BODY, options(new URL('http://127.0.0.1:1/')), signal)).toMatchObject({ kind: 'later' });
  const silent = await receiver(0);
  expect(await deliver(BODY, options(silent.url, { deadlineMs: 50 }), signal)).toMatchObject({ kind: 'later' });
  const moved = await receiver(302, { location: 'http://127.0.0.1:1/' });
  expect(await deliver(BODY, options(moved.url), signal)).toMatchObject({ kind: 'later' });
});

test('Retry-After is seconds or a date, and believed for ten minutes at most', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  expect(retryAfterMs('30', now)).toBe(30_000);
  expect(retryAfterMs('Thu, 01 Jan 2026 00:02:00 GMT', now)).toBe(120_000);
  expect(retryAfterMs('Wed, 31 Dec 2025 00:00:00 GMT', now)).toBe(0);
  expect(retryAfterMs('999999', now)).toBe(600_000);
  expect(retryAfterMs('soon', now)).toBeUndefined();
  expect(retryAfterMs(null, now)).toBeUndefined();
});

const hmac = (key: Buffer | string, text: string) => createHmac('sha256', key).update(text).digest();
const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');

test('a request to AWS carries the signature that its recipe gives (Signature Version 4)', async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIDEXAMPLE');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'a secret');
  const { url, received } = await receiver(200);
  expect(await deliver(BODY, options(url, { sign: await sigV4('eu-south-1') }), signal)).toMatchObject({
    kind: 'taken',
  });
  const [{ request, body }] = received as [Received];
  const { authorization = '' } = request.headers;
  const [, scope = '', names = '', signature] =
    /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})$/.exec(
      authorization,
    ) ?? [];
  const [date = '', region, service] = scope.split('/');
  expect([region, service]).toEqual(['eu-south-1', 'aps']);
  const canonical = [
    ...['POST', '/api/v1/write', 'x=y%20z'],
    ...names.split(';').map((name) => `${name}:${request.headers[name]}`),
    ...['', names, sha256(body)],
  ].join('\n');
  expect(names.split(';')).toEqual(expect.arrayContaining(['host', 'x-amz-date', 'content-type']));
  const toSign = ['AWS4-HMAC-SHA256', request.headers['x-amz-date'], scope, sha256(canonical)].join('\n');
  const key = ['eu-south-1', 'aps', 'aws4_request'].reduce(hmac, hmac('AWS4a secret', date));
  expect(hmac(key, toSign).toString('hex')).toBe(signature);
});
