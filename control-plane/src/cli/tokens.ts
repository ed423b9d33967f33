import { type Command, Option } from 'commander';
import type { TokenView } from '../api-access.ts';
import { type Connect, type Done, examples } from './command.ts';
import { EXIT, type Io, table } from './io.ts';
import { type Format, formatted, outputOption } from './output.ts';

interface CreateOptions {
  role: 'viewer' | 'operator' | 'admin';
  site?: string[];
  ttl?: string;
  output: Format;
}

/** `sipfleet token …`: who may use the API. */
export function addTokens(program: Command, io: Io, client: Connect, done: Done): void {
  const command = program
    .command('token')
    .description('make, list and revoke API tokens of operators and programs')
    .addHelpText(
      'after',
      examples('token create ci --role operator --site milan --ttl 90d', 'token list', 'token revoke ci'),
    );
  command
    .command('create')
    .description('make a token; it is printed alone, this once')
    .argument('<name>', 'stands in the audit log')
    .addOption(
      new Option('--role <role>', 'what it may do').choices(['viewer', 'operator', 'admin']).makeOptionMandatory(),
    )
    .option(
      '--site <site>',
      'what it may change is bound to this site; repeatable (default: all)',
      (site, all: string[] = []) => [...all, site],
    )
    .option('--ttl <duration>', 'how long it is good for (default: it does not expire)')
    .addOption(outputOption())
    .addHelpText(
      'after',
      examples('token create ci --role operator --site milan --site rome --ttl 90d', 'token create ann --role viewer'),
    )
    .action(async (name: string, { role, site, ttl, output }: CreateOptions) => {
      const request = { name, role, ...(site ? { sites: site } : {}), ...(ttl ? { ttl } : {}) };
      const made = await (await client()).createToken(request);
      io.out(output === 'table' ? `${made.token}\n` : formatted(made, output));
      done(EXIT.ok);
    });
  command
    .command('list')
    .description('every token, expired ones as well; never the tokens themselves')
    .addOption(outputOption())
    .addHelpText('after', examples('token list', 'token list -o json'))
    .action(async ({ output }: { output: Format }) => {
      const tokens = await (await client()).listTokens();
      io.out(output === 'table' ? tokenTable(tokens) : formatted(tokens, output));
      done(EXIT.ok);
    });
  command
    .command('revoke')
    .description('revoke a token, by name or id: its next request is refused')
    .argument('<name>')
    .addOption(outputOption())
    .addHelpText('after', examples('token revoke ci', 'token revoke ci -o json'))
    .action(async (name: string, { output }: { output: Format }) => {
      await (await client()).revokeToken(name);
      io.out(output === 'table' ? `− token ${name}\n` : formatted({ kind: 'Token', name }, output));
      done(EXIT.ok);
    });
}

function tokenTable(tokens: readonly TokenView[]): string {
  const rows = tokens.map(({ id, name, role, sites, createdAt, expiresAt }) => [
    ...[name, id, role, sites === null ? 'all' : sites.join(','), createdAt],
    expiresAt ?? 'never',
  ]);
  return table([['NAME', 'ID', 'ROLE', 'SITES', 'CREATED', 'EXPIRES'], ...rows]);
}
