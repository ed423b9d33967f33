import { createPrivateKey, createPublicKey, generateKeyPairSync, type JsonWebKey, type KeyObject } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EnrolRequest, EnrolResponse, type IamProof, parseWith } from '@sipfleet/contract';
import { SignJWT } from 'jose';
import type { Logger } from 'pino';
import { AgentError } from '../errors.ts';
import { backoffMs } from './backoff.ts';
import { writeDurably } from './durable-file.ts';
import { postJson, Refusal } from './http.ts';
import { pointOf } from './seal.ts';
import { pin } from './trust.ts';

/** How long a token is good for, in seconds: short, because nothing revokes one. */
const TOKEN_SECONDS = 300;
/** A token is used again while it is younger than this: both ends are spared a signature per request. */
const REUSE_MS = 180_000;

/** DATA/identity.json. Without `agent` while enrolment is under way. */
export interface IdentityFile {
  name: string;
  key: KeyObject;
  /** X25519: Secrets are sealed to it. */
  sealKey: KeyObject;
  agent: EnrolResponse | undefined;
  /** When `key` was made, RFC 3339; undefined: before that was written down. */
  keyMadeAt?: string | undefined;
  /** The key after `key`, kept before it is shown: the control plane may have it already. */
  nextKey?: KeyObject | undefined;
}

/** Who this agent is to the control plane. */
export class Identity {
  readonly agentId: string;
  readonly number: number;
  readonly site: string;
  readonly name: string;
  /** X25519, private: Secrets are sealed to it. */
  readonly sealKey: KeyObject;
  #key: KeyObject;
  #token: { jwt: Promise<string>; madeAt: number } | undefined;

  constructor(name: string, agent: EnrolResponse, key: KeyObject, sealKey: KeyObject) {
    this.agentId = agent.agentId;
    this.number = agent.number;
    this.site = agent.site;
    this.name = name;
    this.sealKey = sealKey;
    this.#key = key;
  }

  /** A JWT that this agent signs for itself (RFC 8037: EdDSA). @param now milliseconds since the epoch, as its reader has it */
  token(now = Date.now()): Promise<string> {
    const age = now - (this.#token?.madeAt ?? Number.NEGATIVE_INFINITY);
    // A clock that was set back makes a token of the future: not to be used again.
    if (!this.#token || age < 0 || age >= REUSE_MS) this.#token = { jwt: this.#sign(now), madeAt: now };
    return this.#token.jwt;
  }

  /** Signs with another key from now on. */
  adopt(key: KeyObject): void {
    this.#key = key;
    this.#token = undefined;
  }

  #sign(now: number): Promise<string> {
    const seconds = Math.floor(now / 1000);
    return new SignJWT()
      .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' })
      .setIssuer(this.agentId)
      .setSubject(this.agentId)
      .setAudience('sipfleet')
      .setIssuedAt(seconds)
      .setExpirationTime(seconds + TOKEN_SECONDS)
      .sign(this.#key);
  }
}

const newSealKey = (): KeyObject => generateKeyPairSync('x25519').privateKey;

const pathIn = (data: string): string => join(data, 'identity.json');

export async function readIdentity(data: string): Promise<IdentityFile | undefined> {
  try {
    const json = JSON.parse(await readFile(pathIn(data), 'utf8')) as {
      name: string;
      key: JsonWebKey;
      /** Not there where the agent enrolled before there were Secrets. */
      sealKey?: JsonWebKey;
      agent?: unknown;
      keyMadeAt?: string;
      nextKey?: JsonWebKey;
    };
    const agent = json.agent === undefined ? undefined : parseWith(EnrolResponse, json.agent);
    const key = createPrivateKey({ key: json.key, format: 'jwk' });
    const nextKey = json.nextKey && createPrivateKey({ key: json.nextKey, format: 'jwk' });
    const known = { name: String(json.name), key, agent, keyMadeAt: json.keyMadeAt, nextKey };
    if (json.sealKey) return { ...known, sealKey: createPrivateKey({ key: json.sealKey, format: 'jwk' }) };
    const file = { ...known, sealKey: newSealKey() };
    await writeIdentity(data, file);
    return file;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new AgentError('STORE', `${pathIn(data)} is not an identity: ${(cause as Error).message}`, { cause });
  }
}

export async function writeIdentity(data: string, file: IdentityFile): Promise<void> {
  try {
    await mkdir(data, { recursive: true, mode: 0o700 });
    const content = {
      ...file,
      key: file.key.export({ format: 'jwk' }),
      sealKey: file.sealKey.export({ format: 'jwk' }),
      nextKey: file.nextKey?.export({ format: 'jwk' }),
    };
    await writeDurably(pathIn(data), `${JSON.stringify(content, null, 2)}\n`);
  } catch (cause) {
    throw new AgentError('STORE', `${pathIn(data)} cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/** The identity that was enrolled before, if there is one. Throws AgentError STORE if the file cannot be understood. */
export async function loadIdentity(data: string): Promise<Identity | undefined> {
  const file = await readIdentity(data);
  return file?.agent && new Identity(file.name, file.agent, file.key, file.sealKey);
}

export interface EnrolOptions {
  data: string;
  base: URL;
  /** What buys the identity: a join token, or the proof of an IAM role, made anew for each try. */
  proof: { joinToken: string } | { iam: (keys: Pick<EnrolRequest, 'publicKey' | 'sealKey'>) => Promise<IamProof> };
  name: string;
  version: string;
  signal: AbortSignal;
  log: Pick<Logger, 'warn'>;
}

/**
 * Buys an identity with a join token or an IAM role, however long the control plane is away. Throws AgentError LINK if it refuses,
 * or if `signal` ends the wait.
 */
export async function enrol(options: EnrolOptions): Promise<Identity> {
  const { data, base, proof, name, version, signal, log } = options;
  // The keys are kept before they are shown: if the answer gets lost, the next try shows the same ones and can be recognised.
  const known = await readIdentity(data);
  const key = known?.key ?? generateKeyPairSync('ed25519').privateKey;
  const seal = known?.sealKey ?? newSealKey();
  await writeIdentity(data, { name, key, sealKey: seal, agent: undefined });
  const publicKey = parseWith(EnrolRequest.shape.publicKey, createPublicKey(key).export({ format: 'jwk' }));
  const sealKey = { kty: 'OKP' as const, crv: 'X25519' as const, x: pointOf(seal) };
  for (let attempt = 0; ; attempt++) {
    try {
      const url = new URL('v1/agents/enrol', base);
      const bought = 'iam' in proof ? { iam: await proof.iam({ publicKey, sealKey }) } : proof;
      const request: EnrolRequest = { ...bought, name, publicKey, sealKey, version };
      const agent = await postJson(url, request, (answer) => parseWith(EnrolResponse, answer), { signal });
      // Before the identity: an agent that is enrolled has its pin.
      await pin(data, agent.signingKey ? [agent.signingKey] : []);
      await writeIdentity(data, { name, key, sealKey: seal, agent, keyMadeAt: new Date().toISOString() });
      return new Identity(name, agent, key, seal);
    } catch (error) {
      const known = error instanceof AgentError && error.code === 'LINK' && !(error.cause instanceof Refusal);
      if (!known || signal.aborted) throw error;
      log.warn({ reason: error.message }, 'not enrolled yet, trying again');
      await sleep(backoffMs(attempt), undefined, { signal }).catch(() => {});
    }
  }
}
