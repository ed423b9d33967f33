import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KMS } from '@aws-sdk/client-kms';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createClient } from '../client.ts';
import { type ControlPlaneOptions, startControlPlane } from '../server.ts';
import { kmsKeys } from './kms-keys.ts';
import { type KmsServer, startKmsServer } from './kms-server.fixture.ts';

/** The AWS SDK itself, against a server that speaks the protocol of KMS. */
const KEY = 'alias/sipfleet';

let kms: KmsServer;
let dir: string;
beforeEach(async () => {
  kms = await startKmsServer(KEY);
  dir = mkdtempSync(join(tmpdir(), 'sipfleet-kms-'));
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await kms.close();
  rmSync(dir, { recursive: true });
});

const connect = (keyId = KEY) => kmsKeys(new KMS({ region: 'eu-south-1', endpoint: kms.url }), keyId);

test('a data key is made and opened under its context, with signed requests', async () => {
  const { plain, wrapped } = await connect().generate('secret tls');
  // Another process: nothing is remembered.
  expect(Buffer.from(await connect().unwrap(wrapped, 'secret tls'))).toEqual(Buffer.from(plain));
  expect(kms.calls).toEqual([
    { operation: 'GenerateDataKey', key: KEY, context: { sipfleet: 'secret tls' }, signedFor: 'eu-south-1/kms' },
    { operation: 'Decrypt', key: KEY, context: { sipfleet: 'secret tls' }, signedFor: 'eu-south-1/kms' },
  ]);
  await expect(connect().unwrap(wrapped, 'secret other')).rejects.toThrow(
    'KMS key alias/sipfleet does not open what this store was sealed with: InvalidCiphertextException',
  );
});

test('what is opened once is not asked for again', async () => {
  const keys = connect();
  const { wrapped } = await keys.generate('secret tls');
  await Promise.all([keys.unwrap(wrapped, 'secret tls'), keys.unwrap(wrapped, 'secret tls')]);
  expect(kms.calls.length).toBe(1);
});

test('throttling and internal errors are tried again; a refusal names the key and the reason', async () => {
  kms.refusals.push({ status: 400, type: 'ThrottlingException' }, { status: 500, type: 'KMSInternalException' });
  await expect(connect().generate('secret tls')).resolves.toMatchObject({ wrapped: expect.any(String) });
  expect(kms.calls.length).toBe(3);
  kms.refusals.push({
    status: 400,
    type: 'AccessDeniedException',
    message: 'not authorized to perform kms:GenerateDataKey',
  });
  await expect(connect().generate('secret tls')).rejects.toThrow(
    'KMS key alias/sipfleet makes no data key: AccessDeniedException: not authorized to perform kms:GenerateDataKey',
  );
});

test('a control plane with its key in KMS keeps none on disk, opens its Secrets after a restart, and says why it cannot start', async () => {
  const log = { debug() {}, info() {}, error() {} };
  const file = join(dir, 'store.db');
  const options = (keyId: string): ControlPlaneOptions => ({
    http: { host: '127.0.0.1', port: 0 },
    store: { kind: 'sqlite', file },
    dataDir: dir,
    kms: { keyId, region: 'eu-south-1', endpoint: kms.url },
    logger: log,
  });
  const first = await startControlPlane(options(KEY));
  const secret = { kind: 'Secret', name: 'tls', data: { privateKey: 'canary-in-a-coal-mine' } } as const;
  const clientOf = ({ url, adminToken }: typeof first) => createClient({ url, token: adminToken });
  await clientOf(first).putResource(secret, { ifNoneMatch: '*' });
  await first.close();
  expect(existsSync(join(dir, 'secret.key'))).toBe(false);
  expect(readFileSync(file).includes('canary')).toBe(false);

  kms.calls.length = 0;
  const second = await startControlPlane(options(KEY));
  // Fingerprints can only be compared with the Secret's own key: the same values make no revision.
  expect(await clientOf(second).putResource(secret, { ifMatch: 1 })).toMatchObject({ revision: 1, created: false });
  expect(kms.calls.map(({ operation, context }) => [operation, context])).toEqual([
    ['Decrypt', { sipfleet: 'signing key 1' }],
    ['Decrypt', { sipfleet: 'secret tls' }],
  ]);
  await second.close();
  await expect(startControlPlane(options('alias/other'))).rejects.toThrow(
    'KMS key alias/other does not open what this store was sealed with: NotFoundException: Alias alias/other is not found.',
  );
});
