import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto';
import type { Request, Sign } from './delivery.ts';

/** node:crypto in the shape that @smithy/signature-v4 wants. */
class Sha256 {
  #hash: Hash | Hmac;
  readonly #secret: string | ArrayBuffer | ArrayBufferView | undefined;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#secret = secret;
    this.#hash = this.#begin();
  }
  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(typeof data === 'string' ? data : bytesOf(data));
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): void {
    this.#hash = this.#begin();
  }
  #begin(): Hash | Hmac {
    if (this.#secret === undefined) return createHash('sha256');
    return createHmac('sha256', typeof this.#secret === 'string' ? this.#secret : bytesOf(this.#secret));
  }
}

const bytesOf = (data: ArrayBuffer | ArrayBufferView): Uint8Array =>
  ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);

/**
 * Signs requests for AWS (Amazon Managed Prometheus: service `aps`) with the credentials that AWS's own tools would find: environment, profile,
 * the role of the machine or container. What it needs is loaded only here: most agents never sign.
 */
export async function sigV4(region: string, service = 'aps'): Promise<Sign> {
  const [{ SignatureV4 }, { defaultProvider }] = await Promise.all([
    import('@smithy/signature-v4'),
    import('@aws-sdk/credential-provider-node'),
  ]);
  const signer = new SignatureV4({ region, service, sha256: Sha256, credentials: defaultProvider() });
  return async ({ url, headers, body }: Request) => {
    const { hostname, port, pathname, searchParams, protocol, host } = url;
    const signed = await signer.sign({
      method: 'POST',
      protocol,
      hostname,
      ...(port === '' ? {} : { port: Number(port) }),
      path: pathname,
      query: Object.fromEntries(searchParams),
      headers: { ...headers, host },
      body,
    });
    const { host: _, ...rest } = signed.headers;
    return rest;
  };
}
