import { createPrivateKey, createPublicKey, generateKeyPairSync, type JsonWebKey, type KeyObject } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EnrolRequest, EnrolResponse, parseWith } from '@sipfleet/contract';
import { SignJWT } from 'jose';
import type { Logger } from 'pino';
import { AgentError } from '../errors.ts';
import { backoffMs } from './backoff.ts';
import { writeDurably } from './durable-file.ts';
import { postJson, Refusal } from './http.ts';

/** How long a token is good for: short, because nothing revokes one. */
const TOKEN_LIFE = '5m';

/** DATA/identity.json. Without `agent` while enrolment is under way. */
interface IdentityFile {
  name: string;
  key: KeyObject;
  agent: EnrolResponse | undefined;
}

/** Who this agent is to the control plane. */
export class Identity {
  readonly agentId: string;
  readonly number: number;
  readonly site: string;
  readonly name: string;
  readonly #key: KeyObject;

  constructor(name: string, agent: EnrolResponse, key: KeyObject) {
    this.agentId = agent.agentId;
    this.number = agent.number;
    this.site = agent.site;
    this.name = name;
    this.#key = key;
  }

  /** A JWT that this agent signs for itself (RFC 8037: EdDSA). */
  token(): Promise<string> {
    return new SignJWT()
      .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' })
      .setIssuer(this.agentId)
      .setSubject(this.agentId)
      .setAudience('sipfleet')
      .setIssuedAt()
      .setExpirationTime(TOKEN_LIFE)
      .sign(this.#key);
  }
}

const pathIn = (data: string): string => join(data, 'identity.json');

async function read(data: string): Promise<IdentityFile | undefined> {
  try {
    const json = JSON.parse(await readFile(pathIn(data), 'utf8')) as { name: string; key: JsonWebKey; agent?: unknown };
    const agent = json.agent === undefined ? undefined : parseWith(EnrolResponse, json.agent);
    return { name: String(json.name), key: createPrivateKey({ key: json.key, format: 'jwk' }), agent };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new AgentError('STORE', `${pathIn(data)} is not an identity: ${(cause as Error).message}`, { cause });
  }
}

async function write(data: string, file: IdentityFile): Promise<void> {
  try {
    await mkdir(data, { recursive: true, mode: 0o700 });
    const content = { ...file, key: file.key.export({ format: 'jwk' }) };
    await writeDurably(pathIn(data), `${JSON.stringify(content, null, 2)}\n`);
  } catch (cause) {
    throw new AgentError('STORE', `${pathIn(data)} cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/** The identity that was enrolled before, if there is one. Throws AgentError STORE if the file cannot be understood. */
export async function loadIdentity(data: string): Promise<Identity | undefined> {
  const file = await read(data);
  return file?.agent && new Identity(file.name, file.agent, file.key);
}

export interface EnrolOptions {
  data: string;
  base: URL;
  joinToken: string;
  name: string;
  version: string;
  signal: AbortSignal;
  log: Pick<Logger, 'warn'>;
}

/**
 * Buys an identity with a join token, however long the control plane is away. Throws AgentError LINK if it refuses,
 * or if `signal` ends the wait.
 */
export async function enrol(options: EnrolOptions): Promise<Identity> {
  const { data, base, joinToken, name, version, signal, log } = options;
  // The key is kept before it is shown: if the answer gets lost, the next try shows the same key and can be recognised.
  const key = (await read(data))?.key ?? generateKeyPairSync('ed25519').privateKey;
  await write(data, { name, key, agent: undefined });
  const publicKey = parseWith(EnrolRequest.shape.publicKey, createPublicKey(key).export({ format: 'jwk' }));
  const request: EnrolRequest = { joinToken, name, publicKey, version };
  for (let attempt = 0; ; attempt++) {
    try {
      const url = new URL('v1/agents/enrol', base);
      const agent = await postJson(url, request, (answer) => parseWith(EnrolResponse, answer), { signal });
      await write(data, { name, key, agent });
      return new Identity(name, agent, key);
    } catch (error) {
      const known = error instanceof AgentError && error.code === 'LINK' && !(error.cause instanceof Refusal);
      if (!known || signal.aborted) throw error;
      log.warn({ reason: error.message }, 'not enrolled yet, trying again');
      await sleep(backoffMs(attempt), undefined, { signal }).catch(() => {});
    }
  }
}
