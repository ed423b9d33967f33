import type { KeyObject } from 'node:crypto';
import { parseWith, SecretBundle, type Snapshot } from '@sipfleet/contract';
import { AgentError } from '../errors.ts';
import type { Secrets } from '../ports.ts';
import { Refusal } from './http.ts';
import { openBundle, pointOf } from './seal.ts';
import type { Purpose } from './trust.ts';

/** A bundle as it came, and as it is kept on disk: sealed. */
export interface SealedSecrets {
  bundle: string;
  signature: string | null;
}

/** What the keeper needs; the real ones are ControlPlaneClient and Trust. */
export interface KeeperPorts {
  client: { secrets(): Promise<SealedSecrets>; registerSealKey(x: string): Promise<void> };
  trust: {
    check(purpose: Purpose, body: string, header: string | null): Promise<void>;
    checkStored(purpose: Purpose, body: string, header: string | null): void;
  };
  agentId: string;
  /** The private half of what Secrets are sealed to. */
  sealKey: KeyObject;
}

/** The Secrets of a snapshot, opened in memory, and sealed as they go to disk. */
export interface Kept {
  secrets: Secrets;
  /** Undefined where the snapshot names none. */
  sealed: SealedSecrets | undefined;
}

type Revisions = NonNullable<Snapshot['secrets']>;
const NONE: Kept = { secrets: new Map(), sealed: undefined };

/** Gets and opens the Secrets that a snapshot names. */
export class SecretKeeper {
  readonly #ports: KeeperPorts;
  #held: { revisions: Revisions; kept: Kept } | undefined;

  constructor(ports: KeeperPorts) {
    this.#ports = ports;
  }

  /**
   * From memory where nothing changed, else from the control plane. Throws AgentError SIGNATURE or PLAN where what came cannot be used,
   * LINK where nothing came.
   */
  async fetch(wanted: Revisions = {}): Promise<Kept> {
    if (Object.keys(wanted).length === 0) return NONE;
    const held = this.#held;
    const sameNames = held && Object.keys(held.revisions).every((name) => Object.hasOwn(wanted, name));
    if (sameNames && lacking(held.revisions, wanted) === undefined) return held.kept;
    const sealed = await this.#ask();
    return this.#hold(sealed, await this.#read(sealed), wanted);
  }

  /** What was kept beside a snapshot on disk. Throws AgentError where it is missing or cannot be opened. */
  restore(sealed: SealedSecrets | undefined, wanted: Revisions = {}): Kept {
    if (Object.keys(wanted).length === 0) return NONE;
    if (!sealed) throw new AgentError('STORE', 'the Secrets of the stored snapshot are not there');
    this.#ports.trust.checkStored('secrets', sealed.bundle, sealed.signature);
    return this.#hold(sealed, parseBundle(sealed.bundle), wanted);
  }

  /**
   * The control plane has no key of an agent that enrolled before there were Secrets, and another one of an agent whose disk was
   * restored: it is told the present one, and asked again.
   */
  async #ask(): Promise<SealedSecrets> {
    const { client, sealKey } = this.#ports;
    const own = pointOf(sealKey);
    try {
      const sealed = await client.secrets();
      if (parseBundle(sealed.bundle).recipientKey === own) return sealed;
    } catch (error) {
      const { cause } = error as Error;
      if (!(cause instanceof Refusal) || cause.status !== 409) throw error;
    }
    await client.registerSealKey(own);
    return client.secrets();
  }

  async #read({ bundle, signature }: SealedSecrets): Promise<SecretBundle> {
    await this.#ports.trust.check('secrets', bundle, signature);
    return parseBundle(bundle);
  }

  #hold(sealed: SealedSecrets, bundle: SecretBundle, wanted: Revisions): Kept {
    const missing = lacking(bundle.secrets, wanted);
    if (missing !== undefined)
      throw new AgentError('PLAN', `Secret ${missing} at revision ${wanted[missing]} is not among those that came`);
    const kept = { secrets: this.#open(bundle), sealed };
    this.#held = { revisions: bundle.secrets, kept };
    return kept;
  }

  #open(bundle: SecretBundle): Secrets {
    try {
      return openBundle(bundle, this.#ports.agentId, this.#ports.sealKey);
    } catch (cause) {
      throw new AgentError('PLAN', 'the Secrets are not sealed to this agent, or were changed on their way', { cause });
    }
  }
}

function parseBundle(text: string): SecretBundle {
  try {
    return parseWith(SecretBundle, JSON.parse(text));
  } catch (cause) {
    throw new AgentError('PLAN', `the Secrets are not understood: ${(cause as Error).message}`, { cause });
  }
}

/** A Secret that is not there, or older than wanted. A newer one serves: its snapshot is on its way. */
const lacking = (have: Revisions, wanted: Revisions): string | undefined =>
  Object.keys(wanted).find((name) => (have[name] ?? 0) < (wanted[name] as number));
