import { createHash, createHmac } from 'node:crypto';
import { IAM_BODY } from '@sipfleet/contract';
import { expect, test } from 'vitest';
import { iamProof } from './iam.ts';

const credentials = { accessKeyId: 'AKIDEXAMPLEAKIDEXAM', secretAccessKey: 'a-secret', sessionToken: 'a-session' };
const keys = { publicKey: { x: 'p'.repeat(43) }, sealKey: { x: 's'.repeat(43) } };

test('is signed as AWS documents Signature Version 4, the keys with it', async () => {
  const at = new Date('2026-01-02T03:04:05Z');
  const proof = await iamProof({ audience: 'sipfleet', ...keys, credentials, region: 'eu-south-1', at });
  expect(proof).toMatchObject({ url: 'https://sts.eu-south-1.amazonaws.com/', body: IAM_BODY });
  const { authorization = '', ...headers } = proof.headers;
  expect(headers).toMatchObject({
    host: 'sts.eu-south-1.amazonaws.com',
    'x-amz-date': '20260102T030405Z',
    'x-amz-security-token': 'a-session',
    'x-sipfleet-audience': 'sipfleet',
    'x-sipfleet-keys': `${'p'.repeat(43)}.${'s'.repeat(43)}`,
  });
  // The algorithm written out anew, from the documentation: canonical request, string to sign, derived key.
  const names = /SignedHeaders=([^,]+)/.exec(authorization)?.[1]?.split(';') ?? [];
  const sha = (text: string) => createHash('sha256').update(text).digest('hex');
  const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();
  const lines = names.map((name) => `${name}:${headers[name]}\n`).join('');
  const canonical = `POST\n/\n\n${lines}\n${names.join(';')}\n${sha(IAM_BODY)}`;
  const scope = '20260102/eu-south-1/sts/aws4_request';
  const toSign = `AWS4-HMAC-SHA256\n20260102T030405Z\n${scope}\n${sha(canonical)}`;
  const key = ['eu-south-1', 'sts', 'aws4_request'].reduce<Buffer>(hmac, hmac('AWS4a-secret', '20260102'));
  expect(authorization).toContain(`Credential=AKIDEXAMPLEAKIDEXAM/${scope}`);
  expect(authorization).toContain(`Signature=${hmac(key, toSign).toString('hex')}`);
  expect(names).toEqual(expect.arrayContaining(['host', 'x-amz-date', 'x-sipfleet-audience', 'x-sipfleet-keys']));
});
