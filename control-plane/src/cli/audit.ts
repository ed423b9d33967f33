import { type Command, InvalidArgumentError } from 'commander';
import type { AuditPage } from '../api-changes.ts';
import { type AuditHead, EMPTY_LOG, verifyChain } from '../audit-chain.ts';
import type { Client } from '../client.ts';
import { type Connect, type Done, examples } from './command.ts';
import { type Colors, colorsFor, EXIT, type Io, table } from './io.ts';
import { type Format, formatted, outputOf, outputOption } from './output.ts';

/** `sipfleet audit` and `sipfleet audit verify`. */
export function addAudit(program: Command, io: Io, client: Connect, done: Done): void {
  const command = program
    .command('audit')
    .description('who did what, when: the newest entries of the audit log')
    .option('--limit <n>', 'how many at most, from 1 to 1000', limit, 50)
    .addOption(outputOption())
    .addHelpText('after', examples('audit', 'audit --limit 1000 -o json', 'audit verify'))
    .action(async ({ limit: most, output }: { limit: number; output: Format }) =>
      done(await audit(await client(), most, output, io, colorsFor(io))),
    );
  command
    .command('verify')
    .description(
      'check every entry against the hashes of the log: finds what was changed, removed or reordered; exit code 1 then',
    )
    .option(
      '--expect <sequence:hash>',
      'an end of the log that was written down earlier; without it, one made anew is not found',
      head,
    )
    .addOption(outputOption())
    .addHelpText('after', examples('audit verify', 'audit verify --expect 1024:9f2c…'))
    .action(async ({ expect }: { expect?: AuditHead }, own: Command) =>
      done(await verify(await client(), expect, outputOf(own), io, colorsFor(io))),
    );
}

function limit(text: string): number {
  if (!/^\d{1,4}$/.test(text) || Number(text) < 1 || Number(text) > 1000)
    throw new InvalidArgumentError('allowed: a whole number from 1 to 1000');
  return Number(text);
}

function head(text: string): AuditHead {
  const [, sequence, hash] = /^(\d{1,12}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (sequence === undefined || hash === undefined)
    throw new InvalidArgumentError('allowed: SEQUENCE:HASH, as audit verify prints it');
  return { sequence: Number(sequence), hash };
}

async function audit(client: Client, most: number, format: Format, io: Io, colors: Colors): Promise<number> {
  const { value } = await client.audit({ order: 'newest-first', limit: most }).next();
  const { items } = value as AuditPage;
  if (format !== 'table') io.out(formatted(items, format));
  else io.out(table([['SEQUENCE', 'AT', 'BY', 'THROUGH', 'WHAT'], ...items.map((entry) => rowOf(entry, colors))]));
  return EXIT.ok;
}

function rowOf(
  { sequence, at, actor, source, action, revision, changes, details }: AuditPage['items'][number],
  colors: Colors,
) {
  const signs = { create: colors.green('+'), update: colors.yellow('~'), delete: colors.red('−') };
  const told = (of: Record<string, string>) => Object.entries(of).map(([key, value]) => `${key}=${value}`);
  // A step of a rollout may change no resource, only who has it as their target.
  const { rollout, event, ...others } = details;
  const step = event === undefined ? [] : [`rollout ${rollout}: ${event}`];
  const changed = changes.map((c) => `${signs[c.action]} ${c.kind} ${c.name}`);
  const what =
    action === 'change'
      ? `${[...changed, ...step].join(', ')} (revision ${revision})`
      : [action, ...told(event === undefined ? details : others), ...step].join(' ');
  return [String(sequence), at, actor, source, what];
}

async function verify(
  client: Client,
  expected: AuditHead | undefined,
  format: Format,
  io: Io,
  colors: Colors,
): Promise<number> {
  const verifier = verifyChain(EMPTY_LOG, expected);
  let end: AuditHead = EMPTY_LOG;
  for await (const page of client.audit()) {
    for (const entry of page.items)
      if (end.sequence === 0 || entry.sequence <= page.head.sequence) verifier.take(entry);
    end = page.head;
  }
  const { entries, head: last, faults } = verifier.end(end);
  if (format !== 'table') {
    io.out(formatted({ entries, head: last, faults }, format));
    return faults.length > 0 ? EXIT.error : EXIT.ok;
  }
  for (const { sequence, message } of faults) io.err(`${colors.red('✗')} entry ${sequence}: ${message}\n`);
  if (faults.length > 0) {
    io.err(`sipfleet: the audit log of ${entries} entries was tampered with: ${faults.length} faults\n`);
    return EXIT.error;
  }
  io.out(
    `${colors.green('✓')} ${entries} entries, each as it was written. The log ends with ${last.sequence}:${last.hash}\n`,
  );
  if (expected === undefined)
    io.out('Keep that line elsewhere: audit verify --expect finds a log that was made anew.\n');
  return EXIT.ok;
}
