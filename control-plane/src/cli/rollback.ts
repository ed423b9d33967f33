import type { Command } from 'commander';
import type { RollbackPlan } from '../api-changes.ts';
import type { Client } from '../client.ts';
import { formatBlastRadius } from './apply.ts';
import { type Connect, type Done, examples } from './command.ts';
import { type Colors, colorsFor, EXIT, type Io } from './io.ts';
import { type Format, formatted, forPeople, outputOption } from './output.ts';
import { afterWrite, numberOf, type RolloutOptions, rolloutInput, rolloutOptions } from './rollout.ts';

type RollbackOptions = RolloutOptions & { to?: number; dryRun?: true; output: Format };

/** `sipfleet rollback`. */
export function addRollback(program: Command, io: Io, client: Connect, done: Done): void {
  const command = program
    .command('rollback')
    .description('make every farm what it was at an older revision, as a new revision')
    .option('--to <revision>', 'default: the revision before the last change', numberOf)
    .option('--dry-run', 'show what would change, write nothing')
    .addOption(outputOption());
  rolloutOptions(command)
    .addHelpText(
      'after',
      examples('rollback', 'rollback --to 41 --dry-run', 'rollback --to 41 --rollout canary --wait'),
    )
    .action(async (options: RollbackOptions) => done(await rollback(await client(), options, io, colorsFor(io))));
}

async function rollback(client: Client, options: RollbackOptions, io: Io, colors: Colors): Promise<number> {
  const plan = await client.planRollback(options.to);
  const { output: format } = options;
  const people = forPeople(io, format);
  people.out(planText(plan, colors));
  const tell = (revision: number | null): void => {
    const { to, changes, left, blastRadius } = plan;
    if (format !== 'table') io.out(formatted({ to, changes, left, blastRadius, revision }, format));
  };
  if (plan.changes.length === 0 || options.dryRun) {
    const none = `Every farm is what it was at revision ${plan.to}.\n`;
    people.out(plan.changes.length === 0 ? none : 'Dry run: nothing was written.\n');
    tell(null);
    return EXIT.ok;
  }
  const { revision } = await client.rollback(plan.to, rolloutInput(options));
  people.out(`Farms are as they were at revision ${plan.to}. Revision ${revision}.\n`);
  tell(revision);
  return afterWrite(client, revision, options, people, colors);
}

function planText({ changes, blastRadius, left }: RollbackPlan, colors: Colors): string {
  const paint = { create: colors.green, update: colors.yellow, delete: colors.red, none: colors.dim };
  const sign = { create: '+', update: '~', delete: '−', none: '=' };
  const lines = changes.flatMap(({ kind, name, action, fields }) => [
    paint[action](`${sign[action]} ${kind} ${name}`),
    ...(fields ?? []).map(({ field, from, to }) => `    ${field}: ${from} → ${to}`),
  ]);
  if (left.length > 0) lines.push(colors.dim(`Changed since and left as it is: ${left.join(', ')}`));
  return lines.map((line) => `${line}\n`).join('') + formatBlastRadius(blastRadius);
}
