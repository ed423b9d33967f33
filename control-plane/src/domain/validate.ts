import {
  type Farm,
  type Fault,
  formatIP,
  parseIP,
  type Resource,
  type Secret,
  secretReferences,
  show,
} from '@sipfleet/contract';
import type { Configuration } from './configuration.ts';

/** Of a site or farm as JSON: an item of DynamoDB holds 400 KB, and keys stand beside it. */
export const MAX_SPEC_BYTES = 300_000;

/** A fault of one resource of a set. */
export interface ResourceFault extends Fault {
  resource: number;
}

/**
 * What is wrong across resources once all of `changes` are stored: a farm at an unknown site or with an unknown Secret, two farms that bind the same
 * address at one site, one resource twice in the set. Faults of a pair are laid to the one that is new, or comes later.
 */
export function validateChanges(configuration: Configuration, changes: readonly Resource[]): ResourceFault[] {
  const faults: ResourceFault[] = [];
  faults.push(...duplicates(changes));
  const sites = new Set(configuration.sites.keys());
  const secrets = new Map<string, readonly string[]>();
  for (const { spec } of configuration.secrets.values()) secrets.set(spec.name, Object.keys(spec.fingerprints));
  for (const change of changes)
    if (change.kind === 'Site') sites.add(change.name);
    else if (change.kind === 'Secret') secrets.set(change.name, Object.keys(change.data));

  const changed = new Set(changes.filter((c) => c.kind === 'Farm').map((c) => c.name));
  const bound = new Map<string, string>();
  for (const { spec } of configuration.farms.values()) if (!changed.has(spec.name)) bind(bound, spec);

  for (const [resource, change] of changes.entries()) {
    if (change.kind === 'Secret')
      for (const fault of keysLost(configuration, change, changed)) faults.push({ ...fault, resource });
    if (change.kind !== 'Farm') continue;
    for (const fault of unknownSites(change, sites)) faults.push({ ...fault, resource });
    for (const fault of secretsLacking(change, secrets)) faults.push({ ...fault, resource });
    for (const fault of bind(bound, change)) faults.push({ ...fault, resource });
  }
  return faults;
}

function duplicates(changes: readonly Resource[]): ResourceFault[] {
  const first = new Map<string, number>();
  const faults: ResourceFault[] = [];
  for (const [resource, { kind, name }] of changes.entries()) {
    const key = `${kind} ${name}`;
    if (first.has(key))
      faults.push({
        resource,
        field: 'name',
        found: show(name),
        allowed: `a name of its own for each ${kind}`,
        message: `resource ${(first.get(key) as number) + 1} of this set is the same ${kind}`,
      });
    else first.set(key, resource);
  }
  return faults;
}

function* unknownSites(farm: Farm, sites: ReadonlySet<string>): Generator<Fault> {
  for (const [i, site] of farm.sites.entries())
    if (!sites.has(site))
      yield {
        field: `sites[${i}]`,
        found: show(site),
        allowed: sites.size === 0 ? 'a site that exists: there is none yet' : `one of ${someOf([...sites].sort())}`,
        message: 'no such site',
      };
}

/** Secrets that a farm names and that are not there, or lack what is taken from them. */
function* secretsLacking(farm: Farm, secrets: ReadonlyMap<string, readonly string[]>): Generator<Fault> {
  for (const { field, name, keys } of secretReferences(farm)) {
    const found = show(name);
    const there = secrets.get(name);
    if (there === undefined) {
      const names = [...secrets.keys()].sort();
      const allowed = names.length === 0 ? 'a Secret that exists: there is none yet' : `one of ${someOf(names)}`;
      yield { field, found, allowed, message: 'no such Secret' };
    } else if (!keys.every((key) => there.includes(key)))
      yield { field, found, allowed: `a Secret with ${keys.join(' and ')}`, message: `it has ${someOf(there)}` };
  }
}

/** Keys that a Secret no longer has and that a stored farm takes from it. `changed`: farms that are judged by what replaces them. */
function* keysLost(configuration: Configuration, secret: Secret, changed: ReadonlySet<string>): Generator<Fault> {
  for (const { spec } of configuration.farms.values())
    for (const { field, name, keys } of changed.has(spec.name) ? [] : secretReferences(spec))
      for (const key of keys)
        if (name === secret.name && !Object.hasOwn(secret.data, key))
          yield { field: `data.${key}`, found: 'nothing', allowed: `a value: farm ${spec.name} takes it for ${field}` };
}

/** Takes a farm's sockets at every site of it; yields those that another farm holds there. */
function bind(bound: Map<string, string>, farm: Farm): Fault[] {
  const faults: Fault[] = [];
  for (const [i, listener] of farm.listeners.entries()) {
    // The agent's own address differs from agent to agent, so it can only be compared with itself.
    const ip = listener.address === undefined ? undefined : parseIP(listener.address);
    const address = ip === undefined ? 'the agent’s own address' : formatIP(ip);
    for (const site of farm.sites) {
      const socket = `${site} ${listener.transport} ${address} ${listener.port}`;
      const holder = bound.get(socket);
      if (holder === undefined) bound.set(socket, farm.name);
      else if (holder !== farm.name) {
        faults.push({
          field: `listeners[${i}].port`,
          found: show(listener.port),
          allowed: 'a transport, address and port that no other farm binds at the same site',
          message: `farm ${holder} already binds ${listener.transport} port ${listener.port} of ${address} at site ${site}`,
        });
        break;
      }
    }
  }
  return faults;
}

/** What stands in the way of deleting a site. */
export function usersOfSite(configuration: Configuration, site: string): string[] {
  return [...configuration.farms.values()].filter(({ spec }) => spec.sites.includes(site)).map(({ spec }) => spec.name);
}

/** At most ten names: an error is read by a person. */
export function someOf(names: readonly string[]): string {
  return names.length <= 10 ? names.join(', ') : `${names.slice(0, 10).join(', ')} and ${names.length - 10} more`;
}
