import { type Command, InvalidArgumentError } from 'commander';
import type { VersionView } from '../api-changes.ts';
import type { Client } from '../client.ts';
import { type Connect, type Done, examples } from './command.ts';
import { kindOf } from './get.ts';
import { CliError, type Colors, colorsFor, EXIT, type Io, table } from './io.ts';
import { type Format, formatted, outputOption } from './output.ts';

/** `sipfleet history`: the versions of a site or farm, and with two revisions what lies between them. */
export function addHistory(program: Command, io: Io, client: Connect, done: Done): void {
  program
    .command('history')
    .description('every version of a site or farm, newest first, also of one that is deleted')
    .argument('<kind>', 'site or farm')
    .argument('<name>')
    .option('--limit <n>', 'how many at most', countTo(1000), 20)
    .option('--from <revision>', 'show the fields that differ since this revision', revision)
    .option('--to <revision>', 'with --from: until this one (default: the current)', revision)
    .addOption(outputOption())
    .addHelpText(
      'after',
      examples(
        'history farm pbx',
        'history farm pbx --from 7',
        'history farm pbx --from 7 --to 9',
        'history site milan -o json',
      ),
    )
    .action(async (word: string, name: string, options: HistoryOptions) =>
      done(await history(await client(), word, name, options, io, colorsFor(io))),
    );
}

interface HistoryOptions {
  limit: number;
  from?: number;
  to?: number;
  output: Format;
}

const countTo = (max: number) => (text: string) => {
  if (!/^[1-9]\d{0,5}$/.test(text) || Number(text) > max)
    throw new InvalidArgumentError(`allowed: a whole number from 1 to ${max}`);
  return Number(text);
};

function revision(text: string): number {
  if (!/^\d{1,12}$/.test(text)) throw new InvalidArgumentError('allowed: a revision, a whole number');
  return Number(text);
}

async function history(
  client: Client,
  word: string,
  name: string,
  { limit, from, to, output }: HistoryOptions,
  io: Io,
  colors: Colors,
): Promise<number> {
  const kind = kindOf(word);
  if (kind !== 'Site' && kind !== 'Farm')
    throw new CliError(`kind: found ${JSON.stringify(word)}; allowed: site, farm (of others see sipfleet audit)`);
  if (from === undefined) {
    if (to !== undefined) throw new CliError('--to needs --from');
    const versions = await client.history(kind, name, limit);
    io.out(output === 'table' ? versionTable(versions, colors) : formatted(versions, output));
    return EXIT.ok;
  }
  const { fields, ...between } = await client.diffRevisions(kind, name, from, to);
  if (output !== 'table') io.out(formatted({ ...between, fields }, output));
  else if (fields.length === 0) io.out('No field differs.\n');
  else io.out(fields.map(({ field, from: was, to: is }) => `${field}: ${was} → ${is}\n`).join(''));
  return EXIT.ok;
}

function versionTable(versions: readonly VersionView[], colors: Colors): string {
  const paint = { create: colors.green, update: colors.yellow, delete: colors.red };
  const rows = versions.map(({ revision: made, at, actor, action }) => [
    String(made),
    paint[action](action),
    at,
    actor,
  ]);
  return table([['REVISION', 'ACTION', 'AT', 'BY'], ...rows]);
}
