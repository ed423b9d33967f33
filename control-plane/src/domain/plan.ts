import { canonicalJson, type Farm, type Kind, type Resource, type Site } from '@sipfleet/contract';
import { type Configuration, find, type StoredResource, type StoredSecret } from './configuration.ts';
import { changedKeys, type SecretSealer, sameSecret } from './secrets.ts';

/** What storing one resource would do. `revision`: the stored one, null where there is none. */
export interface PlannedChange {
  kind: Kind;
  name: string;
  action: 'create' | 'update' | 'none';
  revision: number | null;
  /** Of a Secret that is updated: the keys whose value is another, new or gone. */
  keys?: string[];
}

/** In the order of the set. */
export function planChanges(
  configuration: Configuration,
  resources: readonly Resource[],
  secrets: SecretSealer,
): Promise<PlannedChange[]> {
  return Promise.all(resources.map((spec) => planChange(configuration, spec, secrets)));
}

async function planChange(configuration: Configuration, spec: Resource, secrets: SecretSealer): Promise<PlannedChange> {
  const { kind, name } = spec;
  const stored = find(configuration, kind, name);
  if (stored === undefined) return { kind, name, action: 'create', revision: null };
  const { revision } = stored;
  if (spec.kind !== 'Secret') return { kind, name, action: sameSpec(stored, spec) ? 'none' : 'update', revision };
  const before = (stored as StoredSecret).spec;
  const after = await secrets.seal(spec, before);
  if (sameSecret(before, after)) return { kind, name, action: 'none', revision };
  return { kind, name, action: 'update', revision, keys: changedKeys(before, after) };
}

/** Alike after defaults, whatever the order of keys. */
export function sameSpec(stored: StoredResource, spec: Site | Farm): boolean {
  return canonicalJson(stored.spec) === canonicalJson(spec);
}
