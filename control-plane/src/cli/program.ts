import { readFile } from 'node:fs/promises';
import {
  type Fault,
  formatFault,
  parseHostPort,
  parseRate,
  resourceJsonSchema,
  ValidationError,
} from '@sipfleet/contract';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ApiError, UnreachableError } from '../client.ts';
import { accessOptions } from './access-options.ts';
import { apply, diff } from './apply.ts';
import { addAudit } from './audit.ts';
import { checks, runCheck } from './checks.ts';
import { type Connect, type Done, EXIT_CODES, examples } from './command.ts';
import { addCompletion } from './completion.ts';
import { connect, type GlobalOptions, LOCAL_URL } from './connect.ts';
import { addContexts } from './contexts.ts';
import { readDocuments } from './documents.ts';
import { drain } from './drain.ts';
import { addDrift } from './drift.ts';
import { get, remove, status } from './get.ts';
import { addHistory } from './history.ts';
import { CliError, colorsFor, EXIT, type Io } from './io.ts';
import { limitOptions } from './limit-options.ts';
import { addObservers } from './observe.ts';
import { type Format, formatted, outputOf, outputOption } from './output.ts';
import type { ControlPlaneFlags } from './processes.ts';
import { reference } from './reference.ts';
import { addRollback } from './rollback.ts';
import { addRollouts, rolloutOptions } from './rollout.ts';
import { addTokens } from './tokens.ts';
import type { UpOptions } from './up.ts';
import { captured, watch } from './watch.ts';

/** What starts processes; passed in, so that the other commands load and run without it. */
export interface Launchers {
  up(options: UpOptions): Promise<number>;
  agent(args: readonly string[]): Promise<number>;
  controlPlane(flags: ControlPlaneFlags): Promise<number>;
}

/** docs/cli.md, as the commands are. */
export function cliReference(): string {
  const nothing = async () => EXIT.ok;
  const io: Io = { ...{ out() {}, err() {}, readInput: async () => '', ask: async () => undefined }, ...SILENT };
  return reference(buildProgram(io, { up: nothing, agent: nothing, controlPlane: nothing }, () => {}));
}
const SILENT = { env: {}, terminal: false, cwd: '.', sleep: async () => false };

/** Runs one command line (without `node` and script). Never throws, never exits: the exit code comes back. */
export async function run(args: readonly string[], io: Io, launch: Launchers): Promise<number> {
  let code: number = EXIT.ok;
  const program = buildProgram(io, launch, (result) => {
    code = result;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.error;
    io.err(messageOf(error));
    return EXIT.error;
  }
}

function messageOf(error: unknown): string {
  if (error instanceof ValidationError) return error.faults.map((f) => `${formatFault(f)}\n`).join('');
  if (error instanceof ApiError && error.status === 401)
    return `sipfleet: the control plane refused the token: ${error.message}; give one with --token, --token-file or SIPFLEET_TOKEN\n`;
  if (error instanceof ApiError && error.problem.faults?.length)
    return error.problem.faults.map((f) => `sipfleet: ${formatFault(f as Fault)}\n`).join('');
  if (error instanceof UnreachableError)
    return `sipfleet: ${error.message}; is it running (sipfleet up), and is --url right?\n`;
  if (error instanceof ApiError || error instanceof CliError) return `sipfleet: ${error.message}\n`;
  return `sipfleet: unexpected: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`;
}

/** `127.0.0.1:5060` as an option. */
export function hostPort(text: string): { host: string; port: number } {
  const parsed = parseHostPort(text);
  if (!parsed) throw new InvalidArgumentError('allowed: HOST:PORT, such as 127.0.0.1:5060 or [::1]:5060');
  return parsed;
}

function eventsPerSecond(text: string): number {
  const perSecond = parseRate(text);
  if (perSecond === undefined || perSecond <= 0 || perSecond > 200)
    throw new InvalidArgumentError('allowed: a rate up to 200/s, such as 5/s or 30/m');
  return perSecond;
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new InvalidArgumentError('allowed: a whole number from 1 to 999');
  return Number(text);
}

const collect = (value: string, all: string[] = []): string[] => [...all, value];

function buildProgram(io: Io, launch: Launchers, done: (code: number) => void): Command {
  const program = new Command('sipfleet')
    .description('SIP load balancing: one control plane, many edge agents.')
    .option('--context <name>', 'control plane of sipfleet context (default: SIPFLEET_CONTEXT, else the one in use)')
    .option('--url <url>', `address of the control plane (default: SIPFLEET_URL, else the context, else ${LOCAL_URL})`)
    .option('--token <token>', 'API token sft_… (default: the context, else SIPFLEET_TOKEN, else --token-file)')
    .option('--token-file <file>', 'file that holds the API token (default: ./var/token if it can be read)')
    .configureOutput({ writeOut: (text) => io.out(text), writeErr: (text) => io.err(text) })
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText('after', `\nExamples:\n  sipfleet up\n  sipfleet apply -f farms/\n  sipfleet status\n${EXIT_CODES}`);
  const client = async () => connect(program.opts<GlobalOptions>(), io);
  addLaunchers(program, io, client, launch, done);
  addWriters(program, io, client, done);
  addReaders(program, io, client, done);
  addChecks(program, io, client, done);
  addHistory(program, io, client, done);
  addAudit(program, io, client, done);
  addDrift(program, io, client, done);
  addObservers(program, io, done);
  addRollouts(program, io, client, done);
  addRollback(program, io, client, done);
  addTokens(program, io, client, done);
  addContexts(program, io, done);
  addCompletion(program, io, done);
  addSchema(program, io, done);
  return program;
}

function address(flag: string, description: string, preset?: string): Option {
  const option = new Option(`${flag} <host:port>`, description).argParser(hostPort);
  return preset === undefined ? option : option.default(hostPort(preset), preset);
}

function addLaunchers(program: Command, io: Io, client: Connect, launch: Launchers, done: Done): void {
  program
    .command('up')
    .description('run everything on this machine: control plane, one agent and, without -f, two demo PBXs')
    .addOption(address('--sip', 'where phones reach the farm, UDP and TCP; port 0: any free one', '127.0.0.1:5060'))
    .addOption(address('--http', 'where the control plane answers; port 0: any free one', '127.0.0.1:8080'))
    .addOption(address('--admin', 'where the agent answers (metrics, health) (default: the HTTP port + 1)'))
    .option('--data <dir>', 'where everything is kept', './var')
    .option('-f, --file <file>', 'own sites and farms instead of the quickstart; repeatable', collect)
    .option('--traffic <rate>', 'simulated calls to the echo extension, such as 5/s', eventsPerSecond)
    .option('--workers <n>', 'data threads of the agent', wholeNumber, 1)
    .addHelpText(
      'after',
      examples('up', 'up --traffic 5/s', 'up --sip 192.0.2.10:5060 --data /srv/sipfleet', 'up -f farm.yaml'),
    )
    .action(async (options) => done(await launch.up(options)));
  const agent = program
    .command('agent')
    .description('run an edge agent alone; agent revoke NAME takes one out of the fleet')
    .argument('[options...]', 'passed to the agent as they are')
    .allowUnknownOption()
    .helpOption(false)
    .helpCommand(false)
    .addHelpText(
      'after',
      examples('agent --control-plane http://127.0.0.1:8080 --join-token sfj_… --data ./agent', 'agent --help'),
    )
    .action(async (_args, _options, command: Command) => done(await launch.agent(command.args)));
  agent
    .command('revoke')
    .helpOption('-h, --help', 'display help for command')
    .description('revoke an agent: its next request is refused, and its push connection ends')
    .argument('<name>', 'its name or id')
    .addOption(outputOption())
    .addHelpText('after', examples('agent revoke edge-1', 'agent revoke edge-1 -o json'))
    .action(async (name: string, { output }: { output: Format }) =>
      done(await remove(await client(), 'agent', name, output, io)),
    );
  const plane = program
    .command('control-plane')
    .description('run the control plane alone')
    .addOption(address('--http', 'where it answers', '127.0.0.1:8080'))
    .option('--data <dir>', 'where the database and the first API token are kept', './var')
    .addOption(
      new Option('--store <kind>', 'what keeps the resources').choices(['sqlite', 'dynamodb']).default('sqlite'),
    )
    .option('--table <name>', 'DynamoDB table', 'sipfleet')
    .option('--endpoint <url>', 'DynamoDB endpoint, for DynamoDB Local')
    .option('--region <region>', 'AWS region (default: from the environment)')
    .option(
      '--kms-key <key>',
      'AWS KMS key that Secrets and signing keys are sealed with: an id, ARN or alias/NAME (default: a file, DIR/secret.key)',
    )
    .option('--kms-endpoint <url>', 'of something that speaks like KMS');
  limitOptions(accessOptions(plane))
    .addHelpText(
      'after',
      examples(
        'control-plane',
        'control-plane --oidc-issuer https://login.example.com --oidc-role voice-ops=operator --oidc-sites all',
        'control-plane --iam-join milan=arn:aws:sts::123456789012:assumed-role/sipfleet-edge/*',
        'control-plane --store dynamodb --table sipfleet --region eu-south-1 --kms-key alias/sipfleet',
      ),
    )
    .action(async (options) => done(await launch.controlPlane(options)));
}

function addWriters(program: Command, io: Io, client: Connect, done: (code: number) => void): void {
  const files = new Option('-f, --file <file>', 'YAML or JSON file, directory, or - for standard input; repeatable')
    .argParser(collect)
    .makeOptionMandatory();
  const applying = program
    .command('apply')
    .description('make the control plane hold what the files say: check all, show the plan, write')
    .addOption(files)
    .option('--prune', 'also delete sites and farms that the files do not name (never Secrets)')
    .option('--yes', 'do not ask before deleting')
    .option('--dry-run', 'show the plan, write nothing')
    .addOption(outputOption());
  rolloutOptions(applying)
    .addHelpText(
      'after',
      examples(
        'apply -f farm.yaml',
        'apply -f farms/ --dry-run',
        'apply -f farms/ --prune --yes',
        'apply -f farm.yaml --rollout canary --bake 10m --wait',
      ),
    )
    .action(async ({ file, ...options }) => {
      const documents = await readDocuments(file, io);
      done(await apply(await client(), documents, options, io, colorsFor(io)));
    });
  program
    .command('diff')
    .description('show what apply would change; exit code 2 when it would change anything')
    .addOption(files)
    .addOption(outputOption())
    .addHelpText(
      'after',
      examples('diff -f farm.yaml', 'diff -f farms/ -o json', 'get farms -o yaml | sipfleet diff -f -'),
    )
    .action(async ({ file, output }) => {
      const documents = await readDocuments(file, io);
      done(await diff(await client(), documents, output, io, colorsFor(io)));
    });
  program
    .command('delete')
    .description('delete a site, a farm or a secret, or revoke an agent')
    .argument('<kind>', 'site, farm, secret or agent')
    .argument('<name>')
    .addOption(outputOption())
    .addHelpText('after', examples('delete farm pbx', 'delete agent edge-1', 'delete farm pbx -o json'))
    .action(async (kind: string, name: string, { output }: { output: Format }) =>
      done(await remove(await client(), kind, name, output, io)),
    );
  addDrain(program, io, client, done);
  program
    .command('rotate-signing-key')
    .description('make a new key that snapshots are signed with; agents learn it from the one before')
    .addOption(outputOption())
    .addHelpText('after', examples('rotate-signing-key', 'rotate-signing-key -o json'))
    .action(async ({ output }: { output: Format }) => {
      const key = await (await client()).rotateSigningKey();
      const sentence = `Snapshots are signed with key ${key.sequence} from now on.\n`;
      io.out(output === 'table' ? sentence : formatted(key, output));
      done(EXIT.ok);
    });
  program
    .command('join-token')
    .description('make a token with which one agent joins a site')
    .argument('<site>')
    .option('--ttl <duration>', 'how long it is good for (default: 1h)')
    .addOption(outputOption())
    .addHelpText('after', examples('join-token milan', 'join-token milan --ttl 10m', 'join-token milan -o json'))
    .action(async (site: string, { ttl, output }: { ttl?: string; output: Format }) => {
      const made = await (await client()).createJoinToken(site, ttl);
      io.out(output === 'table' ? `${made.token}\n` : formatted(made, output));
      done(EXIT.ok);
    });
}

function addDrain(program: Command, io: Io, client: Connect, done: (code: number) => void): void {
  const argument = '<farm/backend>';
  program
    .command('drain')
    .description('take a backend out of service softly: it keeps its calls, gets no new ones, and its phones move on')
    .argument(argument)
    .addOption(outputOption())
    .addHelpText(
      'after',
      `\nSets drain: true on the backend. Applying a file that does not say so ends it. sipfleet status shows which agents follow, how many calls\nare left there, and when it is empty.\n${examples('drain pbx/pbx1', 'undrain pbx/pbx1', 'drain pbx/pbx1 -o json')}`,
    )
    .action(async (path: string, { output }: { output: Format }) =>
      done(await drain(await client(), path, true, output, io)),
    );
  program
    .command('undrain')
    .description('put a drained backend back into service')
    .argument(argument)
    .addOption(outputOption())
    .addHelpText('after', examples('undrain pbx/pbx1'))
    .action(async (path: string, { output }: { output: Format }) =>
      done(await drain(await client(), path, false, output, io)),
    );
}

function addReaders(program: Command, io: Io, client: Connect, done: (code: number) => void): void {
  program
    .command('get')
    .description('list sites, farms, secrets or agents, or show one; of secrets never a value')
    .argument('<kind>', 'sites, farms, secrets or agents')
    .argument('[name]')
    .addOption(outputOption())
    .addHelpText('after', examples('get farms', 'get farm pbx -o yaml', 'get agents -o json'))
    .action(async (kind: string, name: string | undefined, { output: format }: { output: Format }) =>
      done(await get(await client(), kind, name, format, io)),
    );
  program
    .command('status')
    .description('which agents run what they should, and what state their backends are in')
    .addOption(outputOption())
    .option('--watch', 'show it until Ctrl-C')
    .addHelpText('after', examples('status', 'status -o json', 'status --watch'))
    .action(async ({ output: format, watch: follows }: { output: Format; watch?: true }) => {
      const api = await client();
      const show = (to: Io) => status(api, format, to, colorsFor(io));
      if (follows) await watch(io, () => captured(io, show));
      done(follows ? EXIT.ok : await show(io));
    });
  program
    .command('version')
    .description('print the version')
    .addHelpText('after', examples('version'))
    .action(async () => {
      const manifest = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
      io.out(`sipfleet ${(JSON.parse(manifest) as { version: string }).version}\n`);
      done(EXIT.ok);
    });
}

function addSchema(program: Command, io: Io, done: (code: number) => void): void {
  program
    .command('schema')
    .description('print the JSON Schema of resource files, by which editors complete and check them')
    .addHelpText(
      'after',
      `\nA file names it in its first line: # yaml-language-server: $schema=sipfleet.schema.json\n${examples('schema > sipfleet.schema.json')}`,
    )
    .action(() => {
      io.out(`${JSON.stringify(resourceJsonSchema(), null, 2)}\n`);
      done(EXIT.ok);
    });
}

function addChecks(program: Command, io: Io, client: Connect, done: (code: number) => void): void {
  const command = program
    .command('checks')
    .description('who makes which health check, when next, and what was found last')
    .argument('[farm]')
    .addOption(outputOption())
    .option('--watch', 'show it until Ctrl-C')
    .addHelpText('after', examples('checks', 'checks pbx --watch', 'checks run pbx/pbx1/dummy-call'))
    .action(async (farm: string | undefined, { output: format, watch: follows }: { output: Format; watch?: true }) => {
      const api = await client();
      const show = (to: Io) => checks(api, farm, format, to, colorsFor(io));
      if (follows) await watch(io, () => captured(io, show));
      done(follows ? EXIT.ok : await show(io));
    });
  command
    .command('run')
    .description('have an agent make a check now and show what it finds; exit code 1 where it does not succeed')
    .argument('<farm/backend/check>')
    .addOption(outputOption())
    .addHelpText('after', examples('checks run pbx/pbx1/dummy-call', 'checks run pbx/pbx1/dummy-call -o json'))
    .action(async (path: string, _, own: Command) =>
      done(await runCheck(await client(), path, outputOf(own), io, colorsFor(io))),
    );
}
