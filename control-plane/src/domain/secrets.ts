import { createHash } from 'node:crypto';
import {
  canonicalJson,
  type Farm,
  type Secret,
  type SecretBundle,
  type SecretView,
  type Site,
  secretReferences,
} from '@sipfleet/contract';
import type { Configuration, StoredSecret, StoredSpec } from './configuration.ts';

/** A Secret at rest. Who has no key learns its name, its description, its keys, and when a value changes. */
export interface SealedSecret extends SecretView {
  /** The key that its values are sealed with, wrapped. Kept while the Secret lives, so that fingerprints can be compared. */
  readonly wrappedKey: string;
  /** The sealed values. */
  readonly box: string;
}

/** Seals Secrets, at rest and for agents. The implementation stands in vault/: nothing else ever opens one. */
export interface SecretSealer {
  /** @param before the stored Secret that is replaced */
  seal(secret: Secret, before: SealedSecret | undefined): Promise<SealedSecret>;
  /** Their values, sealed anew to one agent. */
  bundle(to: Recipient, secrets: readonly StoredSecret[]): Promise<SecretBundle>;
}

/** Whom a bundle is for. */
export interface Recipient {
  readonly agentId: string;
  /** The `x` of its X25519 JWK. */
  readonly sealKey: string;
}

export const revisionsOf = (secrets: readonly StoredSecret[]): Record<string, number> =>
  Object.fromEntries(secrets.map(({ spec, revision }) => [spec.name, revision]));

/**
 * Another one whenever a value, the set of Secrets or the recipient's key changes. Made of names and revisions alone: a hash of
 * values, keyed or not, would be one more thing that depends on them.
 */
export function bundleEtag({ agentId, sealKey }: Recipient, secrets: readonly StoredSecret[]): string {
  const content = { agentId, sealKey, secrets: revisionsOf(secrets) };
  return createHash('sha256').update(canonicalJson(content)).digest('hex');
}

/** What operators see of a Secret. */
export function viewOf({ kind, name, description, fingerprints }: SealedSecret): SecretView {
  return { kind, name, ...(description === undefined ? {} : { description }), fingerprints };
}

/** What operators may see of a spec, and history may keep. */
export const publicSpec = (spec: StoredSpec): Site | Farm | SecretView =>
  spec.kind === 'Secret' ? viewOf(spec) : spec;

/** The same values under the same keys, and the same description. */
export const sameSecret = (a: SealedSecret, b: SealedSecret): boolean =>
  canonicalJson(viewOf(a)) === canonicalJson(viewOf(b));

/** Keys whose value is another, new or gone, by name. */
export function changedKeys(before: SealedSecret, after: SealedSecret): string[] {
  const keys = new Set([...Object.keys(before.fingerprints), ...Object.keys(after.fingerprints)]);
  return [...keys].filter((key) => before.fingerprints[key] !== after.fingerprints[key]).sort();
}

/** The Secrets that the farms of a site name, by name. What is named and missing is left out: validation keeps that from happening. */
export function secretsOfSite(configuration: Configuration, site: string): StoredSecret[] {
  const names = new Set<string>();
  for (const { spec } of configuration.farms.values())
    if (spec.sites.includes(site)) for (const { name } of secretReferences(spec)) names.add(name);
  return [...names].sort().flatMap((name) => configuration.secrets.get(name) ?? []);
}

/** Farms that name a Secret. */
export function usersOfSecret(configuration: Configuration, secret: string): string[] {
  return [...configuration.farms.values()]
    .filter(({ spec }) => secretReferences(spec).some(({ name }) => name === secret))
    .map(({ spec }) => spec.name);
}

/** Sites whose agents hold a Secret. */
export function sitesOfSecret(configuration: Configuration, secret: string): string[] {
  const farms = usersOfSecret(configuration, secret);
  return [...new Set(farms.flatMap((name) => configuration.farms.get(name)?.spec.sites ?? []))].sort();
}
