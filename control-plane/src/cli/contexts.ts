import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { type Done, examples } from './command.ts';
import { CliError, EXIT, type Io, table } from './io.ts';
import { type Format, formatted, outputOption } from './output.ts';

/** One control plane that the user works with. */
const Context = z.strictObject({
  url: z.string().regex(/^https?:\/\/[^/]/, { error: 'an http or https URL' }),
  token: z.string().optional(),
  /** Relative to the file that it stands in. */
  tokenFile: z.string().optional(),
});
export type Context = z.infer<typeof Context>;

const Config = z.strictObject({
  current: z.string().optional(),
  contexts: z.record(z.string().regex(/^[\w.-]{1,63}$/), Context).default({}),
});
type Config = z.infer<typeof Config>;

/** `~/.config/sipfleet/config.yaml`, as the XDG Base Directory Specification has it; SIPFLEET_CONFIG names another. */
export function configFile({ env, cwd }: Pick<Io, 'env' | 'cwd'>): string {
  if (env.SIPFLEET_CONFIG) return resolve(cwd, env.SIPFLEET_CONFIG);
  return join(env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config'), 'sipfleet', 'config.yaml');
}

async function read(io: Io): Promise<Config> {
  const file = configFile(io);
  try {
    return Config.parse(parse(await readFile(file, 'utf8')) ?? {});
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { contexts: {} };
    const issue = error instanceof z.ZodError ? error.issues[0] : undefined;
    const why = issue === undefined ? (error as Error).message : `${issue.path.join('.')}: ${issue.message}`;
    throw new CliError(`${file}: ${why}`, { cause: error });
  }
}

/** Whole or not at all, and for its owner only: it may hold tokens. */
async function write(io: Io, config: Config): Promise<void> {
  const file = configFile(io);
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const fresh = `${file}.${process.pid}`;
    await writeFile(fresh, stringify(config), { mode: 0o600 });
    await chmod(fresh, 0o600);
    await rename(fresh, file);
  } catch (error) {
    throw new CliError(`${file} cannot be written: ${(error as Error).message}`, { cause: error });
  }
}

const unknown = (name: string, { contexts }: Config): CliError => {
  const names = Object.keys(contexts).sort().join(', ');
  return new CliError(
    `there is no context ${name}; ${names === '' ? 'add one: sipfleet context add' : `there are: ${names}`}`,
  );
};

/** The context by this name, or the current one; undefined where none is chosen. Its token file is an absolute path. */
export async function contextOf(io: Io, name: string | undefined): Promise<Context | undefined> {
  const config = await read(io);
  const wanted = name ?? config.current;
  if (wanted === undefined) return undefined;
  const found = Object.hasOwn(config.contexts, wanted) ? config.contexts[wanted] : undefined;
  if (found === undefined) throw unknown(wanted, config);
  const { tokenFile, ...rest } = found;
  return tokenFile === undefined ? rest : { ...rest, tokenFile: resolve(dirname(configFile(io)), tokenFile) };
}

/** For programs; never a token. */
const viewOf = (name: string, { current, contexts }: Config) => ({
  name,
  url: contexts[name]?.url,
  current: name === current,
});

/** `sipfleet context …`: the control planes that one works with. */
export function addContexts(program: Command, io: Io, done: Done): void {
  const command = program
    .command('context')
    .description('the control planes that you work with, kept in ~/.config/sipfleet/config.yaml')
    .addHelpText(
      'after',
      examples(
        'context add prod --url https://sipfleet.example.com --token-file ~/prod.token',
        'context use prod',
        'context list',
      ),
    );
  command
    .command('add')
    .description(
      'add a control plane, or replace one, with --url and --token or --token-file; the first one is used from then on',
    )
    .argument('<name>')
    .addOption(outputOption())
    .addHelpText('after', examples('context add prod --url https://sipfleet.example.com --token-file ~/prod.token'))
    .action(async (name: string, { output }: { output: Format }) => {
      // The options of every command: commander takes them wherever they stand.
      const { url, token, tokenFile } = program.opts<{ url?: string; token?: string; tokenFile?: string }>();
      if (url === undefined) throw new CliError('--url is needed: the address of the control plane');
      const config = await read(io);
      const context = {
        url,
        ...(token === undefined ? {} : { token }),
        ...(tokenFile === undefined ? {} : { tokenFile: resolve(io.cwd, tokenFile) }),
      };
      const next = { current: config.current ?? name, contexts: { ...config.contexts, [name]: context } };
      const checked = Config.safeParse(next);
      if (!checked.success)
        throw new CliError(`${checked.error.issues[0]?.path.join('.')}: ${checked.error.issues[0]?.message}`);
      await write(io, checked.data);
      io.out(output === 'table' ? `+ context ${name}\n` : formatted(viewOf(name, checked.data), output));
      done(EXIT.ok);
    });
  command
    .command('use')
    .description('work with this one from now on; --context or SIPFLEET_CONTEXT choose another for one command')
    .argument('<name>')
    .addOption(outputOption())
    .addHelpText('after', examples('context use prod'))
    .action(async (name: string, { output }: { output: Format }) => {
      const config = await read(io);
      if (!Object.hasOwn(config.contexts, name)) throw unknown(name, config);
      const next = { ...config, current: name };
      await write(io, next);
      const sentence = `Working with ${name}: ${config.contexts[name]?.url}\n`;
      io.out(output === 'table' ? sentence : formatted(viewOf(name, next), output));
      done(EXIT.ok);
    });
  command
    .command('list')
    .description('all of them; the one in use has a star')
    .addOption(outputOption())
    .addHelpText('after', examples('context list', 'context list -o json'))
    .action(async ({ output }: { output: Format }) => {
      const config = await read(io);
      const { current, contexts } = config;
      if (output !== 'table') {
        const views = Object.keys(contexts).map((name) => viewOf(name, config));
        io.out(formatted(views, output));
        return done(EXIT.ok);
      }
      const rows = Object.entries(contexts).map(([name, { url, token, tokenFile }]) => [
        ...[name === current ? '*' : '', name, url],
        tokenFile ?? (token === undefined ? 'none' : 'in the file'),
      ]);
      io.out(table([['', 'NAME', 'URL', 'TOKEN'], ...rows]));
      done(EXIT.ok);
    });
  command
    .command('remove')
    .description('forget one')
    .argument('<name>')
    .addOption(outputOption())
    .addHelpText('after', examples('context remove prod'))
    .action(async (name: string, { output }: { output: Format }) => {
      const config = await read(io);
      if (!Object.hasOwn(config.contexts, name)) throw unknown(name, config);
      const { [name]: _, ...contexts } = config.contexts;
      await write(io, { ...(config.current === name ? {} : { current: config.current }), contexts });
      io.out(output === 'table' ? `− context ${name}\n` : formatted(viewOf(name, config), output));
      done(EXIT.ok);
    });
}
