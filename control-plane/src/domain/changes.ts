import { type Farm, type Fault, type Kind, type Resource, secretReferences, show } from '@sipfleet/contract';
import { affectedSites } from './compile.ts';
import type { Configuration } from './configuration.ts';
import { sitesOfSecret, usersOfSecret } from './secrets.ts';
import { MAX_SPEC_BYTES, type ResourceFault, usersOfSite, validateChanges } from './validate.ts';

/** One change as an operator asks for it. */
export type ResourceChange =
  | { readonly action: 'put'; readonly spec: Resource }
  | { readonly action: 'delete'; readonly kind: Kind; readonly name: string };

export const targetOf = (change: ResourceChange): { kind: Kind; name: string } =>
  change.action === 'put' ? change.spec : change;

/**
 * What is wrong with the configuration once all of `changes` are stored, in whatever order. Each fault carries the index of its change.
 * What is deleted no longer binds a port, and is no longer there to be named.
 */
export function validateSet(configuration: Configuration, changes: readonly ResourceChange[]): ResourceFault[] {
  const faults = [...twice(changes)];
  const puts: Resource[] = [];
  const indices: number[] = [];
  for (const [index, change] of changes.entries()) {
    if (change.action !== 'put') continue;
    puts.push(change.spec);
    indices.push(index);
    const bytes = Buffer.byteLength(JSON.stringify(change.spec));
    if (change.spec.kind !== 'Secret' && bytes > MAX_SPEC_BYTES) faults.push({ ...tooLong(bytes), resource: index });
  }
  const found = validateChanges(without(configuration, changes), puts);
  return [...faults, ...found.map((fault) => ({ ...fault, resource: indices[fault.resource] as number }))];
}

const tooLong = (bytes: number): Fault => ({
  field: '',
  found: `${bytes} bytes of JSON`,
  allowed: `at most ${MAX_SPEC_BYTES} bytes`,
});

/** A resource that is put and deleted at once, or deleted twice; put twice is what {@link validateChanges} finds. */
function* twice(changes: readonly ResourceChange[]): Generator<ResourceFault> {
  const first = new Map<string, number>();
  for (const [resource, change] of changes.entries()) {
    const { kind, name } = targetOf(change);
    const before = first.get(`${kind} ${name}`);
    first.set(`${kind} ${name}`, before ?? resource);
    if (before === undefined || (change.action === 'put' && changes[before]?.action === 'put')) continue;
    const message = `change ${before + 1} of this set is of the same ${kind}`;
    yield { resource, field: 'name', found: show(name), allowed: `one change of each ${kind}`, message };
  }
}

/** The configuration less what is deleted. */
function without(configuration: Configuration, changes: readonly ResourceChange[]): Configuration {
  const gone = { Site: new Set<string>(), Farm: new Set<string>(), Secret: new Set<string>() };
  for (const change of changes) if (change.action === 'delete') gone[change.kind].add(change.name);
  const kept = <T>(all: ReadonlyMap<string, T>, kind: Kind) =>
    gone[kind].size === 0 ? all : new Map([...all].filter(([name]) => !gone[kind].has(name)));
  const { sites, farms, secrets } = configuration;
  return {
    ...configuration,
    sites: kept(sites, 'Site'),
    farms: kept(farms, 'Farm'),
    secrets: kept(secrets, 'Secret'),
  };
}

/** The farms as they are once all of `changes` are stored. */
function farmsAfter(configuration: Configuration, changes: readonly ResourceChange[]): Configuration {
  const farms = new Map(without(configuration, changes).farms);
  for (const change of changes)
    if (change.action === 'put' && change.spec.kind === 'Farm') {
      const { name } = change.spec;
      farms.set(name, { spec: change.spec, revision: 0, updatedAt: '', tokenKeys: [] });
    }
  return { ...configuration, farms };
}

/** Farms that still use what is deleted, by the index of the deletion. */
export function usersOfDeleted(
  configuration: Configuration,
  changes: readonly ResourceChange[],
): Map<number, string[]> {
  const after = farmsAfter(configuration, changes);
  const users = new Map<number, string[]>();
  for (const [index, change] of changes.entries()) {
    if (change.action === 'put' || change.kind === 'Farm') continue;
    const farms = change.kind === 'Site' ? usersOfSite(after, change.name) : usersOfSecret(after, change.name);
    if (farms.length > 0) users.set(index, farms);
  }
  return users;
}

/** Of a farm: what it was and what it becomes; undefined: it is not there. */
export function farmTransition(
  configuration: Configuration,
  change: ResourceChange,
): { before: Farm | undefined; after: Farm | undefined } {
  const { kind, name } = targetOf(change);
  const before = kind === 'Farm' ? configuration.farms.get(name)?.spec : undefined;
  const after = change.action === 'put' && change.spec.kind === 'Farm' ? change.spec : undefined;
  return { before, after };
}

/** Secrets that a farm would bring to agents of further sites, each with the sites that hold it already. */
export function spreadSecrets(configuration: Configuration, change: ResourceChange): [string, string[]][] {
  const { after } = farmTransition(configuration, change);
  if (after === undefined) return [];
  const held = secretReferences(after).map(({ name }): [string, string[]] => [
    name,
    sitesOfSecret(configuration, name),
  ]);
  return held.filter(([, sites]) => after.sites.some((site) => !sites.includes(site)));
}

/** Sites whose snapshots change. A site alone changes no snapshot; a Secret those of the farms that name it. */
export function affectedBy(configuration: Configuration, change: ResourceChange): string[] {
  const { kind, name } = targetOf(change);
  if (kind === 'Site') return [];
  if (kind === 'Secret') return sitesOfSecret(configuration, name);
  const { before, after } = farmTransition(configuration, change);
  return affectedSites(before, after);
}
