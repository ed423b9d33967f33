import { type Command, InvalidArgumentError, Option } from 'commander';
import type { RolloutView } from '../api-rollouts.ts';
import type { Client, RolloutInput } from '../client.ts';
import { type Connect, type Done, examples } from './command.ts';
import { CliError, type Colors, colorsFor, EXIT, type Io, table } from './io.ts';
import { type Format, formatted, outputOption } from './output.ts';
import { progressOf, waitForAgents } from './wait.ts';
import { watch } from './watch.ts';

/** How a change is to reach the agents, as options of `apply` and `rollback`. */
export interface RolloutOptions {
  rollout?: RolloutInput['stages'];
  bake?: string;
  perSite?: true;
  wait?: true;
}

const STAGES = { canary: ['1', '10%', '50%', '100%'] };

function stagesOf(text: string): string[] {
  if (text in STAGES) return STAGES[text as keyof typeof STAGES];
  const stages = text.split(',').map((part) => part.trim());
  if (!stages.every((part) => /^\d{1,4}%?$/.test(part)) || stages.at(-1) !== '100%')
    throw new InvalidArgumentError('allowed: canary (1,10%,50%,100%), or stages of your own that end with 100%');
  return stages;
}

/** Adds the options of {@link RolloutOptions}. */
export function rolloutOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--rollout <stages>',
        'by stages, watched: canary, or such as 1,25%,100%; without it all agents at once',
      ).argParser(stagesOf),
    )
    .option('--bake <duration>', 'with --rollout: how long each stage is watched (default: 5m)')
    .option('--per-site', 'with --rollout: stages count the agents of each site, not of all together')
    .option('--wait', 'wait until the agents have it; exit code 3 where the rollout is rolled back');
}

/** What the API takes. Undefined: all at once. */
export function rolloutInput({ rollout, bake, perSite }: RolloutOptions): RolloutInput | undefined {
  if (rollout === undefined && (bake !== undefined || perSite))
    throw new CliError(`${bake === undefined ? '--per-site' : '--bake'} needs --rollout`);
  if (rollout === undefined) return undefined;
  return { stages: rollout, ...(bake === undefined ? {} : { bake }), ...(perSite ? { scope: 'site' } : {}) };
}

/** What stands on the terminal after a write, and what is waited for. Returns the exit code. */
export async function afterWrite(
  client: Client,
  revision: number,
  { rollout, wait }: RolloutOptions,
  io: Io,
  colors: Colors,
): Promise<number> {
  if (rollout !== undefined) {
    const opened = (await client.listRollouts(1))[0]?.number === revision;
    if (!opened) io.out('No agent is concerned: there is nothing to roll out.\n');
    else io.out(`Rollout ${revision} is under way: sipfleet rollout status\n`);
    return opened && wait ? follow(client, revision, 'table', io, colors) : EXIT.ok;
  }
  return wait ? waitForAgents(client, io) : EXIT.ok;
}

/** `sipfleet rollout …`. */
export function addRollouts(program: Command, io: Io, client: Connect, done: Done): void {
  const command = program
    .command('rollout')
    .description('see and steer how a change reaches the agents stage by stage')
    .addHelpText('after', examples('rollout status', 'rollout status --watch', 'rollout pause', 'rollout abort'));
  command
    .command('status')
    .description('the rollout under way, or the last one: stage, agents, what the gate has seen, what happened')
    .argument('[number]', 'default: the last one', numberOf)
    .addOption(outputOption())
    .option('--watch', 'show it until it has ended; exit code 3 where it was rolled back')
    .addHelpText('after', examples('rollout status', 'rollout status 42 -o json', 'rollout status --watch'))
    .action(
      async (number: number | undefined, { output: format, watch: follows }: { output: Format; watch?: true }) => {
        const api = await client();
        const wanted = number ?? (await last(api)).number;
        if (follows) return done(await follow(api, wanted, format, io, colorsFor(io)));
        const view = await api.getRollout(wanted);
        io.out(format === 'table' ? rolloutText(view, colorsFor(io)) : formatted(view, format));
        done(EXIT.ok);
      },
    );
  command
    .command('list')
    .description('the last twenty rollouts, newest first')
    .addOption(outputOption())
    .addHelpText('after', examples('rollout list', 'rollout list -o yaml'))
    .action(async ({ output: format }: { output: Format }) => {
      const views = await (await client()).listRollouts(20);
      io.out(format === 'table' ? rolloutTable(views, colorsFor(io)) : formatted(views, format));
      done(EXIT.ok);
    });
  for (const [verb, does] of Object.entries(VERBS) as [keyof typeof VERBS, string][])
    command
      .command(verb)
      .description(does)
      .argument('[number]', 'default: the last one', numberOf)
      .addOption(outputOption())
      .addHelpText('after', examples(`rollout ${verb}`, `rollout ${verb} 42 -o json`))
      .action(async (number: number | undefined, { output: format }: { output: Format }) => {
        const api = await client();
        const view = await api.tellRollout(number ?? (await last(api)).number, verb);
        io.out(format === 'table' ? rolloutText(view, colorsFor(io)) : formatted(view, format));
        done(EXIT.ok);
      });
}

const VERBS = {
  pause: 'move no agent any further, nor back, until it is resumed',
  resume: 'go on with a paused rollout; its stage is watched anew',
  abort: 'take the change back from all agents: everything becomes as it was before',
};

export function numberOf(text: string): number {
  if (!/^\d{1,12}$/.test(text)) throw new InvalidArgumentError('allowed: a whole number');
  return Number(text);
}

async function last(client: Client): Promise<RolloutView> {
  const [view] = await client.listRollouts(1);
  if (view === undefined) throw new CliError('there was no rollout yet: sipfleet apply -f FILE --rollout canary');
  return view;
}

const hasEnded = ({ state }: RolloutView): boolean => state === 'completed' || state === 'rolled-back';

/** Shows a rollout until it has ended. */
async function follow(client: Client, number: number, format: Format, io: Io, colors: Colors): Promise<number> {
  let view: RolloutView | undefined;
  await watch(io, async () => {
    view = await client.getRollout(number);
    const text = format === 'table' ? rolloutText(view, colors) : formatted(view, format);
    return { text, ended: hasEnded(view) };
  });
  return view?.state === 'rolled-back' ? EXIT.rolledBack : EXIT.ok;
}

const stateOf = ({ state }: RolloutView, colors: Colors): string =>
  ({ running: colors.yellow, paused: colors.yellow, completed: colors.green, 'rolled-back': colors.red })[state](state);

function rolloutTable(views: readonly RolloutView[], colors: Colors): string {
  if (views.length === 0) return 'There was no rollout yet.\n';
  const rows = views.map((view) => [
    String(view.number),
    stateOf(view, colors),
    view.farms.join(','),
    view.sites.join(','),
    view.actor,
    view.openedAt,
    view.reason ?? '',
  ]);
  return table([['ROLLOUT', 'STATE', 'FARMS', 'SITES', 'BY', 'OPENED', 'REASON'], ...rows]);
}

/** A rollout for a person to read. */
export function rolloutText(view: RolloutView, colors: Colors): string {
  const { number, farms, sites, stages, stage, agents, bakeEndsAt, reason, gate, events } = view;
  const head = [`Rollout ${number}: ${stateOf(view, colors)}${reason === null ? '' : `: ${reason}`}`];
  head.push(`  farms ${farms.join(', ')} at ${sites.join(', ')}`);
  if (agents !== null) {
    const path = stages.map((name, i) => (i === stage ? colors.bold(`[${name}]`) : name)).join(' → ');
    head.push(`  stage ${path}, each watched for ${view.bake}`);
    const waiting = agents.waiting.length === 0 ? '' : `, waiting for ${agents.waiting.join(', ')}`;
    head.push(`  ${progressOf(agents.moved, agents.total)} agents moved, ${agents.applied} applied it${waiting}`);
    head.push(bakeEndsAt === null ? '  the bake time has not begun' : `  bake time until ${bakeEndsAt}`);
  }
  const compared = (gate ?? []).filter(({ moved, others }) => moved.n > 0 && others.n > 0);
  if (gate !== null && compared.length === 0)
    head.push('  no traffic compared yet: acknowledgements and the bake time alone count');
  const seen = compared.map(({ measure, moved, others, strength, haltsAt }) => [
    `  ${measure}`,
    `${moved.bad} of ${moved.n} moved`,
    `${others.bad} of ${others.n} others`,
    `evidence ${strength.toPrecision(2)}, halts at ${haltsAt}`,
  ]);
  const log = events.map(({ at, text }) => `  ${colors.dim(at)}  ${text}\n`);
  return `${head.map((line) => `${line}\n`).join('')}${table(seen)}${log.join('')}`;
}
