import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Client, createClient } from '../client.ts';
import { type Context, contextOf } from './contexts.ts';
import { CliError, type Io } from './io.ts';

/** Options that stand before or after every command. */
export interface GlobalOptions {
  context?: string;
  url?: string;
  token?: string;
  tokenFile?: string;
}

/** Where `sipfleet up` answers. */
export const LOCAL_URL = 'http://127.0.0.1:8080';

/** A client for the control plane that was meant, with its token: that of a context goes nowhere else. */
export async function connect(options: GlobalOptions, io: Io): Promise<Client> {
  const context = await chosen(options, io);
  const url = context?.url ?? options.url ?? (io.env.SIPFLEET_URL || LOCAL_URL);
  if (!/^https?:\/\/[^/]/.test(url))
    throw new CliError(`--url: found ${JSON.stringify(url)}; allowed: an http or https URL`);
  const token = options.token ?? (await tokenOf(options.tokenFile, context, io));
  return createClient({ url, ...(token ? { token } : {}), ...(io.fetch ? { fetch: io.fetch } : {}) });
}

/** An address that was named comes before a context that was not. */
async function chosen({ url, context }: GlobalOptions, io: Io): Promise<Context | undefined> {
  if (url !== undefined && context !== undefined) throw new CliError('--url and --context exclude each other');
  if (url !== undefined || (context === undefined && io.env.SIPFLEET_URL)) return undefined;
  return contextOf(io, context ?? (io.env.SIPFLEET_CONTEXT || undefined));
}

async function tokenOf(file: string | undefined, context: Context | undefined, io: Io): Promise<string | undefined> {
  const named = file ?? context?.tokenFile;
  if (named !== undefined) return readToken(named, io);
  const given = context?.token ?? (io.env.SIPFLEET_TOKEN || undefined);
  // Without a token the control plane says what is missing. The one of this directory is not for another control plane.
  if (given !== undefined || context !== undefined) return given;
  return readToken('var/token', io).catch(() => undefined);
}

async function readToken(file: string, io: Io): Promise<string> {
  try {
    return (await readFile(resolve(io.cwd, file), 'utf8')).trim();
  } catch (error) {
    throw new CliError(`--token-file ${file}: ${(error as Error).message}`, { cause: error });
  }
}
