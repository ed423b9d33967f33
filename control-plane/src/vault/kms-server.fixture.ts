import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { canonicalJson } from '@sipfleet/contract';
import { openBytes, sealBytes } from './sealed-bytes.ts';

export interface KmsServer {
  readonly url: string;
  /** What was asked: the operation, the key and the context. */
  readonly calls: { operation: string; key: string; context: unknown; signedFor: string | undefined }[];
  /** How the next requests end instead: HTTP status and `__type`. */
  readonly refusals: { status: number; type: string; message?: string }[];
  close(): Promise<void>;
}

interface Asked {
  KeyId: string;
  CiphertextBlob?: string;
  EncryptionContext: Record<string, string>;
}

/** AWS KMS as its protocol has it (AWS JSON 1.1: the operation in X-Amz-Target, bytes as base64), as far as it is used. */
export async function startKmsServer(keyId: string): Promise<KmsServer> {
  const master = randomBytes(32);
  const calls: KmsServer['calls'] = [];
  const refusals: KmsServer['refusals'] = [];

  function answer(operation: string, { KeyId, CiphertextBlob, EncryptionContext }: Asked): [number, object] {
    const refusal = refusals.shift();
    if (refusal !== undefined) return [refusal.status, { __type: refusal.type, message: refusal.message }];
    if (KeyId !== keyId) return [400, { __type: 'NotFoundException', message: `Alias ${KeyId} is not found.` }];
    const context = canonicalJson(EncryptionContext);
    if (operation === 'GenerateDataKey') {
      const plain = randomBytes(32);
      const wrapped = Buffer.from(sealBytes(master, plain, context), 'base64url').toString('base64');
      return [200, { KeyId, Plaintext: plain.toString('base64'), CiphertextBlob: wrapped }];
    }
    try {
      const wrapped = Buffer.from(CiphertextBlob ?? '', 'base64').toString('base64url');
      return [200, { KeyId, Plaintext: Buffer.from(openBytes(master, wrapped, context)).toString('base64') }];
    } catch {
      return [400, { __type: 'InvalidCiphertextException' }];
    }
  }

  const server = createServer(async (request, response) => {
    const operation = String(request.headers['x-amz-target']).replace(/^TrentService\./, '');
    const asked = JSON.parse(await bodyOf(request)) as Asked;
    const signedFor = /Credential=[^/]+\/\d+\/([\w-]+\/\w+)/.exec(request.headers.authorization ?? '')?.[1];
    calls.push({ operation, key: asked.KeyId, context: asked.EncryptionContext, signedFor });
    const [status, body] = answer(operation, asked);
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    refusals,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}
