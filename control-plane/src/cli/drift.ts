import type { Command } from 'commander';
import type { AgentView } from '../api.ts';
import type { Client } from '../client.ts';
import { type Connect, type Done, examples } from './command.ts';
import { CliError, type Colors, colorsFor, EXIT, type Io, table } from './io.ts';
import { type Format, formatted, outputOption } from './output.ts';

/** `sipfleet drift`: agents that do not run what they should; of one agent, field by field. */
export function addDrift(program: Command, io: Io, client: Connect, done: Done): void {
  program
    .command('drift')
    .description(
      'agents that do not run what they should; of one, the fields that differ; exit code 2 when there is any',
    )
    .argument('[agent]', 'name or id')
    .addOption(outputOption())
    .addHelpText('after', examples('drift', 'drift edge-1', 'drift -o json'))
    .action(async (agent: string | undefined, { output }: { output: Format }) => {
      const connected = await client();
      const run = agent === undefined ? fleetDrift : (...rest: FleetArguments) => agentDrift(agent, ...rest);
      done(await run(connected, output, io, colorsFor(io)));
    });
}

type FleetArguments = [client: Client, format: Format, io: Io, colors: Colors];

async function fleetDrift(...[client, format, io, colors]: FleetArguments): Promise<number> {
  const all = await client.listAgents();
  const drifting = all.filter(({ drift }) => drift !== 'none');
  if (format !== 'table') io.out(formatted(drifting, format));
  else if (drifting.length === 0)
    io.out(`${colors.green('✓')} ${count(all.length, 'agent')}: all run what they should.\n`);
  else {
    const rows = drifting.map((agent) => [
      agent.name,
      agent.site,
      stateOf(agent, colors),
      agent.lastReportAt ?? 'never',
    ]);
    io.out(table([['AGENT', 'SITE', 'DRIFT', 'LAST REPORT'], ...rows]));
    io.out(`${drifting.length} of ${count(all.length, 'agent')}.\n`);
  }
  return drifting.length === 0 ? EXIT.ok : EXIT.differences;
}

const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`;

/** What an agent runs, in a few words. */
export function stateOf({ drift, snapshot, target }: AgentView, colors: Colors): string {
  const wanted = `generation ${target.generation}`;
  switch (drift) {
    case 'none':
      return `${colors.green('current')} (${wanted})`;
    case 'refused':
      return `${colors.red('refused')} ${wanted}: ${snapshot?.reason ?? 'no reason given'}`;
    case 'silent':
      return `${colors.red('silent')}: what it runs is not known, target ${wanted}`;
    default:
      return `${colors.yellow('behind')}: runs ${snapshot?.running ? 'an older one' : 'none'}, target ${wanted}`;
  }
}

async function agentDrift(name: string, ...[client, format, io, colors]: FleetArguments): Promise<number> {
  const agent = (await client.listAgents()).find((a) => a.name === name || a.agentId === name);
  if (agent === undefined) throw new CliError(`there is no agent ${name}`);
  const drift = await client.agentDrift(agent.agentId);
  if (format !== 'table') io.out(formatted(drift, format));
  else {
    io.out(`${agent.name}: ${stateOf(agent, colors)}\n`);
    if (drift.fields === null) io.out('What it runs is not kept here: the fields cannot be told.\n');
    else for (const { field, from, to } of drift.fields) io.out(`    ${field}: ${from} → ${to}\n`);
  }
  return drift.drift === 'none' ? EXIT.ok : EXIT.differences;
}
