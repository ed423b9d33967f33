import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { Check } from '@sipfleet/contract';
import { expect, onTestFinished, test } from 'vitest';
import { probeTcp, probeTls } from './connect.ts';
import type { ProbeTarget } from './probe.ts';
import { hardDeadline } from './probers.ts';

const NEVER = new AbortController().signal;
const target = (port: number, check: object, timeoutMs = 5000): ProbeTarget => ({
  address: '127.0.0.1',
  port,
  transport: 'tcp',
  localAddress: '127.0.0.1',
  timeoutMs,
  check: Check.parse({ name: 'c', ...check }),
});

async function listening(server: net.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** A TLS server whose own certificate lives this many days; a negative number: ended that long ago. */
async function tlsPeer(days: number): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'sipfleet-tls-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const [key, request, cert] = ['key', 'request', 'cert'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=pbx'];
  execFileSync('openssl', ['req', ...curve, '-keyout', key, '-out', request], { stdio: 'ignore' });
  // Self-signed by x509 and not by req, which takes no certificate that has ended.
  const signed = ['x509', '-req', '-in', request, '-signkey', key, '-days', String(days), '-out', cert];
  execFileSync('openssl', signed, { stdio: 'ignore' });
  return listening(tls.createServer({ key: readFileSync(key), cert: readFileSync(cert) }));
}

test('tcp: a port that is open and one that is not', async () => {
  const port = await listening(net.createServer((s) => s.on('error', () => {})));
  expect(await probeTcp(target(port, { type: 'tcp' }), NEVER)).toMatchObject({ result: 'success' });
  const closed = net.createServer();
  const gone = await listening(closed);
  closed.close();
  await once(closed, 'close');
  const refused = { result: 'failure', phase: 'connect', evidence: 'connection refused' };
  expect(await probeTcp(target(gone, { type: 'tcp' }), NEVER)).toEqual(refused);
  // The check's own port goes before the backend's.
  expect(await probeTcp(target(gone, { type: 'tcp', port }), NEVER)).toMatchObject({ result: 'success' });
});

test('tls: a peer that accepts and never shakes hands is left at the deadline', async () => {
  const sockets: net.Socket[] = [];
  const port = await listening(net.createServer((s) => void sockets.push(s.on('error', () => {}))));
  const outcome = await probeTls(target(port, { type: 'tls' }, 100), NEVER);
  for (const s of sockets) s.destroy();
  expect(outcome).toEqual({ result: 'failure', phase: 'connect', evidence: 'no connection in 0.1s' });
});

test('tls: days left decide', async () => {
  const port = await tlsPeer(10);
  const inTen = await probeTls(target(port, { type: 'tls' }), NEVER);
  expect(inTen).toMatchObject({
    result: 'success',
    evidence: expect.stringMatching(/^certificate ends on .*, in 9 days$/),
  });
  const strict = await probeTls(target(port, { type: 'tls', daysLeft: 30 }), NEVER);
  expect(strict).toMatchObject({ result: 'failure', evidence: expect.stringMatching(/fewer than 30$/) });
  const expired = await probeTls(target(await tlsPeer(-1), { type: 'tls' }), NEVER);
  expect(expired).toMatchObject({ result: 'failure', evidence: expect.stringMatching(/^certificate expired on/) });
});

test('a prober that hangs is told to stop and left; one that throws says nothing about the backend', async () => {
  let stopped = false;
  const hanging = (stop: AbortSignal) =>
    new Promise<never>(() => {
      stop.addEventListener('abort', () => {
        stopped = true;
      });
    });
  expect(await hardDeadline(hanging, 10, NEVER)).toEqual({ result: 'failure', evidence: 'no result in 0.01s' });
  expect(stopped).toBe(true);
  const thrown = await hardDeadline(() => Promise.reject(new Error('no such leg')), 1000, NEVER);
  expect(thrown).toEqual({ result: 'inconclusive', evidence: 'cannot be probed: no such leg' });
});

test('a probe that is stopped has time to leave nothing behind', async () => {
  const stop = new AbortController();
  const left = { result: 'inconclusive', evidence: 'BYE answered' } as const;
  const calling = (signal: AbortSignal) =>
    new Promise<typeof left>((resolve) => {
      signal.addEventListener('abort', () => setImmediate(() => resolve(left)));
    });
  const outcome = hardDeadline(calling, 60_000, stop.signal);
  stop.abort();
  expect(await outcome).toEqual(left);
});
