import type { KeyWrapper } from './key-wrapper.ts';

/** What is used of AWS KMS: two operations of its API, in its words. `@aws-sdk/client-kms`' `KMS` has this shape. */
export interface KmsClient {
  generateDataKey(input: {
    KeyId: string;
    KeySpec: 'AES_256';
    EncryptionContext: Record<string, string>;
  }): Promise<{ Plaintext?: Uint8Array | undefined; CiphertextBlob?: Uint8Array | undefined }>;
  decrypt(input: {
    KeyId: string;
    CiphertextBlob: Uint8Array;
    EncryptionContext: Record<string, string>;
  }): Promise<{ Plaintext?: Uint8Array | undefined }>;
}

/** Unwrapped keys that are kept in memory: each saves a call that is charged and takes milliseconds. */
const MAX_KEPT = 1000;

/** The key in KMS, which it never leaves. The context is KMS' encryption context, so that CloudTrail says what was opened. */
export function kmsKeys(client: KmsClient, keyId: string): KeyWrapper {
  const kept = new Map<string, Uint8Array>();
  const keep = (id: string, plain: Uint8Array) => {
    if (kept.size >= MAX_KEPT) kept.delete(kept.keys().next().value as string);
    kept.set(id, plain);
  };
  /** AWS says what is wrong, and not with which key. */
  const refused = (what: string) => (cause: Error) => {
    throw new Error(`KMS key ${keyId} ${what}: ${cause.name}: ${cause.message}`, { cause });
  };
  return {
    async generate(context) {
      const EncryptionContext = { sipfleet: context };
      const made = await client
        .generateDataKey({ KeyId: keyId, KeySpec: 'AES_256', EncryptionContext })
        .catch(refused('makes no data key'));
      if (made.Plaintext?.length !== 32 || made.CiphertextBlob === undefined)
        throw new Error(`KMS key ${keyId} made no data key of 32 bytes`);
      const wrapped = Buffer.from(made.CiphertextBlob).toString('base64url');
      keep(`${context} ${wrapped}`, made.Plaintext);
      return { plain: made.Plaintext, wrapped };
    },
    async unwrap(wrapped, context) {
      const known = kept.get(`${context} ${wrapped}`);
      if (known !== undefined) return known;
      const CiphertextBlob = Buffer.from(wrapped, 'base64url');
      const opened = await client
        .decrypt({ KeyId: keyId, CiphertextBlob, EncryptionContext: { sipfleet: context } })
        .catch(refused('does not open what this store was sealed with'));
      if (opened.Plaintext === undefined) throw new Error(`KMS key ${keyId} opened nothing`);
      keep(`${context} ${wrapped}`, opened.Plaintext);
      return opened.Plaintext;
    },
  };
}
