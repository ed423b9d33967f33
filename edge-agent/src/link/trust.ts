import { createPublicKey, verify } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson, type KeyChain, parseWith, SigningKey, signedText } from '@sipfleet/contract';
import { AgentError } from '../errors.ts';
import { writeDurably } from './durable-file.ts';

/** What may be signed with the keys of the chain. */
export type Purpose = 'snapshot' | 'secrets';

const pathIn = (data: string): string => join(data, 'signing-keys.json');

function verifies(
  key: SigningKey,
  purpose: Parameters<typeof signedText>[0],
  body: string,
  signature: string,
): boolean {
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: key.x }, format: 'jwk' });
  return verify(null, Buffer.from(signedText(purpose, body)), publicKey, Buffer.from(signature, 'base64url'));
}

const wrong = (message: string): AgentError => new AgentError('SIGNATURE', message);

/** Writes down the key that the control plane gave at enrolment: from here on nothing else is believed. */
export async function pin(data: string, keys: readonly SigningKey[]): Promise<void> {
  try {
    await writeDurably(pathIn(data), `${JSON.stringify(keys, null, 2)}\n`);
  } catch (cause) {
    throw new AgentError('STORE', `${pathIn(data)} cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/**
 * The keys that this agent takes orders from, DATA/signing-keys.json: the one pinned at enrolment, and those that a chain of signatures
 * led to from there. An agent that has none yet, enrolled before there were any, believes the chain that it sees first.
 */
export class Trust {
  readonly #data: string;
  readonly #fetch: () => Promise<KeyChain>;
  /** Oldest first. */
  #keys: readonly SigningKey[];

  private constructor(data: string, keys: readonly SigningKey[], fetch: () => Promise<KeyChain>) {
    this.#data = data;
    this.#keys = keys;
    this.#fetch = fetch;
  }

  /** Throws AgentError STORE where the file cannot be understood. */
  static async load(data: string, fetch: () => Promise<KeyChain>): Promise<Trust> {
    try {
      const keys = parseWith(SigningKey.array(), JSON.parse(await readFile(pathIn(data), 'utf8')));
      return new Trust(data, keys, fetch);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return new Trust(data, [], fetch);
      throw new AgentError('STORE', `${pathIn(data)} holds no keys: ${(cause as Error).message}`, { cause });
    }
  }

  /**
   * Returns if what just came is signed with the newest key; a key that is newer still is asked for. Throws AgentError SIGNATURE
   * where it is not, and LINK where the control plane did not answer.
   */
  async check(purpose: Purpose, body: string, header: string | null): Promise<void> {
    const { sequence, signature } = partsOf(purpose, header);
    if (sequence > (this.#keys.at(-1)?.sequence ?? 0)) await this.#learn();
    const newest = this.#keys.at(-1);
    if (newest?.sequence !== sequence)
      throw wrong(
        `the ${purpose} is signed with key ${sequence}, and key ${newest?.sequence} is the one that signs now`,
      );
    if (!verifies(newest, purpose, body, signature)) throw wrong(`the signature of the ${purpose} is not its own`);
  }

  /** Returns if what lay on disk was signed with any of the keys: it was checked when it came. */
  checkStored(purpose: Purpose, body: string, header: string | null): void {
    const { sequence, signature } = partsOf(purpose, header);
    const key = this.#keys.find((k) => k.sequence === sequence);
    if (!key) throw wrong(`the ${purpose} is signed with key ${sequence}, which is not known here`);
    if (!verifies(key, purpose, body, signature)) throw wrong(`the signature of the ${purpose} is not its own`);
  }

  async #learn(): Promise<void> {
    const chain = (await this.#fetch()).keys;
    const pinned = this.#keys.at(-1);
    let last: SigningKey | undefined = pinned;
    const learnt: SigningKey[] = [];
    for (const { sequence, x, signature } of chain) {
      if (pinned && sequence < pinned.sequence) continue;
      const key = { sequence, x };
      if (pinned && sequence === pinned.sequence) {
        if (x !== pinned.x) throw wrong(`key ${sequence} of the control plane is not the one that is pinned here`);
        continue;
      }
      const by: SigningKey = last ?? key;
      if (last && sequence !== last.sequence + 1) throw wrong(`key ${last.sequence + 1} is missing from the chain`);
      if (!verifies(by, 'keys', canonicalJson(key), signature))
        throw wrong(`key ${sequence} is not signed by key ${by.sequence}`);
      learnt.push(key);
      last = key;
    }
    if (learnt.length === 0) return;
    this.#keys = [...this.#keys, ...learnt];
    await pin(this.#data, this.#keys);
  }
}

/** `SEQUENCE.SIGNATURE` */
function partsOf(purpose: Purpose, header: string | null): { sequence: number; signature: string } {
  const parts = /^(\d{1,9})\.([\w-]{86})$/.exec(header ?? '');
  if (!parts) throw wrong(header === null ? `the ${purpose} is not signed` : `the ${purpose} has no signature of ours`);
  return { sequence: Number(parts[1]), signature: parts[2] as string };
}
