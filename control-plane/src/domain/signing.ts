import type { SigningKey } from '@sipfleet/contract';
import type { StoredSigningKey } from './identity.ts';

/** Signs what agents are told to run. The implementation stands in vault/. */
export interface Signer {
  /** The key that is signed with now. */
  current(): Promise<SigningKey>;
  /** Every key there was, oldest first. */
  chain(): Promise<StoredSigningKey[]>;
  /** What the contract's signature header holds. */
  sign(purpose: 'snapshot' | 'secrets', body: string): Promise<string>;
  /** Makes a new key, which signs from now on, and returns it. */
  rotate(): Promise<StoredSigningKey>;
}
