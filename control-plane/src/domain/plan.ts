import { canonicalJson, type Kind, type Resource } from '@sipfleet/contract';
import { type Configuration, find, type StoredResource } from './configuration.ts';

/** What storing one resource would do. `revision`: the stored one, null where there is none. */
export interface PlannedChange {
  kind: Kind;
  name: string;
  action: 'create' | 'update' | 'none';
  revision: number | null;
}

/** In the order of the set. */
export function planChanges(configuration: Configuration, resources: readonly Resource[]): PlannedChange[] {
  return resources.map((spec) => {
    const stored = find(configuration, spec.kind, spec.name);
    const action = stored === undefined ? 'create' : sameSpec(stored, spec) ? 'none' : 'update';
    return { kind: spec.kind, name: spec.name, action, revision: stored?.revision ?? null };
  });
}

/** Alike after defaults, whatever the order of keys. */
export function sameSpec(stored: StoredResource, spec: Resource): boolean {
  return canonicalJson(stored.spec) === canonicalJson(spec);
}
