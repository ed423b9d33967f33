import { createHash, createHmac } from 'node:crypto';
import { IAM_BODY, IAM_HEADERS, type IamProof, iamKeys } from '@sipfleet/contract';
import { SignatureV4 } from '@smithy/signature-v4';
import { AgentError } from '../errors.ts';

/** Of AWS; a session's has a token as well. */
export interface AwsCredentialIdentity {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface IamProofOptions {
  /** The name under which the control plane takes proofs. */
  readonly audience: string;
  readonly publicKey: { readonly x: string };
  readonly sealKey: { readonly x: string } | undefined;
  readonly credentials: AwsCredentialIdentity;
  /** Whose STS is asked: `eu-south-1`. */
  readonly region: string;
  readonly at: Date;
}

/**
 * A signed `sts:GetCallerIdentity` that is not sent: whoever sends it learns whose credentials signed it, and nothing else can be done
 * with it. The agent's keys are among what is signed.
 */
export async function iamProof(options: IamProofOptions): Promise<IamProof> {
  const { audience, publicKey, sealKey, credentials, region, at } = options;
  const host = `sts.${region}.amazonaws.com`;
  const signer = new SignatureV4({ credentials, region, service: 'sts', sha256: Sha256 as never });
  const request = {
    method: 'POST',
    protocol: 'https:',
    hostname: host,
    path: '/',
    body: IAM_BODY,
    headers: {
      host,
      'content-type': 'application/x-www-form-urlencoded',
      [IAM_HEADERS.audience]: audience,
      [IAM_HEADERS.keys]: iamKeys(publicKey, sealKey),
    },
  };
  const { headers } = await signer.sign(request, { signingDate: at });
  return { url: `https://${host}/`, body: IAM_BODY, headers };
}

/** What the signer wants of SHA-256 and HMAC, by Node itself. */
class Sha256 {
  readonly #hash: ReturnType<typeof createHash> | ReturnType<typeof createHmac>;
  constructor(secret?: string | Uint8Array) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret);
  }
  update(data: string | Uint8Array): void {
    this.#hash.update(data);
  }
  async digest(): Promise<Uint8Array> {
    return new Uint8Array(this.#hash.digest());
  }
}

/** What the AWS SDK finds: the environment, a profile, the container's or the instance's role. Throws AgentError USAGE. */
export async function awsCredentials(): Promise<AwsCredentialIdentity> {
  try {
    const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
    return await defaultProvider()();
  } catch (cause) {
    throw new AgentError('USAGE', `no AWS credentials to join with: ${(cause as Error).message}`, { cause });
  }
}
