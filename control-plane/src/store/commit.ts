import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Farm, Kind, Resource, Site, TokenKey } from '@sipfleet/contract';
import {
  affectedBy,
  farmTransition,
  type ResourceChange,
  spreadSecrets,
  targetOf,
  usersOfDeleted,
  validateSet,
} from '../domain/changes.ts';
import { departuresAfter } from '../domain/compile.ts';
import {
  type Configuration,
  find,
  type StoredFarm,
  type StoredResource,
  type StoredSecret,
  type StoredSpec,
} from '../domain/configuration.ts';
import { beyond } from '../domain/identity.ts';
import { sameSpec } from '../domain/plan.ts';
import { isActive, openRollout, type RolloutPolicy, type RolloutState } from '../domain/rollout.ts';
import { concernsRollout, notStaged } from '../domain/rollout-scope.ts';
import { type SecretSealer, sameSecret } from '../domain/secrets.ts';
import type { ResourceFault } from '../domain/validate.ts';
import type { Current } from './current.ts';
import type { ChangeSet, IdempotencyRecord, ResourceWrite, Store } from './store.ts';

/** What must be stored for a write to go ahead: a certain revision, anything, or nothing. */
export type Expectation = { revision: number } | 'present' | 'absent';

export interface ExpectedChange {
  readonly expectation: Expectation;
  readonly change: ResourceChange;
}

/** Changes that are stored together or not at all. */
export interface CommitRequest {
  readonly actor: string;
  /** Sites that the actor may change; null or undefined: all. */
  readonly scope?: readonly string[] | null | undefined;
  /** The program that it came through. */
  readonly source: string;
  /** Each of another resource. */
  readonly changes: readonly ExpectedChange[];
  /** Decide, and store nothing. */
  readonly dryRun?: boolean;
  /** Reaches the agents in stages; undefined: all at once. */
  readonly rollout?: RolloutPolicy | undefined;
  /** The same key again gets what was answered the first time. */
  readonly idempotency?: { readonly key: string; readonly request: string } | undefined;
}

/** What became of one change. `before` and `stored`: null where the resource is not there. */
export interface ChangeResult {
  readonly status: 'created' | 'updated' | 'unchanged' | 'deleted';
  readonly kind: Kind;
  readonly name: string;
  readonly before: StoredResource | null;
  /** In a dry run with the revision that it would get. */
  readonly stored: StoredResource | null;
}

export type CommitOutcome =
  /** `revision`: the one made; that of before where nothing changed. */
  | { status: 'committed'; revision: number; results: ChangeResult[] }
  /** Of a dry run. */
  | { status: 'planned'; configuration: Configuration; affects: readonly string[]; results: ChangeResult[] }
  /** A request with this key was stored before; `request`: its hash. */
  | { status: 'repeated'; request: string; answer: RecordedAnswer }
  /** The expectation of a change does not hold; `actual`: the stored revision, null where there is none. */
  | { status: 'stale'; kind: Kind; name: string; actual: number | null }
  | { status: 'invalid'; faults: ResourceFault[] }
  /** The actor may not change what is at these sites. */
  | { status: 'forbidden'; kind: Kind; name: string; missing: string[] }
  /** A rollout is under way that concerns what should be changed. */
  | { status: 'in-rollout'; number: number; state: RolloutState }
  | { status: 'in-use'; kind: Kind; name: string; farms: string[]; agents: string[] };

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
/** A client that got no answer asks again within minutes. */
const IDEMPOTENCY_MS = 86_400_000;

/** The answer to a change set as it is recorded: enough to give the same again, from history. */
export interface RecordedAnswer {
  readonly revision: number;
  readonly results: readonly (Pick<ChangeResult, 'status' | 'kind' | 'name'> & { readonly revision: number | null })[];
}

const repeated = ({ request, answer }: IdempotencyRecord): CommitOutcome => ({
  status: 'repeated',
  request,
  answer: JSON.parse(answer) as RecordedAnswer,
});

/**
 * Validates a set of changes against everything stored, and stores it if that is still what is stored: else it decides anew.
 * So no two writes that are each right alone can be wrong together.
 */
export function createCommit(deps: CommitDeps) {
  let last: Promise<unknown> = Promise.resolve();

  /** One after the other within this process: rivals here would only make each other decide again. */
  return function commit(request: CommitRequest): Promise<CommitOutcome> {
    const mine = last.then(() => commitNow(request));
    last = mine.catch(() => {});
    return mine;
  };

  async function commitNow(request: CommitRequest): Promise<CommitOutcome> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const outcome = await attemptOnce(request);
      if (outcome !== 'moved') return outcome;
      // Random, so that those who collided once do not collide again.
      await delay(Math.random() * Math.min(50, attempt));
    }
    throw new Error(`the configuration changed ${MAX_ATTEMPTS} times while this change was being stored`);
  }

  async function attemptOnce(request: CommitRequest): Promise<CommitOutcome | 'moved'> {
    const { idempotency, dryRun = false } = request;
    if (idempotency !== undefined && !dryRun) {
      const record = await deps.store.idempotency(idempotency.key, new Date(deps.now()).toISOString());
      if (record !== undefined) return repeated(record);
    }
    const configuration = await deps.current.configuration();
    const decision = await decide(deps, configuration, request);
    if ('status' in decision) return decision;
    const { set, results } = decision;
    if (dryRun) return { status: 'planned', configuration, affects: set.affects, results };
    if (set.writes.length === 0) return { status: 'committed', revision: configuration.revision, results };
    const outcome = await deps.store.write(set);
    if (outcome.status === 'moved') return 'moved';
    if (outcome.status === 'repeated') return repeated(outcome.record);
    if (outcome.status === 'stale') return outcome;
    deps.onCommit();
    return { status: 'committed', revision: outcome.revision, results };
  }
}
export type Commit = ReturnType<typeof createCommit>;

type Decision = { set: ChangeSet; results: ChangeResult[] };

async function decide(
  deps: CommitDeps,
  configuration: Configuration,
  request: CommitRequest,
): Promise<CommitOutcome | Decision> {
  const changes = request.changes.map(({ change }) => change);
  for (const { expectation, change } of request.changes) {
    const { kind, name } = targetOf(change);
    const stored = find(configuration, kind, name);
    const absent = change.action === 'delete' && stored === undefined;
    if (absent || !holds(expectation, stored)) return { status: 'stale', kind, name, actual: stored?.revision ?? null };
  }
  const at = new Date(deps.now()).toISOString();
  const decided = await Promise.all(changes.map((change) => decideOne(deps, configuration, change, at)));
  const results = decided.map(({ result }) => result);
  const writes = decided.flatMap(({ write }) => write ?? []);
  const changed = changes.filter((_, i) => decided[i]?.write !== undefined);
  const forbidden = beyondScope(configuration, changed, changes, request.scope ?? null);
  if (forbidden !== undefined) return forbidden;
  if (writes.length > 0) {
    const refused = (await refusalOf(deps, configuration, changes)) ?? rolloutRefusal(configuration, request);
    if (refused !== undefined) return refused;
  }
  return { set: setOf(deps, configuration, request, { at, writes, changed, results }), results };
}

async function refusalOf(
  deps: CommitDeps,
  configuration: Configuration,
  changes: readonly ResourceChange[],
): Promise<CommitOutcome | undefined> {
  const faults = validateSet(configuration, changes);
  if (faults.length > 0) return { status: 'invalid', faults };
  const users = usersOfDeleted(configuration, changes);
  for (const [index, change] of changes.entries()) {
    if (change.action !== 'delete') continue;
    const { kind, name } = change;
    const agents = kind === 'Site' ? await agentsAt(deps.store, name) : [];
    const farms = users.get(index) ?? [];
    if (farms.length + agents.length > 0) return { status: 'in-use', kind, name, farms, agents };
  }
  return undefined;
}

async function decideOne(
  deps: CommitDeps,
  configuration: Configuration,
  change: ResourceChange,
  at: string,
): Promise<{ result: ChangeResult; write?: ResourceWrite }> {
  const { kind, name } = targetOf(change);
  const stored = find(configuration, kind, name);
  const { before: from, after: to } = farmTransition(configuration, change);
  const next = configuration.revision + 1;
  const departures = kind === 'Farm' ? departuresAfter(configuration.departures.get(name), from, to, next) : undefined;
  const known = { kind, name, before: stored ?? null };
  if (change.action === 'delete') {
    const { revision: expected } = stored as StoredResource;
    return {
      result: { ...known, status: 'deleted', stored: null },
      write: { action: 'delete', kind, name, expected, departures },
    };
  }
  const spec = await storable(deps.secrets, change.spec, stored);
  if (stored !== undefined && isSame(stored, spec)) return { result: { ...known, status: 'unchanged', stored } };
  const tokenKeys = (stored as StoredFarm | undefined)?.tokenKeys ?? newTokenKeys(change.spec, deps.randomBytes);
  const status = stored === undefined ? 'created' : 'updated';
  return {
    result: { ...known, status, stored: { spec, revision: next, updatedAt: at } },
    write: { action: 'put', spec, tokenKeys, expected: stored?.revision ?? null, departures },
  };
}

function setOf(
  deps: CommitDeps,
  configuration: Configuration,
  { actor, source, idempotency, rollout: policy }: CommitRequest,
  decided: { at: string; writes: ResourceWrite[]; changed: readonly ResourceChange[]; results: ChangeResult[] },
): ChangeSet {
  const { at, writes, changed, results } = decided;
  const affects = [...new Set(changed.flatMap((change) => affectedBy(configuration, change)))].sort();
  const id = randomUUID().replaceAll('-', '');
  const set = {
    ...{ id, base: configuration.revision, actor, source, at, affects, writes },
    ...(policy === undefined || affects.length === 0
      ? {}
      : { rollout: openRollout(configuration, { policy, actor, at, farms: farmsOf(changed), sites: affects }) }),
  };
  if (idempotency === undefined) return set;
  const answer: RecordedAnswer = {
    revision: configuration.revision + 1,
    results: results.map(({ status, kind, name, stored }) => ({
      status,
      kind,
      name,
      revision: stored?.revision ?? null,
    })),
  };
  const expiresAt = new Date(deps.now() + IDEMPOTENCY_MS).toISOString();
  return { ...set, idempotency: { ...idempotency, answer: JSON.stringify(answer), expiresAt } };
}

const farmsOf = (changes: readonly ResourceChange[]): string[] =>
  changes.map(targetOf).flatMap(({ kind, name }) => (kind === 'Farm' ? name : []));

/**
 * The first change that the actor has not the right to at all its sites: where a farm is, comes to or leaves, where a Secret is used. A Secret
 * needs the right also where it stays as it is, for that it does would tell its values; and one of other sites reaches no further site by a farm
 * that names it, for who has an agent there would read it.
 */
function beyondScope(
  configuration: Configuration,
  changed: readonly ResourceChange[],
  all: readonly ResourceChange[],
  scope: readonly string[] | null,
): CommitOutcome | undefined {
  for (const change of all) {
    const { kind, name } = targetOf(change);
    if (kind !== 'Secret' && !changed.includes(change)) continue;
    const missing = beyond({ sites: scope }, kind === 'Site' ? [name] : affectedBy(configuration, change));
    if (missing.length > 0) return { status: 'forbidden', kind, name, missing };
    for (const [secret, sites] of spreadSecrets(configuration, change)) {
      const theirs = beyond({ sites: scope }, sites);
      if (theirs.length > 0) return { status: 'forbidden', kind: 'Secret', name: secret, missing: theirs };
    }
  }
  return undefined;
}

/** One rollout at a time; and what one under way may have to put back, nobody else may change meanwhile. */
function rolloutRefusal(configuration: Configuration, { changes, rollout }: CommitRequest): CommitOutcome | undefined {
  const wanted = changes.map(({ change }) => change);
  const active = configuration.rollout;
  if (isActive(active) && (rollout !== undefined || concernsRollout(configuration, active, wanted)))
    return { status: 'in-rollout', number: active.number, state: active.state };
  const faults = rollout === undefined ? [] : notStaged(configuration, wanted);
  return faults.length === 0 ? undefined : { status: 'invalid', faults };
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
