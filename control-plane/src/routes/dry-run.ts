import { type FieldChange, fieldChanges, type Resource, type Secret, secretChanges } from '@sipfleet/contract';
import { type BlastRadius, blastRadiusOf } from '../domain/blast-radius.ts';
import { ALIVE_MS } from '../domain/check-plan.ts';
import type { Configuration, StoredResource, StoredSecret } from '../domain/configuration.ts';
import { changedKeys, usersOfSecret, viewOf } from '../domain/secrets.ts';
import type { ChangeResult, CommitOutcome } from '../store/commit.ts';
import type { AppDeps } from './deps.ts';

const ACTIONS = { created: 'create', updated: 'update', unchanged: 'none', deleted: 'delete' } as const;

type Planned = Extract<CommitOutcome, { status: 'planned' }>;

/** What storing changes would do: each with its fields, and whom together they touch. */
export async function dryRunOf(deps: AppDeps, { configuration, affects, results }: Planned) {
  const changes = results.map((result) => ({
    kind: result.kind,
    name: result.name,
    action: ACTIONS[result.status],
    revision: result.before?.revision ?? null,
    fields: fieldsOf(result),
  }));
  return { dryRun: true as const, changes, blastRadius: await blastRadius(deps, configuration, affects, results) };
}

function fieldsOf({ status, before, stored }: ChangeResult): FieldChange[] {
  if (status !== 'updated' || before === null || stored === null) return [];
  return changedFields(before, stored);
}

type Plain = Exclude<Resource, Secret>;

function changedFields(before: StoredResource, after: StoredResource): FieldChange[] {
  if (before.spec.kind !== 'Secret' || after.spec.kind !== 'Secret')
    return fieldChanges(before.spec as Plain, after.spec as Plain);
  const [from, to] = [(before as StoredSecret).spec, (after as StoredSecret).spec];
  return secretChanges(viewOf(from), viewOf(to), changedKeys(from, to));
}

export async function blastRadius(
  deps: Pick<AppDeps, 'store' | 'now'>,
  configuration: Configuration,
  affects: readonly string[],
  results: readonly Pick<ChangeResult, 'status' | 'kind' | 'name'>[],
): Promise<BlastRadius> {
  const farms = new Set<string>();
  for (const { status, kind, name } of results) {
    if (status === 'unchanged' || status === 'created') continue;
    if (kind === 'Farm') farms.add(name);
    if (kind === 'Secret') for (const farm of usersOfSecret(configuration, name)) farms.add(farm);
  }
  const agents = (await Promise.all(affects.map((site) => deps.store.agentsAt(site)))).flat();
  return blastRadiusOf(affects, [...farms], agents, (heardAt) => deps.now() - Date.parse(heardAt) < ALIVE_MS);
}
