import {
  type Fault,
  type FieldChange,
  fieldChanges,
  formatFault,
  type Kind,
  type Resource,
  type SecretView,
  secretChanges,
  ValidationError,
} from '@sipfleet/contract';
import type { BlastRadiusView } from '../api-changes.ts';
import { ApiError, type Client, type ResourceChange, type RolloutInput } from '../client.ts';
import type { SourceDocument } from './documents.ts';
import { CliError, type Colors, EXIT, type Io } from './io.ts';
import { type Format, formatted, forPeople } from './output.ts';
import { afterWrite, type RolloutOptions, rolloutInput } from './rollout.ts';

/** One resource of a plan. `revision`: the stored one, which a write must find unchanged; null where there is none yet. */
export type Change =
  | { action: 'create' | 'none'; resource: Resource; revision: number | null }
  | { action: 'update'; resource: Resource; revision: number; fields: FieldChange[] }
  | Deletion;
type Deletion = { action: 'delete'; resource: Resource; revision: number };

/** What applying would change, and whom it would touch. */
export interface Plan {
  changes: Change[];
  blastRadius: BlastRadiusView;
}

/**
 * What applying the documents would do; nothing is written. Throws {@link ValidationError} with file and line
 * where the control plane finds fault with the set as a whole (a site that does not exist, a port bound twice).
 */
export async function makePlan(client: Client, documents: readonly SourceDocument[], prune: boolean): Promise<Plan> {
  const resources = documents.map((d) => d.resource);
  const deletions = prune ? await surplus(client, resources) : [];
  const planned = await client
    .plan(
      resources,
      deletions.map(({ resource: { kind, name } }) => ({ kind, name })),
    )
    .catch((error: unknown) => {
      throw withPlaces(error, documents);
    });
  const changes: Change[] = [];
  for (const [i, { action, kind, name, revision, keys }] of planned.changes.entries()) {
    const resource = resources[i] as Resource;
    if (action !== 'update') {
      changes.push({ action, resource, revision });
      continue;
    }
    const stored = await client.getResource(kind, name);
    if (stored?.revision !== revision) throw changedMeanwhile(resource);
    const fields =
      resource.kind === 'Secret'
        ? secretChanges(stored.spec as SecretView, resource, keys ?? [])
        : fieldChanges(stored.spec as Exclude<Resource, { kind: 'Secret' }>, resource);
    changes.push({ action, resource, revision, fields });
  }
  return { changes: [...changes, ...deletions], blastRadius: planned.blastRadius };
}

/** Secrets stay: they are often applied from elsewhere, so that they do not lie beside the farms. */
async function surplus(client: Client, resources: readonly Resource[]): Promise<Deletion[]> {
  const wanted = new Set(resources.map((r) => `${r.kind} ${r.name}`));
  const stored = [...(await client.listResources('Farm')), ...(await client.listResources('Site'))];
  return stored
    .filter(({ spec }) => !wanted.has(`${spec.kind} ${spec.name}`))
    .map(({ spec, revision }) => ({ action: 'delete', resource: spec, revision }));
}

/** The control plane's faults name the index in the list that was sent: that is a file and a line here. */
function withPlaces(error: unknown, documents: readonly SourceDocument[]): unknown {
  if (!(error instanceof ApiError) || !error.problem.faults?.length) return error;
  const faults = error.problem.faults.map(({ resource, field, found, allowed, message }): Fault => {
    const document = resource === undefined ? undefined : documents[resource];
    return {
      field,
      found,
      allowed,
      ...(message === undefined ? {} : { message }),
      ...(document ? { file: document.file, line: document.lineOf(field) } : {}),
    };
  });
  return new ValidationError(faults, { cause: error });
}

const SIGNS = { create: '+', update: '~', delete: '−', none: '=' } as const;

/** The plan as text: one line per change, the changed fields of updates below, what stays counted in one line. */
export function formatPlan(changes: readonly Change[], colors: Colors): string {
  const paint = { create: colors.green, update: colors.yellow, delete: colors.red, none: colors.dim };
  let text = '';
  for (const change of changes) {
    const { action, resource } = change;
    if (action === 'none') continue;
    text += `${paint[action](`${SIGNS[action]} ${resource.kind} ${resource.name}`)}\n`;
    if (action !== 'update') continue;
    for (const { field, from, to } of change.fields) text += `    ${field}: ${from} → ${to}\n`;
  }
  const same = changes.filter((c) => c.action === 'none').length;
  return same > 0 ? `${text}${colors.dim(`= ${same} unchanged`)}\n` : text;
}

/** Whom the plan touches: agents that take a new snapshot, and what they carry of the farms that change. Nothing where nobody is touched. */
export function formatBlastRadius({ sites, agents, unknown, calls, registrations }: BlastRadiusView): string {
  if (sites.length === 0) return '';
  if (agents === 0) return `No agent has joined ${someOf(sites)} yet.\n`;
  const plural = (count: number, word: string) => `${count} ${word}${count === 1 ? '' : 's'}`;
  const carried =
    calls === null || registrations === null
      ? 'live calls unknown'
      : `${plural(calls, 'live call')} and ${plural(registrations, 'registration')} on the farms that change`;
  const silent = unknown.length === 0 ? '' : `; ${plural(unknown.length, 'agent')} did not say: ${someOf(unknown)}`;
  return `Touches ${plural(agents, 'agent')} at ${someOf(sites)}: ${carried}${silent}.\n`;
}

/** At most ten: an operator reads it. */
const someOf = (names: readonly string[]): string =>
  names.length <= 10 ? names.join(', ') : `${names.slice(0, 10).join(', ')} and ${names.length - 10} more`;

const isChange = (change: Change): boolean => change.action !== 'none';

/** A plan for programs: what changes, without the values that a Secret may hold. */
const viewOf = (changes: readonly Change[], blastRadius: BlastRadiusView) => ({
  changes: changes.map((change) => ({
    ...{ kind: change.resource.kind, name: change.resource.name, action: change.action, revision: change.revision },
    ...(change.action === 'update' ? { fields: change.fields } : {}),
  })),
  blastRadius,
});

/** `sipfleet diff`. Returns the exit code. */
export async function diff(
  client: Client,
  documents: readonly SourceDocument[],
  format: Format,
  io: Io,
  colors: Colors,
): Promise<number> {
  const { changes, blastRadius } = await makePlan(client, documents, false);
  io.out(format === 'table' ? formatPlan(changes, colors) : formatted(viewOf(changes, blastRadius), format));
  return changes.some(isChange) ? EXIT.differences : EXIT.ok;
}

export interface ApplyOptions extends RolloutOptions {
  /** Delete what is stored and not in the input. */
  prune?: boolean;
  /** Do not ask before deleting. */
  yes?: boolean;
  /** Show the plan and stop. */
  dryRun?: boolean;
  output: Format;
}

/** `sipfleet apply`: plan, print it, write it. Returns the exit code. */
export async function apply(
  client: Client,
  documents: readonly SourceDocument[],
  options: ApplyOptions,
  io: Io,
  colors: Colors,
): Promise<number> {
  const { changes, blastRadius } = await makePlan(client, documents, options.prune ?? false);
  const { output: format } = options;
  const people = forPeople(io, format);
  people.out(formatPlan(changes, colors) + formatBlastRadius(blastRadius));
  /** @param made the revision; null: none */
  const tell = (made: number | null): void => {
    if (format !== 'table') io.out(formatted({ ...viewOf(changes, blastRadius), revision: made }, format));
  };
  if (!changes.some(isChange) || options.dryRun) {
    people.out(changes.some(isChange) ? 'Dry run: nothing was written.\n' : 'Nothing to do.\n');
    tell(null);
    return EXIT.ok;
  }
  await confirmDeletion(changes, options, io);
  const { written, revision } = await write(client, changes, rolloutInput(options));
  people.out(`${summary(written)}${revision > 0 ? ` Revision ${revision}.` : ''}\n`);
  tell(revision > 0 ? revision : null);
  return afterWrite(client, revision, options, people, colors);
}

async function confirmDeletion(changes: readonly Change[], options: ApplyOptions, io: Io): Promise<void> {
  const count = changes.filter((c) => c.action === 'delete').length;
  if (count === 0 || options.yes) return;
  const answer = await io.ask(
    `Delete ${count} ${count === 1 ? 'resource' : 'resources'} that the input does not name? [y/N] `,
  );
  if (answer === undefined)
    throw new CliError(
      '--prune would delete resources and nobody is at the terminal to confirm it: add --yes. Nothing was written.',
    );
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError('Nothing was written.');
}

/**
 * A farm needs its sites and Secrets: they come first, and leave last. Farms that go make room for those that come. It matters where
 * there are more changes than fit into one revision; within one, the end alone must be right.
 */
const ORDER: Record<Change['action'], Record<Kind, number>> = {
  create: { Site: 0, Secret: 1, Farm: 3 },
  update: { Site: 0, Secret: 1, Farm: 3 },
  none: { Site: 0, Secret: 1, Farm: 3 },
  delete: { Farm: 2, Secret: 4, Site: 5 },
};
const rank = ({ action, resource }: Change): number => ORDER[action][resource.kind];

/** What the control plane takes as one revision. */
const MAX_SET = 31;

/**
 * Writes the changes of a plan, each on condition that the resource is still as the plan found it: as one revision, or, where they are
 * more than fit into one, as several. Stops at the first that fails; the error then says how far it came. `revision`: the last made, 0 without one.
 */
export async function write(
  client: Client,
  changes: readonly Change[],
  rollout?: RolloutInput,
): Promise<{ written: Change[]; revision: number }> {
  const written: Change[] = [];
  const wanted = changes.filter(isChange).sort((a, b) => rank(a) - rank(b));
  if (rollout !== undefined && wanted.length > MAX_SET)
    throw new CliError(`a rollout takes at most ${MAX_SET} changes, these are ${wanted.length}. Nothing was written.`);
  let revision = 0;
  for (let first = 0; first < wanted.length; first += MAX_SET) {
    const set = wanted.slice(first, first + MAX_SET);
    try {
      ({ revision } = await client.change(set.map(requestOf), rollout));
    } catch (error) {
      throw stoppedAt(error, written);
    }
    written.push(...set);
  }
  return { written, revision };
}

function requestOf(change: Change): ResourceChange {
  const { resource, revision } = change;
  if (change.action === 'delete')
    return { action: 'delete', revision: change.revision, kind: resource.kind, name: resource.name };
  return { action: 'put', revision, resource };
}

const changedMeanwhile = ({ kind, name }: Resource): CliError =>
  new CliError(
    `${kind} ${name} was changed by somebody else since the plan was made; run the command again to see what it would do now.`,
  );

function stoppedAt(error: unknown, written: readonly Change[]): unknown {
  const done = written.length === 0 ? 'Nothing was written.' : `Before that: ${summary(written)}`;
  if (!(error instanceof ApiError)) return error;
  if (error.status === 412) {
    const again = 'run the command again to see what it would do now';
    return new CliError(`somebody else was faster: ${error.message}; ${again}. ${done}`, { cause: error });
  }
  const faults = error.problem.faults?.map((fault) => formatFault(fault as Fault)) ?? [];
  return new CliError(`${[error.message, ...faults].join('; ')}. ${done}`, { cause: error });
}

function summary(written: readonly Change[]): string {
  const count = (action: Change['action']) => written.filter((c) => c.action === action).length;
  const parts = [`${count('create')} created`, `${count('update')} updated`];
  if (count('delete') > 0) parts.push(`${count('delete')} deleted`);
  return `${parts.join(', ')}.`;
}
