import { setTimeout as delay } from 'node:timers/promises';
import type { Farm, Kind, Resource, Site, TokenKey } from '@sipfleet/contract';
import { affectedSites, departuresAfter } from '../domain/compile.ts';
import {
  type Configuration,
  find,
  type StoredFarm,
  type StoredResource,
  type StoredSecret,
  type StoredSpec,
} from '../domain/configuration.ts';
import { sameSpec } from '../domain/plan.ts';
import { type SecretSealer, sameSecret, sitesOfSecret, usersOfSecret } from '../domain/secrets.ts';
import { type ResourceFault, usersOfSite, validateChanges } from '../domain/validate.ts';
import type { Current } from './current.ts';
import type { ResourceWrite, Store } from './store.ts';

/** What must be stored for a write to go ahead: a certain revision, anything, or nothing. */
export type Expectation = { revision: number } | 'present' | 'absent';

export interface Change {
  readonly expectation: Expectation;
  readonly actor: string;
  readonly change:
    | { readonly action: 'put'; readonly spec: Resource }
    | { readonly action: 'delete'; readonly kind: Kind; readonly name: string };
}

export type CommitOutcome =
  | { status: 'created' | 'updated' | 'unchanged'; stored: StoredResource }
  | { status: 'deleted'; revision: number }
  /** The expectation does not hold; `actual`: the stored revision, null where there is none. */
  | { status: 'stale'; actual: number | null }
  | { status: 'invalid'; faults: ResourceFault[] }
  | { status: 'in-use'; farms: string[]; agents: string[] };

export interface CommitDeps {
  store: Store;
  current: Current;
  secrets: SecretSealer;
  /** Milliseconds since the epoch. */
  now: () => number;
  randomBytes: (length: number) => Uint8Array;
  /** Called after each write that changed something. */
  onCommit: () => void;
}

/** More than can collide in a fleet; reached only where the store is broken. */
const MAX_ATTEMPTS = 500;

/**
 * Validates one change against everything stored, and stores it if that is still what is stored: else it decides anew.
 * So no two writes that are each right alone can be wrong together.
 */
export function createCommit(deps: CommitDeps) {
  let last: Promise<unknown> = Promise.resolve();

  /** One after the other within this process: rivals here would only make each other decide again. */
  return function commit(request: Change): Promise<CommitOutcome> {
    const mine = last.then(() => commitNow(request));
    last = mine.catch(() => {});
    return mine;
  };

  async function commitNow(request: Change): Promise<CommitOutcome> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const configuration = await deps.current.configuration();
      const decision = await decide(deps, configuration, request);
      if ('status' in decision) return decision;
      const outcome = await deps.store.write(decision);
      if (outcome.status === 'stale') return outcome;
      if (outcome.status === 'written') {
        deps.onCommit();
        return outcomeOf(decision, outcome.revision);
      }
      // Random, so that those who collided once do not collide again.
      await delay(Math.random() * Math.min(50, attempt));
    }
    throw new Error(`the configuration changed ${MAX_ATTEMPTS} times while this change was being stored`);
  }
}
export type Commit = ReturnType<typeof createCommit>;

function outcomeOf(write: ResourceWrite, revision: number): CommitOutcome {
  if (write.action === 'delete') return { status: 'deleted', revision };
  const stored = { spec: write.spec, revision, updatedAt: write.at };
  return { status: write.expected === null ? 'created' : 'updated', stored };
}

async function decide(
  deps: CommitDeps,
  configuration: Configuration,
  { change, expectation, actor }: Change,
): Promise<CommitOutcome | ResourceWrite> {
  const { kind, name } = change.action === 'put' ? change.spec : change;
  const stored = find(configuration, kind, name);
  if (!holds(expectation, stored)) return { status: 'stale', actual: stored?.revision ?? null };
  const at = new Date(deps.now()).toISOString();
  const base = { base: configuration.revision, actor, at, ...consequences(configuration, change) };

  if (change.action === 'put') {
    const spec = await storable(deps.secrets, change.spec, stored);
    if (stored !== undefined && isSame(stored, spec)) return { status: 'unchanged', stored };
    const faults = validateChanges(configuration, [change.spec]);
    if (faults.length > 0) return { status: 'invalid', faults };
    const tokenKeys = (stored as StoredFarm | undefined)?.tokenKeys ?? newTokenKeys(change.spec, deps.randomBytes);
    return { ...base, action: 'put', spec, tokenKeys, expected: stored?.revision ?? null };
  }
  if (stored === undefined) return { status: 'stale', actual: null };
  if (kind === 'Site') {
    const farms = usersOfSite(configuration, name);
    const agents = await agentsAt(deps.store, name);
    if (farms.length + agents.length > 0) return { status: 'in-use', farms, agents };
  }
  if (kind === 'Secret') {
    const farms = usersOfSecret(configuration, name);
    if (farms.length > 0) return { status: 'in-use', farms, agents: [] };
  }
  return { ...base, action: 'delete', kind, name, expected: stored.revision };
}

/** A resource as stores may see it. */
async function storable(
  secrets: SecretSealer,
  spec: Resource,
  stored: StoredResource | undefined,
): Promise<StoredSpec> {
  return spec.kind === 'Secret' ? secrets.seal(spec, (stored as StoredSecret | undefined)?.spec) : spec;
}

const isSame = (stored: StoredResource, spec: StoredSpec): boolean =>
  spec.kind === 'Secret' ? sameSecret((stored as StoredSecret).spec, spec) : sameSpec(stored, spec as Site | Farm);

function holds(expectation: Expectation, stored: StoredResource | undefined): boolean {
  if (expectation === 'absent') return stored === undefined;
  if (expectation === 'present') return stored !== undefined;
  return stored?.revision === expectation.revision;
}

/** Which sites' snapshots change, and which the farm leaves. A site alone changes no snapshot; a Secret those of the farms that name it. */
function consequences(configuration: Configuration, change: Change['change']) {
  const { kind, name } = change.action === 'put' ? change.spec : change;
  if (kind === 'Site') return { affects: [] };
  if (kind === 'Secret') return { affects: sitesOfSecret(configuration, name) };
  const before = configuration.farms.get(name)?.spec;
  const after = change.action === 'put' && change.spec.kind === 'Farm' ? change.spec : undefined;
  return {
    affects: affectedSites(before, after),
    departures: departuresAfter(configuration.departures.get(name), before, after, configuration.revision + 1),
  };
}

function newTokenKeys(spec: Resource, randomBytes: (length: number) => Uint8Array): TokenKey[] {
  return spec.kind === 'Farm' ? [{ id: 1, key: Buffer.from(randomBytes(16)).toString('hex') }] : [];
}

/**
 * Agents that a site's deletion would orphan. One may still enrol between this look and the deletion, which the store does
 * not prevent: such an agent gets a snapshot without farms, and its operator sees the site missing.
 */
async function agentsAt(store: Store, site: string): Promise<string[]> {
  const ids: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await store.agents({ limit: 1000, cursor });
    ids.push(...page.items.filter((agent) => agent.site === site).map((agent) => agent.name));
    cursor = page.cursor;
  } while (cursor !== undefined);
  return ids;
}
