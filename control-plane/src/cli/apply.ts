import {
  type Fault,
  type FieldChange,
  fieldChanges,
  type Kind,
  type Resource,
  type SecretView,
  secretChanges,
  ValidationError,
} from '@sipfleet/contract';
import { ApiError, type Client } from '../client.ts';
import type { SourceDocument } from './documents.ts';
import { CliError, type Colors, EXIT, type Io } from './io.ts';

/** One resource of a plan. `revision`: the stored one, which a write must find unchanged; null where there is none yet. */
export type Change =
  | { action: 'create' | 'none'; resource: Resource; revision: number | null }
  | { action: 'update'; resource: Resource; revision: number; fields: FieldChange[] }
  | { action: 'delete'; resource: Resource; revision: number };

/**
 * What applying the documents would do; nothing is written. Throws {@link ValidationError} with file and line
 * where the control plane finds fault with the set as a whole (a site that does not exist, a port bound twice).
 */
export async function makePlan(
  client: Client,
  documents: readonly SourceDocument[],
  prune: boolean,
): Promise<Change[]> {
  const resources = documents.map((d) => d.resource);
  const planned = await client.plan(resources).catch((error: unknown) => {
    throw withPlaces(error, documents);
  });
  const changes: Change[] = [];
  for (const [i, { action, kind, name, revision, keys }] of planned.entries()) {
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
  return prune ? [...changes, ...(await surplus(client, resources))] : changes;
}

/** Secrets stay: they are often applied from elsewhere, so that they do not lie beside the farms. */
async function surplus(client: Client, resources: readonly Resource[]): Promise<Change[]> {
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

const isChange = (change: Change): boolean => change.action !== 'none';

/** `sipfleet diff`. Returns the exit code. */
export async function diff(
  client: Client,
  documents: readonly SourceDocument[],
  io: Io,
  colors: Colors,
): Promise<number> {
  const changes = await makePlan(client, documents, false);
  io.out(formatPlan(changes, colors));
  return changes.some(isChange) ? EXIT.differences : EXIT.ok;
}

export interface ApplyOptions {
  /** Delete what is stored and not in the input. */
  prune?: boolean;
  /** Do not ask before deleting. */
  yes?: boolean;
  /** Show the plan and stop. */
  dryRun?: boolean;
}

/** `sipfleet apply`: plan, print it, write it. Returns the exit code. */
export async function apply(
  client: Client,
  documents: readonly SourceDocument[],
  options: ApplyOptions,
  io: Io,
  colors: Colors,
): Promise<number> {
  const changes = await makePlan(client, documents, options.prune ?? false);
  io.out(formatPlan(changes, colors));
  if (!changes.some(isChange)) io.out('Nothing to do.\n');
  else if (options.dryRun) io.out('Dry run: nothing was written.\n');
  else {
    await confirmDeletion(changes, options, io);
    const { written, revision } = await write(client, changes);
    io.out(`${summary(written)}${revision > 0 ? ` Revision ${revision}.` : ''}\n`);
  }
  return EXIT.ok;
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

/** A farm needs its sites and Secrets: they come first, and leave last. */
const ORDER: Record<Change['action'], Record<Kind, number>> = {
  create: { Site: 0, Secret: 1, Farm: 2 },
  update: { Site: 0, Secret: 1, Farm: 2 },
  none: { Site: 0, Secret: 1, Farm: 2 },
  delete: { Farm: 3, Secret: 4, Site: 5 },
};
const rank = ({ action, resource }: Change): number => ORDER[action][resource.kind];

/**
 * Writes the changes of a plan one by one, each on condition that the resource is still as the plan found it.
 * Stops at the first that fails; the error then says how far it came. `revision`: of the last write, 0 without one.
 */
export async function write(
  client: Client,
  changes: readonly Change[],
): Promise<{ written: Change[]; revision: number }> {
  const written: Change[] = [];
  let revision = 0;
  for (const change of changes.filter(isChange).sort((a, b) => rank(a) - rank(b))) {
    try {
      revision = Math.max(revision, await writeOne(client, change));
    } catch (error) {
      throw stoppedAt(error, change, written);
    }
    written.push(change);
  }
  return { written, revision };
}

async function writeOne(client: Client, { action, resource, revision }: Change): Promise<number> {
  if (action === 'delete') {
    await client.deleteResource(resource.kind, resource.name, revision);
    return 0;
  }
  const stored = await client.putResource(resource, revision === null ? { ifNoneMatch: '*' } : { ifMatch: revision });
  return stored.revision;
}

const changedMeanwhile = ({ kind, name }: Resource): CliError =>
  new CliError(
    `${kind} ${name} was changed by somebody else since the plan was made; run the command again to see what it would do now.`,
  );

function stoppedAt(error: unknown, { resource }: Change, written: readonly Change[]): unknown {
  const done = written.length === 0 ? 'Nothing was written.' : `Before that: ${summary(written)}`;
  if (!(error instanceof ApiError)) return error;
  if (error.status === 412) return new CliError(`${changedMeanwhile(resource).message} ${done}`, { cause: error });
  return new CliError(`${resource.kind} ${resource.name}: ${error.message}. ${done}`, { cause: error });
}

function summary(written: readonly Change[]): string {
  const count = (action: Change['action']) => written.filter((c) => c.action === action).length;
  const parts = [`${count('create')} created`, `${count('update')} updated`];
  if (count('delete') > 0) parts.push(`${count('delete')} deleted`);
  return `${parts.join(', ')}.`;
}
